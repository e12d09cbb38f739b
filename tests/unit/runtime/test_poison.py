"""A message that ends its process is found, and set aside; its neighbours are worked off."""

from collections.abc import Iterator, Sequence

import peewee
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.runtime import poison
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import Table, bind
from saga.runtime.envelope import Record
from saga.runtime.poison import (
    DEATHS,
    SUSPECT_FOR,
    YOUNG,
    Note,
    Place,
    Plan,
    Suspect,
    Suspects,
    plan,
)

TOPIC = "t"


def records(*offsets: int, partition: int = 0, topic: str = TOPIC) -> list[Record]:
    return [Record(topic, None, None, [], partition, offset) for offset in offsets]


def at(first: int, end: int, begun: int, partition: int = 0) -> dict[Place, Note]:
    return {(TOPIC, partition): Note(first, end, begun)}


def test_without_a_note_all_is_taken() -> None:
    planned = plan([*records(3, 4), *records(7, partition=1)], {})
    assert (planned.take, planned.guilty, planned.rest) == (3, False, {})
    assert planned.notes == at(3, 5, 1) | at(7, 8, 1, partition=1)


@pytest.mark.parametrize(
    ("offsets", "found", "take", "notes", "rest"),
    [
        pytest.param([3, 4, 5], (3, 6, 1), 1, at(3, 4, 2), at(4, 6, 1), id="first of some"),
        pytest.param([5, 6], (3, 6, 1), 1, at(5, 6, 2), {}, id="last of some"),
        pytest.param([4, 5], (4, 5, 2), 1, at(4, 5, 3), {}, id="alone once before"),
        pytest.param([2, 3, 4, 5], (4, 5, 2), 2, at(2, 4, 1), {}, id="some before it"),
        pytest.param([6, 7], (3, 6, 1), 2, at(6, 8, 1), {}, id="behind it"),
        pytest.param([1, 2], (3, 6, 1), 2, at(1, 3, 1), {}, id="before it"),
    ],
)
def test_what_is_suspect_is_taken_alone(
    offsets: list[int],
    found: tuple[int, int, int],
    take: int,
    notes: dict[Place, Note],
    rest: dict[Place, Note],
) -> None:
    planned = plan(records(*offsets), {(TOPIC, 0): [Note(*found)]})
    assert (planned.take, planned.guilty) == (take, False)
    assert (planned.notes, planned.rest) == (notes, rest)


@pytest.mark.parametrize("value", ["'some'", "x'ff'"])
def test_note_that_is_no_number_holds_up_nothing_on_sqlite(
    sqlite: peewee.Database, value: str
) -> None:
    bind(sqlite, [Suspect])
    suspects = Suspects("f", sqlite)
    suspects.begin(records(3))
    sqlite.execute_sql(f"UPDATE suspects SET begun = {value}")
    assert suspects.begin(records(3, 4)).take == 2


def test_one_that_has_ended_enough_processes_is_guilty() -> None:
    def is_guilty(first: int, end: int, begun: int) -> bool:
        return plan(records(4, 5), {(TOPIC, 0): [Note(first, end, begun)]}).guilty

    assert is_guilty(4, 5, DEATHS)
    assert not is_guilty(4, 6, DEATHS)
    assert not is_guilty(3, 5, DEATHS)
    assert not is_guilty(4, 5, DEATHS - 1)


def test_notes_of_one_partition_are_told_apart() -> None:
    found = {(TOPIC, 0): [Note(8, 9, 2), Note(4, 5, 1)]}
    assert plan(records(3, 4), found).notes == at(3, 4, 1)
    assert plan(records(4, 5), found).notes == at(4, 5, 2)
    assert plan(records(8), found).notes == at(8, 9, 3)


@given(
    bad=st.integers(0, 30),
    sizes=st.binary(min_size=60, max_size=60).map(lambda many: [1 + one % 12 for one in many]),
    lost=st.binary(min_size=60, max_size=60).map(lambda many: [one % 5 for one in many]),
)
def test_guilty_one_is_found_whatever_the_batches(
    bad: int, sizes: Sequence[int], lost: Sequence[int]
) -> None:
    """Each process begins a bit before its predecessor's end, as offsets follow late."""
    position, deaths, notes, rest = 0, 0, list[Note](), dict[Place, Note]()

    def apart_from(planned: Plan) -> list[Note]:
        [new] = planned.notes.values()
        return [note for note in notes if note.end <= new.first or new.end <= note.first]

    for size, late in zip(sizes, lost, strict=True):
        batch = records(*range(position, position + size))
        planned = plan(batch, {(TOPIC, 0): [*notes, *rest.values()]})
        taken = [record.offset for record in batch[: planned.take]]
        notes = [*apart_from(planned), *planned.notes.values()]
        if planned.guilty:
            assert taken == [bad]
            assert deaths == DEATHS
            return
        if bad in taken:
            deaths += 1
            rest = {}
            position = max(0, min(position, bad) - late)
        else:
            position = taken[-1] + 1
            rest = {place: note for place, note in rest.items() if place not in planned.notes}
            rest |= planned.rest
            notes = apart_from(planned)
    assert position <= bad


