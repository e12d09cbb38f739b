"""What the metrics of a system and its broker tell of functions, while somebody looks."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from http.client import HTTPException
from typing import TYPE_CHECKING, NamedTuple

from ..clock import utcnow
from ..errors import BrokerUnavailable, first_line
from ..metrics.catalogue import MEMBERS
from ..metrics.collecting import families
from ..metrics.scrape import FunctionNow, Scrape, functions, scrape
from ..settings import Settings
from .deployed import Deployed, read_deployed
from .kept import Kept
from .sparkline import GAP, WINDOW

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

    from ..metrics.backlog import Backlog
    from ..metrics.collecting import Sample

EVERY = 2.0  # seconds between two looks
LOOKS = 5  # between the first and the last of which a rate is told
POINTS = int(WINDOW / EVERY)
ANSWER = 1.0  # seconds that the metrics have
COUNTS = "Rates, errors and times are unknown:"
DISTANCE = "Lag and members are unknown:"


class Point(NamedTuple):
    """What was seen of a function at a moment, in seconds on a monotonic clock."""

    at: float
    rate: float | None
    lag: float | None


@dataclass(frozen=True)
class Look:
    """What was seen at a moment: `numbers` of functions and their `past`, by name.

    `unknown` says what is not known, and why, a line each.
    """

    at: datetime
    numbers: Mapping[str, FunctionNow] = field(default_factory=dict)
    past: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def of(self, name: str) -> FunctionNow:
        """Return the numbers of one function; those that are not known are None."""
        return self.numbers.get(name) or nothing(name)


def nothing(name: str) -> FunctionNow:
    """Return the numbers of a function of which none is known."""
    return FunctionNow(name, *[None] * 8)


class Looks:
    """Looks at a system, every few seconds at most and only while somebody wants to know.

    `topics` says what functions read, by their names within a service, where no process tells it.
    """

    def __init__(self, settings: Settings, topics: Mapping[str, Sequence[str]]) -> None:
        self._settings, self._topics = settings, topics
        self._kept = Kept(self._look, EVERY)
        self._scrapes: deque[Scrape] = deque(maxlen=LOOKS)
        self._past: dict[str, deque[Point]] = {}
        self._groups: dict[str, Sequence[str]] = {}
        self.close = self._kept.close

    def get(self, by: float) -> Look:
        """Return the last look, or a new one if that ends `by` then on a monotonic clock."""
        return self._kept.get(by) or Look(utcnow(), unknown=(f"{COUNTS} nobody has answered yet.",))

    def _look(self) -> Look:
        system, deployed = read_deployed(self._settings)
        url = None if system is None else system.metrics_at(self._settings.saga_host)
        asked = [one for one in deployed.values() if url is None or not one.instances]
        more, no_broker = self._ask(asked)
        now, no_metrics = self._scrape(url, families(more))
        if self._scrapes and now.at - self._scrapes[-1].at > GAP:
            self._scrapes.clear()  # a rate is one of now
        if not no_metrics:  # or all that ever came would seem to have come since then
            self._scrapes.append(now)
        before = self._scrapes[0] if self._scrapes else None
        numbers = {one.name: one for one in functions(now, before)}
        for name in deployed:
            one = numbers.get(name) or nothing(name)
            point = Point(now.at, one.rate, one.lag)
            self._past.setdefault(name, deque(maxlen=POINTS)).append(point)
        past = {name: tuple(points) for name, points in self._past.items()}
        if system is None:
            no_metrics = f"{COUNTS} of what does not run under `saga up`, Prometheus knows them."
        elif not (no_metrics or no_broker or MEMBERS.name in now.names):
            reads = any(one.topics for one in deployed.values())
            no_broker = f"{DISTANCE} see `saga logs metrics`." if reads else ""
        unknown = tuple(filter(None, [no_metrics, no_broker]))
        return Look(utcnow(), numbers, past, unknown)

    def _scrape(self, url: str | None, more: Iterable["Family"]) -> tuple[Scrape, str]:
        """Return what the metrics tell, with `more`, or why they do not."""
        at, port = time.monotonic(), self._settings.saga_metrics_port
        if url is not None:
            try:
                return scrape(url, at, ANSWER, more), ""
            except (OSError, HTTPException, ValueError) as error:
                why = f"Rates, lag, errors and times are unknown: {url} does not answer"
                return Scrape("", at), f"{why} ({first_line(error)}). See `saga logs metrics`."
        if port:
            why = f"port {port} could not be had, as `saga logs supervisor` tells."
        else:
            why = "metrics are off. With another SAGA_METRICS_PORT than 0, `saga up` serves them."
        return Scrape("", at, more), f"{COUNTS} {why}"

    def _ask(self, asked: Iterable[Deployed]) -> tuple[list["Sample"], str]:
        """Return what the broker tells of the lag and the members of some, or why it does not."""
        topics = {one.name: one.topics or self._topics.get(one.entry, ()) for one in asked}
        self._groups = {name: read for name, read in topics.items() if read}
        if not self._groups:
            return [], ""
        if self._settings.kafka_bootstrap_servers is None:
            return [], f"{DISTANCE} KAFKA_BOOTSTRAP_SERVERS names no broker."
        try:
            return list(self._backlog()), ""
        except BrokerUnavailable as error:
            return [], f"{DISTANCE} {error}."

    @cached_property
    def _backlog(self) -> "Backlog":
        # Imported late: Quix Streams takes a second, which tests and tools need not wait for.
        from ..metrics.backlog import Backlog

        return Backlog(self._settings, lambda: self._groups)
