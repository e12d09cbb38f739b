"""Faults of a database, in a simulation: each does what it would do, and the system outlives it."""

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import peewee
import pytest

from saga.runtime import Table
from saga.runtime.database.connection import UNAVAILABLE, is_serialization_failure, transaction
from saga.runtime.database.schema import bind
from saga.runtime.database.statements import prepared
from saga.runtime.settings import Settings
from saga.runtime.simulation import world
from saga.runtime.simulation.database import SimulatedDatabase
from saga.runtime.simulation.nemesis import CALM, WORST, Faults, Nemesis, draw
from saga.runtime.simulation.observed import Observed
from saga.runtime.simulation.simulator import Simulator
from saga.runtime.system.stack import read_stacks
from saga.stacks.simulate import Orders, run_all

OF_DATABASES = ("locked", "cut", "unheard")


class Note(Table):
    text = peewee.CharField()


@pytest.fixture
def notes() -> Iterator[SimulatedDatabase]:
    database = SimulatedDatabase("notes")
    bind(database, [Note])
    yield database
    database.end()


def write(database: SimulatedDatabase, *texts: str) -> None:
    with transaction(database):
        for text in texts:
            Note.create(text=text)


def texts() -> list[str]:
    return [note.text for note in Note.select().order_by(Note.id)]


def disturbed(database: SimulatedDatabase, **rates: Any) -> Any:
    """Disturb every transaction of a block, in a way that the seed decides."""
    return database.disturbed_by(Nemesis(random.Random(1), Faults(**rates)), lambda *_: None)


def fail_once(database: SimulatedDatabase, number: int = 20) -> BaseException:
    """Write in a transaction that is disturbed; return what it raises."""
    with pytest.raises(UNAVAILABLE) as raised:
        write(database, *map(str, range(number)))
    database.close()
    return raised.value


def test_undisturbed_database_is_a_database(notes: SimulatedDatabase) -> None:
    write(notes, "a", "b")
    with disturbed(notes):
        write(notes, "c")
    assert texts() == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ["locked", "cut"])
def test_disturbed_transaction_leaves_nothing(notes: SimulatedDatabase, kind: str) -> None:
    with disturbed(notes, **{kind: 1.0}):
        for _ in range(50):
            fail_once(notes)
    assert texts() == []


@pytest.mark.parametrize("kind", ["locked", "cut"])
def test_short_transaction_is_disturbed_at_times(notes: SimulatedDatabase, kind: str) -> None:
    """The fault is due at a statement that it may not have."""
    written = 0
    with disturbed(notes, **{kind: 1.0}):
        for _ in range(50):
            try:
                write(notes, "a")
                written += 1
            except UNAVAILABLE:
                notes.close()
    assert len(texts()) == written
    assert 0 < written < 50


def test_commit_without_an_answer_is_a_commit(notes: SimulatedDatabase) -> None:
    before = notes.commits
    with disturbed(notes, unheard=1.0):
        fail_once(notes, 2)
    assert texts() == ["0", "1"]
    assert notes.commits == before + 1


@pytest.mark.parametrize("kind", ["cut", "unheard"])
def test_cut_connection_stays_cut_until_it_is_given_up(notes: SimulatedDatabase, kind: str) -> None:
    with disturbed(notes, **{kind: 1.0}):
        with pytest.raises(UNAVAILABLE):
            write(notes, *"abcdefghijkl")
        with pytest.raises(UNAVAILABLE, match="closed"):
            Note.select().count()
        notes.close()
        assert Note.select().count() in (0, 12)


def test_cut_connection_can_not_be_rolled_back_to_a_savepoint(notes: SimulatedDatabase) -> None:
    def go_on_after_a_fault() -> None:
        with transaction(notes):
            notes.execute_sql("SAVEPOINT handler")
            with suppress(*UNAVAILABLE):
                for text in "abcdefghijkl":
                    Note.create(text=text)
            notes.execute_sql("ROLLBACK TO SAVEPOINT handler")

    with disturbed(notes, cut=1.0), pytest.raises(UNAVAILABLE, match="closed"):
        go_on_after_a_fault()


def test_some_transactions_are_given_up(notes: SimulatedDatabase) -> None:
    with disturbed(notes, locked=1.0):
        errors = [fail_once(notes) for _ in range(50)]
    assert 0 < sum(map(is_serialization_failure, errors)) < 50


def test_writing_many_rows_at_once_can_fail_too(notes: SimulatedDatabase) -> None:
    @prepared
    def insert(text: str) -> Any:
        return Note.insert(text=text)

    def write_often() -> None:
        with transaction(notes):
            for _ in range(20):
                insert.many(notes, [("a",), ("b",)])

    with disturbed(notes, cut=1.0), pytest.raises(UNAVAILABLE):
        write_often()
    notes.close()
    assert texts() == []


def test_block_leaves_nothing_that_would_go_wrong_later(notes: SimulatedDatabase) -> None:
    with disturbed(notes, unheard=1.0), pytest.raises(UNAVAILABLE):
        write(notes, "a")
    write(notes, "b")
    assert texts() == ["a", "b"]


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """Simulate with every fault of databases in every run, at its worst."""
    worst = {kind: getattr(WORST, kind) for kind in OF_DATABASES}
    monkeypatch.setattr(world, "draw", lambda chance: replace(draw(chance), **worst))
    with Simulator(Orders(read_stacks(Settings().saga_stacks))) as simulator:
        yield simulator


def test_system_outlives_the_worst_databases(simulator: Simulator) -> None:
    assert run_all(simulator, range(30)).violations == {}


def test_faults_of_databases_are_told(simulator: Simulator) -> None:
    wanted = [
        "is locked",
        "gives a transaction up",
        "loses a connection",
        "commits, and its answer is lost",
        "begins its transaction again",
        "(OperationalError)",
    ]
    for seed in range(20):
        told = "\n".join(simulator.run(seed, story=True).story)
        wanted = [text for text in wanted if text not in told]
        if not wanted:
            break
    assert wanted == []


def test_same_seed_gives_the_same_faults(simulator: Simulator) -> None:
    assert simulator.run(3, story=True) == simulator.run(3, story=True)


def test_no_real_time_passes(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        pytest.fail(f"sleeps {seconds} s")

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr("tenacity.nap.time.sleep", sleep)
    assert "again" in "\n".join(simulator.run(1, story=True).story)


def test_loop_that_keeps_a_cut_connection_is_noticed(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Observed, "_reconnect", lambda _: None)
    with pytest.raises(UNAVAILABLE, match="closed"):
        run_all(simulator, range(50))


def test_given_up_transaction_that_is_blamed_on_the_handler_is_noticed(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga.runtime.worker.is_serialization_failure", lambda _: False)
    found = (text for seed in range(200) for text in simulator.run(seed).violations)
    assert any("failed by itself" in text and "could not serialize" in text for text in found)


def test_runs_without_any_fault_of_a_kind_are_drawn(simulator: Simulator) -> None:
    drawn = [draw(random.Random(seed)) for seed in range(50)]
    for kind in OF_DATABASES:
        assert {getattr(faults, kind) > 0 for faults in drawn} == {True, False}
    assert {getattr(CALM, field.name) for field in fields(CALM)} == {0}
