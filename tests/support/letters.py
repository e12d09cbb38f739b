"""Topics of dead letters without a broker, for a console that reads and marks them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from saga.runtime.clock import utcnow
from saga.runtime.console.letters import Letters
from saga.runtime.console.open_letters import LetterRow, ReadRow
from saga.runtime.dead_letter import (
    DeadLetter,
    Mark,
    Origin,
    mark,
    open_dead_letters,
    to_dead_letter,
)
from saga.runtime.envelope import Headers, Record
from saga.runtime.kafka.reading import Reading
from saga.runtime.transport import Partition
from support.api import Api

NOW = utcnow()


class DeadLetters:
    """One partition for each topic of dead letters, and what is sent to it."""

    def __init__(self) -> None:
        self.topics: dict[Partition, list[Record]] = {}
        self.made = 0  # times that a topic was made anew
        self.done: list[tuple[str, Mark]] = []
        self.most = 1_000  # records that are read at once
        self.fetched = 1_000  # letters
        self.refused: dict[str, str] = {}  # why the broker takes no replay of a letter
        self.hold: Callable[[], Any] = lambda: None  # called before a reading

    def put(
        self,
        saga_id: str = "",
        reason: str = "body: no cake",
        topic: str = "bakery.bake",
        value: bytes = b"\xff<script>",
        headers: Headers = (("mine", b"<b>1</b>"),),
    ) -> str:
        """Set a record aside, a second later than the one before; return the letter's id."""
        sent = self._on(topic)
        record = Record(topic, saga_id.encode(), value, headers, 0, len(sent))
        at = NOW + timedelta(seconds=sum(map(len, self.topics.values())))
        self._append(sent, to_dead_letter(record, "shop.bake", reason, at))
        return f"{topic}/0/{len(sent) - 1}"

    def empty(self, topic: str = "bakery.bake") -> None:
        """Make a topic anew."""
        self._on(topic).clear()
        self.made += 1

    def install(self, monkeypatch: pytest.MonkeyPatch, api: Api) -> None:
        """Be what the console reads, from the beginning."""
        LetterRow.delete().execute()
        ReadRow.update(places="[]").execute()
        monkeypatch.setattr(Letters, "_read_more", lambda _, places: self._read_more(places))
        monkeypatch.setattr(Letters, "_fetch", lambda _, ids: self._fetch(ids))
        monkeypatch.setattr(Letters, "_mark", lambda _, letters, what: self._mark(letters, what))

    def _read_more(self, places: Mapping[Origin, int]) -> Reading:
        self.hold()
        origins = {where: Origin(*where, str(self.made)) for where in self.topics}
        began = {one: places.get(one, 0) for one in origins.values()}
        new = [
            r for where, records in self.topics.items() for r in records[began[origins[where]] :]
        ]
        read = new[: self.most]
        reached = dict(began)
        for record in read:
            reached[origins[record.topic, 0]] += 1
        return Reading(read, began, reached, len(new) - len(read))

    def _fetch(self, ids: Sequence[str]) -> dict[str, DeadLetter | None]:
        found = {letter.id: letter for letter in self._all()}
        return {letter_id: found.get(letter_id) for letter_id in ids[: self.fetched]}

    def _mark(self, letters: Sequence[DeadLetter], what: Mark) -> dict[str, str]:
        refused = self.refused if what == "replayed" else {}
        for letter in letters:
            if letter.id not in refused:
                self.done.append((letter.id, what))
                self._append(self._on(letter.record.topic), mark(letter, what, NOW))
        return {letter.id: refused[letter.id] for letter in letters if letter.id in refused}

    def _all(self) -> Iterator[DeadLetter]:
        for records in self.topics.values():
            for record in records:
                yield from open_dead_letters([record])

    def _on(self, topic: str) -> list[Record]:
        return self.topics.setdefault((f"{topic}.dlq", 0), [])

    def _append(self, records: list[Record], record: Record) -> None:
        records.append(record._replace(partition=0, offset=len(records)))
