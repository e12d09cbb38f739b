"""A line of what was seen within the last minutes, with a gap where nobody has looked."""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

WINDOW = 300.0  # seconds that a line is of
GAP = 10.0  # seconds between two looks that are not joined
WIDTH, HEIGHT = 300, 40


class Sparkline(NamedTuple):
    """The pieces of a line, each as the points of an SVG's polyline; `peak` is the top of it."""

    pieces: list[str]
    peak: float
    last: float | None


def sparkline(points: Iterable[tuple[float, float | None]], now: float) -> Sparkline:
    """Draw values, each with its moment in seconds, up to `now`; None is unknown, and a gap."""
    shown = [(at, value) for at, value in points if now - at <= WINDOW]
    peak = max((value for _, value in shown if value is not None), default=0.0)
    pieces: list[list[str]] = []
    for (before, known), (at, value) in pairwise([(float("-inf"), None), *shown]):
        if value is None:
            continue
        if known is None or at - before > GAP:
            pieces.append([])
        x, y = WIDTH * (1 - (now - at) / WINDOW), HEIGHT - 1 - (HEIGHT - 2) * value / (peak or 1.0)
        pieces[-1].append(f"{x:.1f},{y:.1f}")
    joined = [" ".join(piece) for piece in pieces if len(piece) > 1]
    return Sparkline(joined, peak, shown[-1][1] if shown else None)
