"""What must hold in every run of every saga, whatever its business: watched while it runs."""

from collections.abc import Iterable, Mapping, Sequence

from ..dead_letter import SUFFIX
from ..envelope import Record, read_command_id, reply_id
from ..inbox import Answer

INJECTED = "SimulatedFault"  # the code of a fault that the simulation itself has put there
JUNK = b"junk"  # the body of a record that the simulation itself has put there

Ran = Sequence[tuple[str, Answer]]
Offset = tuple[str, int, int]  # of one record: its topic, its partition, its number there
Committed = Mapping[tuple[str, int], int]  # the next offset to read, by topic and partition


class Invariants:
    """Learns of each commit what it did and what it answers, and notes what does not fit."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._done: set[str] = set()
        self._answers: dict[str, tuple[str, bytes | None]] = {}
        self._answered: dict[str, set[Offset]] = {}
        self.repeated = 0  # answers that were given again, to duplicates

    def committed(self, ran: Ran, replies: Sequence[Record]) -> None:
        """Check the handlers that ran in a transaction and the replies that come of it."""
        answers = dict(ran)
        for command_id, answer in ran:
            self._check_run(command_id, answer)
        for reply in replies:
            headers = dict(reply.headers)
            if reply.topic.endswith(SUFFIX):
                self._check_dead_letter(reply, headers)
            elif "ce_outcome" in headers:
                self._check_reply(reply, headers)
        for command_id, answer in answers.items():
            if answer.outcome == "done":
                self._done.add(command_id)

    def answered(self, group: str, offsets: Iterable[Offset]) -> None:
        """Learn which records a group has worked off, with all that comes of them sent."""
        self._answered.setdefault(group, set()).update(offsets)

    def offsets(self, group: str, before: Committed, after: Committed) -> None:
        """Check that a group commits no offset beyond what it has worked off and answered."""
        answered = self._answered.get(group, set())
        for (topic, partition), end in after.items():
            for number in range(before.get((topic, partition), 0), end):
                if (topic, partition, number) not in answered:
                    self._found(f"{group} committed {topic}[{partition}]@{number} unanswered")

    def forget_offsets(self) -> None:
        """Learn that the broker has begun again at offset 0."""
        self._answered.clear()

    def _check_run(self, command_id: str, answer: Answer) -> None:
        if answer.outcome == "failed" and INJECTED not in answer.data:
            self._found(f"{command_id} failed by itself: {answer.data}")
        if answer.outcome != "done":
            return
        if command_id in self._done:
            self._found(f"{command_id} took effect twice")
        self._done.add(command_id)
        saga_id, step, action = read_command_id(command_id)
        if action == "do" and reply_id(f"{saga_id}/{step}/undo") in self._answers:
            self._found(f"{command_id} took effect after it was undone")

    def _check_reply(self, reply: Record, headers: dict[str, bytes]) -> None:
        """Compare an answer that stands for ever with what was answered before."""
        identifier, outcome = headers["ce_id"].decode(), headers["ce_outcome"].decode()
        final = outcome == "done" or (outcome == "rejected" and identifier.endswith("/do/reply"))
        if not final:
            return
        answer = (outcome, reply.value)
        self.repeated += identifier in self._answers
        earlier = self._answers.setdefault(identifier, answer)
        if earlier != answer:
            self._found(f"{identifier} was {earlier} and is {answer}")

    def _check_dead_letter(self, record: Record, headers: dict[str, bytes]) -> None:
        if record.value != JUNK:
            self._found(f"dead letter on {record.topic}: {headers['dlq_reason'].decode()}")

    def _found(self, violation: str) -> None:
        if violation not in self.violations:
            self.violations.append(violation)
