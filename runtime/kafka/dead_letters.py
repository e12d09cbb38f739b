"""The dead letters on a broker: reading those that are open, and closing them."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from ..dead_letter import SUFFIX, DeadLetter, Mark, mark, open_dead_letters, replay
from ..settings import Settings
from .admin import read_topics
from .application import Admin
from .producer import Producer


def read_open(settings: Settings, topics: Iterable[str]) -> list[DeadLetter]:
    """Read the open dead letters of some topics; raise `BrokerUnavailable`."""
    return open_dead_letters(read_topics(settings, [topic + SUFFIX for topic in topics]))


def topics_with_letters(settings: Settings) -> list[str]:
    """List the topics that have dead letters, or had; raise `BrokerUnavailable`."""
    names = Admin(settings).topics()
    return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


def close(
    settings: Settings, dead_letters: Sequence[DeadLetter], what: Mark, now: datetime
) -> None:
    """Replay dead letters, or not, then mark them; raise `BrokerUnavailable`.

    A crash between the two replays twice, which changes nothing.
    """
    if not dead_letters:
        return
    producer = Producer(settings)
    try:
        if what == "replayed":
            producer.send_records(map(replay, dead_letters))
        producer.send_records(mark(dead_letter, what, now) for dead_letter in dead_letters)
    finally:
        producer.close()
