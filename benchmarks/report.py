"""What came out, as Markdown: a row for each system and number of orders in flight."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median, quantiles
from typing import NamedTuple

from saga.stacks.surroundings import Machine


class Cell(NamedTuple):
    """One measurement: a system under so many orders at a time.

    Times of orders are milliseconds, CPU is seconds per 1,000 orders by part of the system, and
    `machine_ms` is what a fixed piece of work took before and after, on average.
    """

    system: str
    in_flight: int
    orders: int
    per_second: float
    p50_ms: float
    p95_ms: float
    cpu: Mapping[str, float]
    machine_ms: float

    @property
    def total_cpu(self) -> float:
        """All parts' CPU."""
        return sum(self.cpu.values())


def cell(
    system: str,
    in_flight: int,
    latencies: Sequence[float],
    seconds: float,
    cpu: Mapping[str, float],
    machine_ms: float,
) -> Cell:
    """Sum up a measurement; latencies are in seconds, of at least two orders."""
    cuts = quantiles(latencies, n=20)
    count = len(latencies)
    return Cell(
        system,
        in_flight,
        count,
        round(count / seconds, 1),
        round(cuts[9] * 1000, 2),
        round(cuts[18] * 1000, 2),
        {part: round(used / count * 1000, 3) for part, used in cpu.items()},
        round(machine_ms, 3),
    )


def table(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield the lines of a table, with min / median / max of all rounds."""
    yield from header(
        "in flight",
        "system",
        "sagas/s",
        "p50 ms",
        "p95 ms",
        "CPU s per 1,000",
        "of which (median)",
        "machine ms",
    )
    for in_flight, system in sorted({(c.in_flight, c.system): None for c in cells}, key=_first):
        rounds = [c for c in cells if (c.in_flight, c.system) == (in_flight, system)]
        parts = {part: median(c.cpu[part] for c in rounds) for part in rounds[0].cpu}
        yield row(
            in_flight,
            system,
            spread([c.per_second for c in rounds]),
            spread([c.p50_ms for c in rounds]),
            spread([c.p95_ms for c in rounds]),
            spread([c.total_cpu for c in rounds]),
            ", ".join(f"{part} {used:.2f}" for part, used in parts.items()),
            spread([c.machine_ms for c in rounds]),
        )


def surroundings(
    machine: Machine,
    disk: str,
    versions: Mapping[str, Mapping[str, str]],
    syncs: Mapping[str, str],
) -> Iterator[str]:
    """Yield the lines that say on what the figures depend."""
    memory = f"{machine.memory_gib:g} GiB"
    yield f"{machine.cpu}, {machine.cores} cores, {memory}, {machine.system}, {disk}."
    yield ""
    yield from header("system", "versions", "on disk before a step counts")
    for system, found in versions.items():
        told = ", ".join(f"{name} {number}" for name, number in found.items())
        yield row(system, told, syncs[system])


def header(*titles: str) -> Iterator[str]:
    """Yield the two lines with which a table begins."""
    yield row(*titles)
    yield row(*("---" for _ in titles)).replace(" ", "")


def row(*fields: object) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(map(str, fields))} |"


def spread(values: Iterable[float]) -> str:
    """Return minimum / median / maximum, with three digits that count."""
    found = list(values)
    return " / ".join(_short(value) for value in (min(found), median(found), max(found)))


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _first(key: tuple[int, str]) -> int:
    return key[0]
