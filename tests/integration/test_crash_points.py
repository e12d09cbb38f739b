"""The failure matrix: every function killed once at every crash point, and nothing lost or doubled.

All functions are armed with one point at a time, so one round of orders, some of which fail, kills
each of them. The table in docs/failure-matrix.md is what this test saw.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from saga.runtime import crash

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
HOSTED = [*COMMANDS, SAGA]
POINTS: dict[str, list[str]] = {
    crash.BEFORE_HANDLER: HOSTED,
    crash.IN_HANDLER: COMMANDS,
    crash.BEFORE_COMMIT: HOSTED,
    crash.AFTER_COMMIT: HOSTED,
    crash.AFTER_SEND: HOSTED,
    crash.AFTER_OFFSETS: HOSTED,
    crash.BEFORE_SWEEP: [SAGA],
    crash.IN_SWEEP: [SAGA],
    crash.AFTER_SWEEP: [SAGA],
    crash.AFTER_SWEEP_SENT: [SAGA],
    crash.AFTER_ROW: ["orchestrator"],
}
MEANING = {
    crash.BEFORE_HANDLER: "the batch is read, nothing is done",
    crash.IN_HANDLER: "the handler has written, nothing is committed",
    crash.BEFORE_COMMIT: "the answers are stored too, nothing is committed",
    crash.AFTER_COMMIT: "all is committed, nothing is sent",
    crash.AFTER_SEND: "all is sent, no offset is committed",
    crash.AFTER_OFFSETS: "all is done",
    crash.BEFORE_SWEEP: "sagas are due, nothing is done",
    crash.IN_SWEEP: "what is due has changed, nothing is committed",
    crash.AFTER_SWEEP: "all is committed, nothing is sent",
    crash.AFTER_SWEEP_SENT: "all is sent",
    crash.AFTER_ROW: "the saga's row is written, its first command is not sent",
}
TABLE = Path(__file__).parents[2] / "docs" / "failure-matrix.md"


@pytest.fixture(params=["embedded", "kafka"])
def armed(
    request: pytest.FixtureRequest,
    start_system: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Any, Path]]:
    """A system of its own, whose processes look for crash points in a folder."""
    points = tmp_path / "points"
    points.mkdir()
    monkeypatch.setenv("SAGA_CRASH_POINTS", str(points))
    system = start_system(broker=request.param)
    yield system, points
    system.saga("down")


@pytest.mark.timeout(400)
def test_nothing_is_lost_or_doubled_at_any_crash_point(
    armed: tuple[Any, Path], traffic: Any, until: Callable[..., Any]
) -> None:
    system, points = armed
    with traffic(system, clients=3, pause=0.05, cancels=0.25) as load:
        for point, functions in POINTS.items():
            for function in functions:
                (points / f"{function}@{point}").touch()
            until(lambda: not list(points.iterdir()), f"all have died {point}", 90)
    assert load.violations() == []
    restarts = {name: row["restarts"] for name, row in system.processes().items()}
    for function in {f for functions in POINTS.values() for f in functions}:
        assert restarts[function] == sum(function in f for f in POINTS.values()), function
    write_table()


def write_table() -> None:
    """Write what has been seen; it is the same for every run that got here."""
    functions = [*HOSTED, "orchestrator"]
    lines = [
        "# Failure matrix",
        "",
        "Written by `tests/integration/test_crash_points.py`: under load, each function and",
        "the saga's host is killed with SIGKILL once at each of these points and started again.",
        "✓ means that afterwards every accepted order had ended, its effects were there exactly",
        "once or not at all, and stock and money added up. An empty cell: there is no such point.",
        "",
        "| killed | " + " | ".join(f"`{f.rpartition('.')[2]}`" for f in functions) + " |",
        "|---|" + "---|" * len(functions),
    ]
    for point, armed in POINTS.items():
        cells = " | ".join("✓" if function in armed else "" for function in functions)
        lines.append(f"| {point}: {MEANING[point]} | {cells} |")
    lines += [
        "",
        "`orchestrator` is the HTTP adapter, `place_order` the saga's host.",
        "",
    ]
    TABLE.write_text("\n".join(lines))
