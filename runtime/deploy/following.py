"""Several streams of log lines as one, in the order in which lines come."""

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping

_END = object()


def follow_all(streams: Mapping[str, Iterable[bytes]]) -> Iterator[tuple[str, str]]:
    """Go through the lines of all streams, with their names, until the last one has ended.

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

    for name, chunks in streams.items():
        threading.Thread(target=read, args=(name, chunks), daemon=True).start()
    open_streams = len(streams)
    while open_streams:
        name, line = lines.get()
        if isinstance(line, bytes):
            yield name, line.decode(errors="replace").rstrip("\r")
        elif isinstance(line, Exception):
            raise line
        else:
            open_streams -= 1
