"""The dead letters on a broker: reading those that are open, and closing them."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from ..dead_letter import (
    GONE,
    SUFFIX,
    DeadLetter,
    Mark,
    Origin,
    mark,
    open_dead_letters,
    outline,
    place,
    read_letters,
    replay,
)
from ..settings import Settings
from .producer import Producer
from .reading import Reading, read_on, read_records

READ_AT_ONCE = 2_000  # records
CHUNK = 100  # letters of which the records are in memory: fewer, if they are large


def read_open(settings: Settings, topics: Iterable[str]) -> list[DeadLetter]:
    """Read the open dead letters of some topics, in order, each as an `outline`.

    What their records hold might be more than there is memory for: `fetch` reads it of some.
    Raises `BrokerUnavailable`.
    """
    names = {topic + SUFFIX for topic in topics}
    found: dict[str, DeadLetter] = {}
    closed: set[str] = set()
    more = Reading([], {}, {}, left=1)
    while more.left:
        more = read_on(settings, names.__contains__, more.places, READ_AT_ONCE)
        letters, marked = read_letters(more.records)
        found |= {letter.id: outline(letter) for letter in letters}
        closed |= marked
    return [found[letter_id] for letter_id in sorted(found.keys() - closed, key=place)]


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


def close_all(
    settings: Settings, ids: Sequence[str], what: Mark, now: datetime
) -> Iterator[tuple[str, str]]:
    """Replay dead letters, or not, mark them, and tell of each why that was not done, or nothing.

    No more of them are in memory than `fetch` reads at once. Raises `BrokerUnavailable`.
    """
    for begin in range(0, len(ids), CHUNK):
        chunk = ids[begin : begin + CHUNK]
        while chunk:
            found = fetch(settings, chunk)
            refused = close(settings, [one for one in found.values() if one], what, now)
            for letter_id, letter in found.items():
                yield letter_id, refused.get(letter_id, "") if letter else GONE
            chunk = [letter_id for letter_id in chunk if letter_id not in found]


def close(
    settings: Settings, dead_letters: Sequence[DeadLetter], what: Mark, now: datetime
) -> dict[str, str]:
    """Replay dead letters, or not, then mark them; return why not those that no broker will take.

    These stay open. A crash between the two replays twice, which changes nothing. Raises
    `BrokerUnavailable`.
    """
    if not dead_letters:
        return {}
    refused: dict[str, str] = {}
    producer = Producer(settings)
    try:
        if what == "replayed":
            for refusal in producer.offer(map(replay, dead_letters)):
                alike = [one.id for one in dead_letters if replay(one) == refusal.record]
                refused |= dict.fromkeys(alike, f"not sent: {refusal.reason}")
        done = (letter for letter in dead_letters if letter.id not in refused)
        producer.send_records(mark(letter, what, now) for letter in done)
    finally:
        producer.close()
    return refused
