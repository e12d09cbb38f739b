"""The failure matrix: every function killed once at every crash point, and nothing lost or doubled.

Each kill needs something in hand. What a run has seen is written as a table, and compared with
docs/failure-matrix.md: `make matrix` writes that.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from saga.runtime import crash
from saga.runtime.dead_letter import SUFFIX, open_dead_letters
from saga.runtime.kafka.reading import read_topics
from saga.runtime.saga_host import NOT_SENT
from saga.runtime.system.stack import read_stacks, topics
from saga.stacks import ledger
from saga.stacks.bad_items import Litterer, Spoiler
from saga.stacks.disturbing import LEADS_INTO_TRAPS
from saga.stacks.refused_sends import Refuser, is_unsent
from saga.stacks.traps import HANGS, Traps

pytestmark = pytest.mark.proof

COMMANDS = [
    "order.create_order",
    "product.reserve_product",
    "user.process_payment",
    "order.complete_order",
    "user.refund_payment",
    "product.release_product",
    "order.cancel_order",
]
SAGA = "orchestrator.place_order"
ADAPTER = "orchestrator"
HOSTED = [*COMMANDS, SAGA]
# Armed one after the other, so that one round of orders kills all functions.
OF_A_BATCH = {
    crash.BEFORE_HANDLER: HOSTED,
    crash.IN_HANDLER: COMMANDS,
    crash.BEFORE_COMMIT: HOSTED,
    crash.AFTER_COMMIT: HOSTED,
    crash.AFTER_SEND: HOSTED,
    crash.AFTER_TAKEN: HOSTED,
    crash.AFTER_OFFSETS: HOSTED,
}
# Armed from the beginning: a saga is due 15 s after its command was lost, and only then.
OF_A_SWEEP = {
    crash.BEFORE_SWEEP: [SAGA],
    crash.IN_SWEEP: [SAGA],
    crash.AFTER_SWEEP: [SAGA],
    crash.AFTER_SWEEP_SENT: [SAGA],
    crash.AFTER_ROW: [ADAPTER],
}
MEANING = {
    crash.BEFORE_HANDLER: "the batch is read, nothing is done",
    crash.IN_HANDLER: "the handler has written, nothing is committed",
    crash.BEFORE_COMMIT: "the answers are stored too, nothing is committed",
    crash.AFTER_COMMIT: "all is committed, nothing is sent",
    crash.AFTER_SEND: "all is on its way, no offset is committed",
    crash.AFTER_TAKEN: "the broker has all, no offset is committed",
    crash.AFTER_OFFSETS: "the offsets are on their way, too",
    crash.BEFORE_SWEEP: "sagas are due, nothing is done",
    crash.IN_SWEEP: "what is due has changed, nothing is committed",
    crash.AFTER_SWEEP: "all is committed, nothing is sent",
    crash.AFTER_SWEEP_SENT: "the broker has all, that is not noted",
    crash.AFTER_ROW: "the saga's row is written, its first command is not sent",
}
TABLE = Path(__file__).parents[2] / "docs" / "failure-matrix.md"
HEAD = """\
# Failure matrix

Written by `tests/integration/test_crash_points.py`, from what it saw on the embedded broker with
SQLite, and the same on Apache Kafka with PostgreSQL: under load, each function, the saga's host and
its adapter are killed with SIGKILL at each of these points, with something in hand, and started
again; meanwhile junk comes on all topics, rows of sagas can't be read for a while, topics take no
message for a while, and handlers fail. ✓ means that it was so, and that afterwards every accepted
order had ended, its effects were there exactly once or not at all, and each user's money and each
product's units added up. An empty cell: there is no such point.

