"""The dead letters on a broker: reading those that are open, and closing them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from ..dead_letter import SUFFIX, DeadLetter, Mark, Origin, mark, open_dead_letters, place, replay
from ..settings import Settings
from .producer import Producer
from .reading import Reading, read_on, read_records, read_topics


def read_open(settings: Settings, topics: Iterable[str]) -> list[DeadLetter]:
    """Read the open dead letters of some topics; raise `BrokerUnavailable`."""
    return open_dead_letters(read_topics(settings, [topic + SUFFIX for topic in topics]))


def read_more(settings: Settings, places: Mapping[Origin, int], most: int) -> Reading:
    """Read on all topics of dead letters, as `read_on` does; raise `BrokerUnavailable`."""
    return read_on(settings, lambda topic: topic.endswith(SUFFIX), places, most)


def fetch(settings: Settings, ids: Collection[str]) -> dict[str, DeadLetter | None]:
    """Read some dead letters, open or not, by id; one that is none any more is None.

    Of large ones, only the first are there, at least one of them: as `read_records` reads them.
    Raises `BrokerUnavailable`.
    """
    places = {place(letter_id): letter_id for letter_id in ids}
    records, left = read_records(settings, places)
    found = {letter.id: letter for record in records for letter in open_dead_letters([record])}
    later = {places[one] for one in left}
    return {letter_id: found.get(letter_id) for letter_id in ids if letter_id not in later}


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
