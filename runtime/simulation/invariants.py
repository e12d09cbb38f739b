"""What must hold in every run of every saga, whatever its business: watched while it runs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..dead_letter import SUFFIX
from ..envelope import Record, read_command_id, reply_id
from ..inbox import Answer
from ..poison import DEATHS
from .attempts import Attempt

# Of one message, until it is found out: who has had its partition for long notes nothing.
MOST_DEATHS = 3 * DEATHS
INJECTED = "SimulatedFault"  # the code of a fault that the simulation itself has put there
# The body and the headers of a record that the simulation itself has put there.
JUNK, JUNK_HEADERS = b"junk", [("content-type", b"junk")]

Ran = Sequence[tuple[str, Answer]]
Offset = tuple[str, int, int]  # of one record: its topic, its partition, its number there
Committed = Mapping[tuple[str, int], int]  # the next offset to read, by topic and partition


def trace_of(saga_id: str) -> str:
    """Return the traceparent that a saga is given at its start, and all its messages carry."""
    digits = saga_id.replace("-", "").zfill(32)
    return f"00-{digits}-{digits[:16]}-01"


class Invariants:
    """Learns of each commit what it did and what it answers, and notes what does not fit."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._done: set[str] = set()
        self._answers: dict[str, tuple[str, bytes | None]] = {}
        self._answered: dict[str, set[Offset]] = {}
        self._bodies: dict[str, bytes | None] = {}  # of commands, by their ids
        self._sent: set[tuple[str, str]] = set()  # attempts that a saga's host has asked for
        self._heard: set[str] = set()  # the places of replies that it has heard
        self._histories: dict[str, str] = {}  # without their end, which is open
        self.tried: set[Attempt] = set()  # attempts that were answered, though not for ever
        self._doubts: Counter[str] = Counter()  # how many may have died of a record, by its place
        self._deaths: Counter[str] = Counter()  # how many have died of a command
        self._guilty: set[str] = set()  # commands of which at least so many may
        self.set_aside = 0  # records that have ended too many processes
        self.repeated = 0  # answers that were given again, to duplicates

    def is_done(self, command_id: str) -> bool:
        """Tell whether a command was answered as done, be it that nobody has heard it."""
        return self._answers.get(reply_id(command_id), ("", None))[0] == "done"

    def committed(self, ran: Ran, replies: Sequence[Record]) -> None:
        """Check the handlers that ran in a transaction and the replies that come of it."""
        answers = dict(ran)
        for command_id, answer in ran:
            self._check_run(command_id, answer)
        for reply in replies:
            headers = dict(reply.headers)
            if reply.topic.endswith(SUFFIX):
                self._check_dead_letter(reply, headers)
                continue
            self._check_marks(reply, headers)
            if "ce_outcome" in headers:
                self._check_reply(reply, headers, answers)
        for command_id, answer in answers.items():
            if answer.outcome == "done":
                self._done.add(command_id)

    def doubted(self, records: Sequence[Record]) -> None:
        """Learn that a process is gone, or seems to be, with these records in hand."""
        self._doubts.update(record.place for record in records)
        self._condemn(records)

    def died_of(self, record: Record) -> None:
        """Learn that a process has died of this record alone."""
        command_id = dict(record.headers)["ce_id"].decode()
        self._deaths[command_id] += 1
        # Of an undo, each attempt may cost as many.
        if self._deaths[command_id] > MOST_DEATHS and command_id.endswith("/do"):
            self._found(f"{command_id} has ended more than {MOST_DEATHS} processes")

    def worked_off(self, records: Sequence[Record], out: Sequence[Record]) -> None:
        """Check that each record of a batch has its own answer: a reply, or a dead letter."""
        asked = [(name, _attempt(r)) for r in records for name in _expected(r)]
        told = [(name, r) for r in out if (name := _answer(r))]
        came, went = Counter(name for name, _ in asked), Counter(name for name, _ in told)
        for name in came - went:
            self._found(f"no answer to {name}")
        for name in went - came:
            if self._doubts[name] < DEATHS:
                self._found(f"an answer to {name}, which was not asked")
        self._condemn(records)
        for name, reply in told:
            if _may_change(reply) and (name, _attempt(reply)) not in asked:
                self._found(f"{name} names attempt {_attempt(reply)}, which was not the one asked")

    def asked(self, records: Sequence[Record], out: Sequence[Record]) -> None:
        """Check the commands that a batch asks for, and learn them.

        Each is asked for once, with the same bytes each time; again only by a sweep, which has no
        records, or for a record that was heard before: then a host may have died before sending.
        """
        replies = [record for record in records if "ce_outcome" in dict(record.headers)]
        again = {record.key for record in replies if record.place in self._heard}
        commands = [(name, record) for record in out if (name := _command(record))]
        for name, times in Counter(name for name, _ in commands).items():
            if times > 1:
                self._found(f"{name} was asked for {times} times in one batch")
        for name, record in commands:
            body = self._bodies.setdefault(name, record.value)
            if record.value != body:
                self._found(f"{name} was {body!r} and is {record.value!r}")
            attempt = name, _attempt(record)
            if records and attempt in self._sent and record.key not in again:
                self._found(f"{name} was sent again, for a copy of a reply")
            self._sent.add(attempt)
        self.heard(replies)

    def heard(self, records: Sequence[Record]) -> None:
        """Learn which replies have been applied, perhaps."""
        self._heard.update(record.place for record in records)

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
        self._deaths.clear()

    def histories(self, now: Iterable[tuple[str, str | None]]) -> None:
        """Check that what the sagas' histories have told, as JSON, they tell still.

        A transition that is written over, by another one from the same state, takes its own entry
        along: afterwards nothing is left to tell of it.
        """
        for saga_id, text in now:
            history = text or "[]"
            if not history.startswith(self._histories.get(saga_id, "[")):
                self._found(f"saga {saga_id}: a transition was written over")
            self._histories[saga_id] = history[:-1]

    def _condemn(self, records: Iterable[Record]) -> None:
        guilty = (dict(r.headers) for r in records if self._doubts[r.place] >= DEATHS)
        self._guilty.update(headers["ce_id"].decode() for headers in guilty if "ce_id" in headers)

    def _check_run(self, command_id: str, answer: Answer) -> None:
        own = INJECTED in answer.data or command_id in self._guilty
        if answer.outcome == "failed" and not own:
            self._found(f"{command_id} failed by itself: {answer.data}")
        if answer.outcome != "done":
            return
        if command_id in self._done:
            self._found(f"{command_id} took effect twice")
        self._done.add(command_id)
        saga_id, step, action = read_command_id(command_id)
        if action == "do" and reply_id(f"{saga_id}/{step}/undo") in self._answers:
            self._found(f"{command_id} took effect after it was undone")
        if action == "undo" and f"{saga_id}/{step}/do" not in self._done:
            self._found(f"{command_id} took effect, and there was nothing to undo")

    def _check_marks(self, record: Record, headers: dict[str, bytes]) -> None:
        """See that a saga's messages stay in one partition, and in one trace."""
        saga_id = headers["ce_id"].decode().partition("/")[0]
        key, trace = (record.key or b"").decode(), headers.get("traceparent", b"").decode()
        if key != saga_id:
            self._found(f"{headers['ce_id'].decode()} has the key {key}")
        if trace != trace_of(saga_id):
            self._found(f"{headers['ce_id'].decode()} has the traceparent {trace!r}")

    def _check_reply(
        self, reply: Record, headers: dict[str, bytes], ran: Mapping[str, Answer]
    ) -> None:
        """Compare an answer that stands for ever with what was answered before."""
        identifier, outcome = headers["ce_id"].decode(), headers["ce_outcome"].decode()
        command_id = identifier.removesuffix("/reply")
        if not _is_final(identifier, outcome):
            self.tried.add((identifier, outcome, _attempt(reply)))
            if command_id not in ran and command_id not in self._guilty:
                self._found(f"{identifier} is {outcome}, and nothing was tried")
            return
        if outcome == "done" and identifier.endswith("/do/reply") and command_id not in self._done:
            self._found(f"{identifier} is done, and nothing was done")
        answer = (outcome, reply.value)
        self.repeated += identifier in self._answers
        earlier = self._answers.setdefault(identifier, answer)
        if earlier != answer:
            self._found(f"{identifier} was {earlier} and is {answer}")

    def _check_dead_letter(self, record: Record, headers: dict[str, bytes]) -> None:
        is_junk = (record.value, [*record.headers[: len(JUNK_HEADERS)]]) == (JUNK, JUNK_HEADERS)
        is_guilty = headers.get("ce_id", b"").decode() in self._guilty
        self.set_aside += is_guilty
        if not (is_junk or is_guilty):
            self._found(f"dead letter on {record.topic}: {headers['dlq_reason'].decode()}")

    def _found(self, violation: str) -> None:
        if violation not in self.violations:
            self.violations.append(violation)