class Watch:
    """A stopwatch that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def url(database: peewee.Database, tmp_path: object) -> str:
    if isinstance(database, peewee.SqliteDatabase):
        return f"sqlite:///{tmp_path}/notes.db"
    return str(database.database)


@pytest.fixture
def watch() -> Watch:
    return Watch()


class Processes:
    """Each has a connection of its own, to the same database."""

    def __init__(self, url: str, watch: Watch) -> None:
        self._url, self._watch, self._all = url, watch, list[Suspects]()

    def start(self, name: str = "f", database: peewee.Database | None = None) -> Suspects:
        self._all.append(Suspects(name, database or self.connection(), self._watch))
        return self._all[-1]

    def connection(self) -> peewee.Database:
        return connect(self._url)

    def close(self) -> None:
        for suspects in self._all:
            suspects.close()


@pytest.fixture
def processes(url: str, watch: Watch) -> Iterator[Processes]:
    started = Processes(url, watch)
    yield started
    started.close()


def test_successor_takes_alone_what_its_predecessor_had_in_hand(processes: Processes) -> None:
    processes.start().begin(records(3, 4, 5))
    second = processes.start()
    planned = second.begin(records(3, 4, 5))
    assert planned.take == 1
    second.end(planned)
    assert second.begin(records(4, 5)).take == 1


def test_what_is_worked_off_is_suspect_no_more(processes: Processes) -> None:
    first = processes.start()
    first.end(first.begin(records(3, 4, 5)))
    assert processes.start().begin(records(3, 4, 5)).take == 3


def test_functions_of_one_service_are_told_apart(processes: Processes) -> None:
    processes.start("f").begin(records(3, 4, 5))
    assert processes.start("g").begin(records(3, 4, 5)).take == 3


def test_guilty_after_enough_processes(processes: Processes) -> None:
    assert [processes.start().begin(records(3)).guilty for _ in range(DEATHS + 1)] == [
        *[False] * DEATHS,
        True,
    ]


def test_what_is_noted_is_of_a_new_partition_or_where_something_is_suspect(
    processes: Processes, watch: Watch
) -> None:
    processes.start().begin(records(3, 4, 5))
    innocent, second = processes.start("g"), processes.start()
    assert innocent.watch(records(3)) is True
    assert second.watch(records(3))
    planned = second.begin(records(3, 4, 5))
    watch.now = YOUNG
    assert innocent.watch(records(4)) is False
    assert second.watch(records(4))
    second.end(planned)
    for offset in (4, 5):
        assert second.watch(records(offset))
        second.end(second.begin(records(offset)))
    assert not second.watch(records(6))


def test_partition_that_has_come_from_another_process_is_new(
    processes: Processes, watch: Watch
) -> None:
    """Its message may have ended that one."""
    process = processes.start()
    assert process.watch(records(3)) is True
    watch.now = YOUNG
    assert process.watch(records(4)) is False
    assert process.watch([*records(5), *records(0, partition=1)]) is True
    watch.now = 2 * YOUNG
    assert process.watch([*records(6), *records(1, partition=1)]) is False


def test_what_never_comes_is_suspect_no_more_after_a_while(
    processes: Processes, watch: Watch
) -> None:
    """Its partition may be another replica's by then."""
    processes.start().begin(records(3, 4, 5))
    second = processes.start()
    assert second.watch(records(3, 4, 5))
    second.end(second.begin(records(3, 4, 5)))
    watch.now = SUSPECT_FOR
    assert not second.watch(records(4, 5))
    assert second.begin(records(4, 5)).take == 2


def test_connection_that_is_lost_is_opened_again(postgres: peewee.Database, watch: Watch) -> None:
    processes = Processes(str(postgres.database), watch)
    processes.start().begin(records(3, 4, 5))
    second = processes.start()
    second.end(second.begin(records(3, 4, 5)))
    postgres.execute_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    assert second.begin(records(4, 5)).notes == {}
    assert second.begin(records(4, 5)).take == 1
    processes.close()


def test_one_is_found_though_a_later_one_is_suspect(processes: Processes) -> None:
    """The group has gone back: its offsets were lost, or somebody has set them back."""
    processes.start().begin(records(7))
    guilty = [processes.start().begin(records(3, 4)).guilty for _ in range(DEATHS + 2)]
    assert guilty[-1]
    last = processes.start()
    last.end(last.begin(records(3)))
    assert last.begin(records(7)).notes == at(7, 8, 2)


