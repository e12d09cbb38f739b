"""The logs of containers as one stream, in the order in which lines come."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from docker.errors import NotFound
from docker.models.containers import Container

from ..system.log_reader import IsWanted
from .container_state import ended_at, short_name

LOOK_EVERY = 1.0  # seconds between two looks for streams that have come later

NEVER = "0001-01-01T00:00:00Z"  # when it was that a container started which has not yet
_END = object()


class Unread:
    """Opens the logs of those containers that are wanted, of each run of each container once."""

    def __init__(
        self, containers: Callable[[], list[Container]], is_wanted: IsWanted, *, follow: bool
    ) -> None:
        self._containers, self._is_wanted, self._follow = containers, is_wanted, follow
        self._runs: dict[str, str] = {}  # when it was that a container started, by its id

    def __call__(self) -> dict[str, Iterable[bytes]]:
        """Return what was not opened yet; raise what the engine's client raises."""
        streams: dict[str, Iterable[bytes]] = {}
        for container in self._containers():
            name, deployed = short_name(container), container.labels.get("saga.name", "")
            run = container.attrs["State"]["StartedAt"]
            if not self._is_wanted(name, deployed) or self._runs.get(container.id, NEVER) == run:
                continue
            since = ended_at(container) if container.id in self._runs else None
            with suppress(NotFound):  # it has just gone
                streams[name] = container.logs(stream=True, follow=self._follow, since=since)
                self._runs[container.id] = run
        return streams


def follow_all(
    streams: Mapping[str, Iterable[bytes]],
    later: Callable[[], Mapping[str, Iterable[bytes]]] | None = None,
) -> Iterator[tuple[str, str]]:
    """Go through the lines of all streams, with their names, until the last one has ended.

    Where `later` is given, it is asked for more of them from time to time, and there is no end.
    Chunks may hold several lines, or parts of one. Raises what a stream breaks off with.
    """
    lines: queue.Queue[tuple[str, object]] = queue.Queue(maxsize=1000)

    def read(name: str, chunks: Iterable[bytes]) -> None:
        rest = b""
        end: object = _END
        try:
            for chunk in chunks:
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    lines.put((name, line))
        except Exception as error:
            end = error
        if rest:
            lines.put((name, rest))
        lines.put((name, end))

    open_streams, look_at = 0, time.monotonic()
    while True:
        for name, chunks in streams.items():
            threading.Thread(target=read, args=(name, chunks), daemon=True).start()
        open_streams, streams = open_streams + len(streams), {}
        if later is not None and time.monotonic() >= look_at:
            streams, look_at = later(), time.monotonic() + LOOK_EVERY
            continue
        if later is None and not open_streams:
            return
        try:
            name, line = lines.get(timeout=None if later is None else LOOK_EVERY)
        except queue.Empty:
            continue
        if isinstance(line, bytes):
            yield name, line.decode(errors="replace").rstrip("\r")
        elif isinstance(line, Exception):
            raise line
        else:
            open_streams -= 1
