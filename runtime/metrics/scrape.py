"""What a scrape tells of functions and sagas: to `saga top` and the console. Unknown is None."""

import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import inf

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from .catalogue import (
    COMMANDS,
    DEAD_LETTERS,
    ENDED,
    GROUP,
    HANDLED,
    INSTANCES,
    LAG,
    LAG_SECONDS,
    MEMBERS,
    OLDEST,
    RECEIVED,
    SAGAS,
)

TIMEOUT = 10.0  # seconds: what is asked for at a scrape may be slow to answer
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FunctionNow:
    """A function or a saga's host.

    `rate` is in records a second, `lag` in records, `lag_seconds` the age of the oldest of them.
    `errors`, which are faults and dead letters, are counted since the system's start; so are the
    `dead_letters` among them, and `p50` and `p99`, in seconds, of the time in the handler.
    """

    name: str
    members: float | None
    rate: float | None
    lag: float | None
    lag_seconds: float | None
    errors: float | None
    dead_letters: float | None
    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class SagasNow:
    """The sagas of one declaration; `oldest` is the age of the oldest open one, in seconds.

    `rate` is how many end in a second.
    """

    name: str
    running: float | None
    compensating: float | None
    failed: float | None
    oldest: float | None
    rate: float | None


class Scrape:
    """All samples of one scrape, which was taken `at` that many seconds on a monotonic clock.

    To those of its text, `more` are added.
    """

    def __init__(self, text: str, at: float, more: Iterable[Family] = ()) -> None:
        self.at = at
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in chain(text_string_to_metric_families(text), more):
            for sample in family.samples:
                found = self._samples.setdefault(sample.name, [])
                found.append((sample.labels, sample.value))

    @property
    def names(self) -> set[str]:
        """The names of all samples."""
        return {*self._samples}

    def total(self, name: str, **labels: str) -> float | None:
        """Add up the samples that have these labels; None where there are none."""
        found = [value for _, value in self._with(name, labels)]
        return sum(found) if found else None

    def most(self, name: str, **labels: str) -> float | None:
        """Return the largest of such samples."""
        return max((value for _, value in self._with(name, labels)), default=None)

    def values(self, name: str, label: str) -> set[str]:
        """Return the values of a label."""
        return {labels[label] for labels, _ in self._samples.get(name, ()) if label in labels}

    def read_by(self, group: str) -> set[str]:
        """Return the topics that a consumer group reads."""
        return {labels["topic"] for labels, _ in self._with(LAG.name, {"consumergroup": group})}

    def quantile(self, share: float, name: str, **labels: str) -> float | None:
        """Estimate a quantile of a histogram, as Prometheus's `histogram_quantile` does."""
        counts: dict[float, float] = {}
        for found, value in self._with(f"{name}_bucket", labels):
            bound = float(found["le"])
            counts[bound] = counts.get(bound, 0.0) + value
        total = counts.get(inf, 0.0)
        if not total:
            return None
        below, count_below = 0.0, 0.0
        for bound, count in sorted(counts.items()):
            if count >= share * total:
                if bound == inf:
                    return below
                inside = (share * total - count_below) / (count - count_below)
                return below + (bound - below) * inside
            below, count_below = bound, count
        return None

    def _with(self, name: str, labels: dict[str, str]) -> Iterator[tuple[dict[str, str], float]]:
        for found, value in self._samples.get(name, ()):
            if labels.items() <= found.items():
                yield found, value


def scrape(url: str, at: float, timeout: float = TIMEOUT, more: Iterable[Family] = ()) -> Scrape:
    """Read what is served there; raise `OSError` where nobody answers within `timeout` seconds."""
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with directly.open(url, timeout=timeout) as answer:
        return Scrape(answer.read().decode(), at, more)


def functions(now: Scrape, before: Scrape | None = None) -> list[FunctionNow]:
    """List the functions and sagas; their rates are from `before` until now."""
    names = {name for name in now.values(INSTANCES.name, "function") if "." in name}
    names |= now.values(MEMBERS.name, "consumergroup")
    return [_function(name, now, before) for name in sorted(names)]


def _function(name: str, now: Scrape, before: Scrape | None) -> FunctionNow:
    letters = _sum(now.total(DEAD_LETTERS.name, topic=topic) for topic in now.read_by(name))
    return FunctionNow(
        name=name,
        members=now.most(MEMBERS.name, consumergroup=name),
        rate=_rate(now, before, RECEIVED.name, **{GROUP: name}),
        lag=now.total(LAG.name, consumergroup=name),
        lag_seconds=now.most(LAG_SECONDS.name, consumergroup=name),
        errors=_sum([now.total(COMMANDS.name, function=name, outcome="failed"), letters]),
        dead_letters=letters,
        p50=now.quantile(0.5, HANDLED.name, **{GROUP: name}),
        p99=now.quantile(0.99, HANDLED.name, **{GROUP: name}),
    )


def sagas(now: Scrape, before: Scrape | None = None) -> list[SagasNow]:
    """List the sagas by their declarations' names; their rates are from `before` until now."""
    return [
        SagasNow(
            name=name,
            running=now.total(SAGAS.name, saga=name, status="RUNNING"),
            compensating=now.total(SAGAS.name, saga=name, status="COMPENSATING"),
            failed=now.total(SAGAS.name, saga=name, status="FAILED"),
            oldest=now.most(OLDEST.name, saga=name),
            rate=_rate(now, before, ENDED.name, saga=name),
        )
        for name in sorted(now.values(SAGAS.name, "saga") | now.values(ENDED.name, "saga"))
    ]


def _rate(now: Scrape, before: Scrape | None, name: str, **labels: str) -> float | None:
    """Return how much a counter grows in a second; one that has begun again begins at 0."""
    count = now.total(name, **labels)
    if before is None or count is None or now.at <= before.at:
        return None
    grown = count - (before.total(name, **labels) or 0.0)
    return max(0.0, grown) / (now.at - before.at)


def told(value: float | None, unit: str = "") -> str:
    """Write a number as it is told, with its unit; what nobody knows is unknown."""
    if value is None:
        return UNKNOWN
    return (f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}") + unit


def _sum(parts: Iterable[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known else None