Handlers that hang are left to `saga chaos`: a message on which three processes end is set aside,
and whether it hung or was killed here, at its point, nobody could tell apart afterwards.
"""
FOOT = "`orchestrator` is the HTTP adapter, `place_order` the saga's host."


@pytest.fixture
def armed(
    tmp_path: Path, start_either: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, Path]]:
    """A system of its own, whose processes look for crash points in a folder."""
    points = tmp_path / "points"
    points.mkdir()
    monkeypatch.setenv("SAGA_CRASH_POINTS", str(points))
    system = start_either()
    yield system, points
    system.saga("down")


def test_nothing_is_lost_or_doubled_at_any_crash_point(
    armed: tuple[Any, Path], traffic: Any, until: Callable[..., Any], tmp_path: Path
) -> None:
    system, points = armed
    settings = system.settings().model_copy(update={"saga_stacks": system.stacks})
    settings = settings.on_broker(system.broker())
    orchestrator = ("127.0.0.1", system.ports["orchestrator"])
    ledger.open_databases(settings)
    litterer, spoiler = Litterer(settings, Random(1)), Spoiler(orchestrator, Random(2))
    refuser = Refuser(settings, LEADS_INTO_TRAPS, orchestrator, Random(3))
    traps = Traps(settings.saga_data, orchestrator, Random(4))
    # What hangs ends processes, too: between two kills, others would be blamed that are in hand.
    traps.kinds = [kind for kind in traps.kinds if kind != HANGS]
    load = traffic(system, clients=3, pause=0.05, cancels=0.25)
    with traps.laid():
        with load, litterer, spoiler, refuser, traps:

            def none_armed(names: Iterable[str]) -> bool:
                load.check()
                return not any((points / name).exists() for name in names)

            due = arm(points, OF_A_SWEEP)
            for point, functions in OF_A_BATCH.items():
                names = arm(points, {point: functions})
                until(lambda: none_armed(names), f"all have died {point}")  # noqa: B023
            until(lambda: none_armed(due), "all have died in sweeps")
            until(lambda: not traps.missing(), "handlers have failed")
        load.requests += traps.buyer.requests
        spoiler.settle()
        load.rest()
        refuser.settle()
    assert [*litterer.missing(), *spoiler.missing()] == []
    letters = [topic + SUFFIX for topic in topics(read_stacks(settings.saga_stacks))]
    refused = [x for x in open_dead_letters(read_topics(settings, letters)) if is_unsent(x)]
    assert refused
    hit = {letter.saga_id for letter in refused} | {
        request.saga_id for request in traps.buyer.requests
    }
    found = load.judge({NOT_SENT}, hit=len(hit))
    found.violations += refuser.judge(found.cases, refused)
    # Other letters may be of what was in hand whenever its process was killed.
    found.violations += traps.judge(found.cases, ())
    assert found.violations == []
    # Redelivered commands are duplicates too, but only a broker that forgets leaves others behind.
    assert ledger.unseen(found.seen) == []
    killed = {path.name.removesuffix(crash.KILLED) for path in points.iterdir()}
    deaths = Counter(cell.partition("@")[0] for cell in killed)

    def restarts() -> Counter[str]:
        return +Counter({name: row["restarts"] for name, row in system.processes().items()})

    until(lambda: restarts() == deaths, "each death has led to a restart")
    written = Path(os.environ.get("FAILURE_MATRIX") or tmp_path / TABLE.name)
    written.write_text(table(killed))
    assert written.read_text() == TABLE.read_text()


def arm(points: Path, cells: dict[str, list[str]]) -> list[str]:
    names = [f"{function}@{point}" for point, functions in cells.items() for function in functions]
    for name in names:
        (points / name).touch()
    return names


def table(killed: set[str]) -> str:
    """Write down who was killed where."""
    functions = (*HOSTED, ADAPTER)
    lines = [
        HEAD,
        "| killed | " + " | ".join(f"`{f.rpartition('.')[2]}`" for f in functions) + " |",
        "|---|" + "---|" * len(functions),
    ]
    for point, meaning in MEANING.items():
        cells = " | ".join("✓" if f"{f}@{point}" in killed else "" for f in functions)
        lines.append(f"| {point}: {meaning} | {cells} |")
    return "\n".join([*lines, "", FOOT, ""])
