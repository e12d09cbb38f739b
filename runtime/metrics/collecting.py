"""What is asked for at a scrape, not counted: of the broker, the database, the supervisor.

It is kept for a few seconds, so that several who scrape cost no more than one. What can't be asked
is absent then, never 0 and never what it was before.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import peewee
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from ..errors import SagaError, first_line
from .catalogue import Metric
from .instruments import Undescribed

log = logging.getLogger(__name__)

KEPT_FOR = 5.0  # seconds
SHARE = 0.05  # of the time may go into asking, where that takes long

Sample = tuple[Metric, tuple[str, ...], float]  # with the values of its labels
AWAY = (SagaError, peewee.PeeweeException, OSError)


class Source:
    """What samples come from: `ask` gets them anew; `name` is for the log."""

    def __init__(self, name: str, ask: Callable[[], Iterable[Sample]]) -> None:
        self._name, self._ask = name, ask
        self._kept: list[Sample] = []
        self._until = 0.0
        self._is_away = False
        self._turn = threading.Lock()

    def samples(self) -> list[Sample]:
        """Return the samples of now, or of seconds ago; none where they can't be had."""
        with self._turn:
            if time.monotonic() >= self._until:
                self._kept = self._asked()
            return self._kept

    def _asked(self) -> list[Sample]:
        began, took = time.monotonic(), 0.0
        try:
            samples = list(self._ask())
            self._is_away, took = False, time.monotonic() - began
        except Exception as error:  # a source that is broken takes no other along
            samples = []
            if not self._is_away:  # said once
                why, unknown = first_line(error), not isinstance(error, AWAY)
                log.warning("no metrics of %s: %s", self._name, why, exc_info=unknown)
            self._is_away = True
        self._until = time.monotonic() + max(KEPT_FOR, took / SHARE)
        return samples


class Asking(Undescribed):
    """Asks sources at a scrape; which there are may change."""

    def __init__(self, sources: Callable[[], Iterable[Source]]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Family]:
        """Return the samples of all sources, by metric."""
        return families(sample for source in self._sources() for sample in source.samples())


def families(samples: Iterable[Sample]) -> Iterator[Family]:
    """Put samples together by their metrics, as prometheus_client writes them."""
    found: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for metric, labels, value in samples:
        if metric.name not in found:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            found[metric.name] = kind(metric.name, metric.help, labels=metric.labels)
        found[metric.name].add_metric(labels, value)
    return iter(found.values())
