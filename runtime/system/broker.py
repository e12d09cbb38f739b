"""The broker of a running system: one of our own, or one that runs already; and its topics."""

import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..address import check_brokers
from ..errors import BrokerUnavailable
from ..kafka.embedded import HOST, free_port, start_embedded
from ..settings import EMBEDDED, KAFKA, Settings
from .launch import elsewhere
from .rotation import open_pipe


class SystemBroker:
    """A system's broker: `embedded`, `kafka`, or the address of one that runs already.

    `settings` are those of the system, for processes on this broker; `context` is what makes
    processes. Raises `BrokerUnavailable` for what is none of the three.
    """

    def __init__(self, broker: str, settings: Settings, data: Path, context: Any) -> None:
        self.is_own = broker in (EMBEDDED, KAFKA)
        if not self.is_own:
            try:
                check_brokers(broker)
            except ValueError as error:
                raise BrokerUnavailable(
                    f"broker: neither embedded nor kafka, and {error}"
                ) from None
        self.address = f"{HOST}:{free_port()}" if self.is_own else broker
        self.log_file = data / "logs" / "broker.log"
        self.settings = settings.on_broker(self.address, broker)
        self.kind = broker
        self._data = data
        self._context = context

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.address.rpartition(":")[2])

    def start(self, topics: Mapping[str, int]) -> "subprocess.Popen[bytes]":
        """Start a broker of our own and create its topics; raise as `create_topics` does."""
        process = self._launch()
        try:
            self.create_topics(topics)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return process

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create the topics that are missing, given with their partitions.

        Raises `BrokerUnavailable`, and `ChildProcessError` as `elsewhere` does.
        """
        elsewhere(self._context, _create_topics, self.settings, dict(topics))

    def _launch(self) -> "subprocess.Popen[bytes]":
        opened = partial(open_pipe, settings=self.settings)
        if self.kind == EMBEDDED:
            return start_embedded(self.port, self._data / "broker", self.log_file, opened)
        # Imported late: confluent_kafka need not be loaded for `saga --help`.
        from ..kafka.apache import start_kafka

        return start_kafka(self.port, self._data / "kafka", self.log_file, opened)


def _create_topics(settings: Settings, topics: dict[str, int]) -> None:
    # Imported where it is called: Kafka's client would double what the supervisor holds.
    from ..kafka.admin import create_topics

    create_topics(settings, topics)