def test_rest_of_what_was_in_hand_stays_suspect_behind_others(processes: Processes) -> None:
    processes.start().begin(records(3, 4, 5))
    second = processes.start()
    second.end(second.begin(records(3, 4, 5)))
    second.end(second.begin(records(1, 2)))
    assert second.begin(records(4, 5)).take == 1


def away(*_: object, **__: object) -> None:
    raise peewee.OperationalError("away")


def test_database_that_is_away_holds_up_nobody(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspects = processes.start()
    monkeypatch.setattr(peewee.Database, "execute_sql", away)
    planned = suspects.begin(records(3, 4, 5))
    assert planned == Plan(3, guilty=False, notes={}, rest={})
    suspects.end(planned)


def test_connection_on_which_a_note_could_not_be_taken_back_is_not_kept(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = processes.connection()
    suspects = processes.start(database=database)
    planned = suspects.begin(records(3, 4, 5))
    with monkeypatch.context() as patched:
        patched.setattr(poison._delete, "on", away)
        suspects.end(planned)
    assert database.is_closed()
    assert processes.start().begin(records(3, 4, 5)).take == 1


def test_note_that_could_not_be_written_leaves_the_one_before(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.start().begin(records(3, 4, 5))
    with monkeypatch.context() as patched:
        patched.setattr(poison._insert, "on", away)
        assert processes.start().begin(records(3, 4, 5)).take == 3
    assert processes.start().begin(records(3, 4, 5)).take == 1


def test_one_connection_serves_all_batches_until_nothing_has_to_be_noted(
    processes: Processes, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, bound = processes.connection(), list[object]()

    def note(to: peewee.Database, tables: list[type[Table]]) -> None:
        bound.append((to, tables))
        bind(to, tables)

    monkeypatch.setattr(poison, "bind", note)
    suspects = processes.start(database=database)
    suspects.watch(records(3))
    for offset in (3, 4):
        suspects.end(suspects.begin(records(offset)))
    assert bound == [(database, [Suspect])]
    watch.now = YOUNG
    suspects.watch(records(5))
    assert database.is_closed()


def test_note_need_not_outlive_a_power_cut(processes: Processes) -> None:
    database = processes.connection()
    processes.start(database=database).begin(records(3))
    if isinstance(database, peewee.SqliteDatabase):
        assert database.pragma("synchronous") == 1  # NORMAL
    else:
        assert database.execute_sql("SHOW synchronous_commit").fetchone() == ("off",)


def test_note_of_one_place_leaves_all_others(processes: Processes) -> None:
    def notes() -> set[tuple[str, str, int, int]]:
        return {(row.function, row.topic, row.partition, row.first) for row in Suspect.select()}

    first, second = processes.start("f"), processes.start("g")
    for neighbours in ([*records(4), *records(5, partition=1), *records(5, topic="u")], records(6)):
        first.begin(neighbours)
    second.begin(records(5))
    others = {("f", TOPIC, 0, 4), ("f", TOPIC, 0, 6), ("f", TOPIC, 1, 5), ("f", "u", 0, 5)}
    others.add(("g", TOPIC, 0, 5))
    planned = first.begin(records(5))
    assert notes() == {("f", TOPIC, 0, 5), *others}
    first.end(planned)
    assert notes() == others


class Deleting:
    """A database that lets notes be deleted, or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = False
        self._delete = poison._delete.on
        monkeypatch.setattr(poison._delete, "on", self)

    def __call__(self, *what: object) -> object:
        # A note is deleted where it is written, too.
        if self.fails and what[0].transaction_depth() == 0:  # type: ignore[attr-defined]
            raise peewee.OperationalError("away")
        return self._delete(*what)


def test_note_that_could_not_be_taken_back_is_no_death(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, deleting = processes.start(), Deleting(monkeypatch)
    deleting.fails = True
    for _ in range(DEATHS + 1):
        planned = process.begin(records(3))
        assert not planned.guilty
        process.end(planned)
    assert process.watch(records(3)) is True
    deleting.fails = False
    process.end(process.begin(records(4)))
    assert processes.start().begin(records(3)).notes == at(3, 4, 1)


def test_deaths_of_others_are_counted_where_a_note_stays(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(DEATHS - 1):
        processes.start().begin(records(3))
    process, deleting = processes.start(), Deleting(monkeypatch)
    deleting.fails = True
    process.end(process.begin(records(3)))
    assert process.begin(records(3)).notes == at(3, 4, DEATHS)