def _attempt(record: Record) -> str:
    return dict(record.headers).get("ce_attempt", b"").decode()


def _is_final(reply: str, outcome: str) -> bool:
    return outcome == "done" or (outcome == "rejected" and reply.endswith("/do/reply"))


def _may_change(record: Record) -> bool:
    """Tell a reply that stands only for its attempt."""
    headers = dict(record.headers)
    if "ce_outcome" not in headers:
        return False
    return not _is_final(headers["ce_id"].decode(), headers["ce_outcome"].decode())


def _expected(record: Record) -> list[str]:
    """Say what a record has to be answered with; a reply that a saga hears, with nothing.

    What can't be read is a dead letter, and answered, too, where its headers say whose it is.
    """
    headers = dict(record.headers)
    letter = [record.place] if record.value == JUNK else []
    if "ce_outcome" in headers or "ce_id" not in headers:
        return letter
    return [*letter, reply_id(headers["ce_id"].decode())]


def _command(record: Record) -> str:
    """Say which command a record is; empty for any other one."""
    name = dict(record.headers).get("ce_id", b"").decode()
    return name if name.endswith(("/do", "/undo")) and not record.topic.endswith(SUFFIX) else ""


def _answer(record: Record) -> str:
    """Say what a record answers; a command that a saga sends, nothing."""
    headers = dict(record.headers)
    if record.topic.endswith(SUFFIX):
        topic, partition, offset = (
            headers[f"dlq_{name}"].decode() for name in ("topic", "partition", "offset")
        )
        return f"{topic}[{partition}]@{offset}"
    return headers["ce_id"].decode() if "ce_outcome" in headers else ""
