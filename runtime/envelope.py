"""How messages travel: CloudEvents over Kafka, binary mode.

The rules are those of CloudEvents' Kafka protocol binding 1.0.2, section 3.2: attributes in `ce_`
headers, the payload as the record's value. The record's key is the saga's id, so that one saga's
messages stay in order.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from . import stamps
from .errors import Undecodable
from .stamps import Stamps

Header = tuple[str, bytes]  # a foreign one may have no value
Headers = Sequence[Header]
Action = Literal["do", "undo"]
Outcome = Literal["done", "rejected", "failed"]

ID_LIMIT = 200  # characters in a message id
BODY_LIMIT = 200_000  # characters in a body; brokers take messages of 1 MB at most
TRACE_LIMIT = 200  # characters in a traceparent; W3C's Trace Context 1 has 55

NEEDED = ("ce_id", "ce_source", "ce_type")
READ = {*NEEDED, "ce_time", "ce_attempt", "ce_outcome", "traceparent", stamps.HEADER}
OUTCOMES: tuple[Outcome, ...] = ("done", "rejected", "failed")


class Record(NamedTuple):
    """One record as a topic holds it.

    `fault` says why a record that has arrived can't even be taken apart; its headers are not there.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int = -1
    offset: int = -1
    fault: str = ""

    @property
    def place(self) -> str:
        """Where it is, as `TOPIC[PARTITION]@OFFSET`; empty until it is in a topic."""
        return f"{self.topic}[{self.partition}]@{self.offset}" if self.offset >= 0 else ""


class Envelope(NamedTuple):
    """A message on its way: the CloudEvents attributes around its JSON body.

    `outcome` is set on replies. `attempt` counts a command's attempts from 1; a failed reply
    repeats it, so that a late failure can't be taken for that of a newer attempt. `place` is that
    of the record it was read from, as `Record.place` tells it. `stamps` are those of the attempt
    that a reply is for.
    """

    topic: str
    id: str
    type: str
    source: str
    time: str
    data: str
    outcome: Outcome | None = None
    attempt: int = 1
    traceparent: str | None = None
    place: str = ""
    stamps: Stamps | None = None

    @property
    def key(self) -> str:
        """The saga's id, the first part of every message id."""
        return self.id.partition("/")[0]

    def record(self) -> Record:
        """Encode for a topic."""
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", self.id.encode()),
            ("ce_source", self.source.encode()),
            ("ce_type", self.type.encode()),
            ("ce_time", self.time.encode()),
            ("ce_attempt", b"%d" % self.attempt),
            ("content-type", b"application/json"),
        ]
        if self.outcome is not None:
            headers.append(("ce_outcome", self.outcome.encode()))
        if self.traceparent is not None:
            headers.append(("traceparent", self.traceparent.encode()))
        if self.stamps is not None:
            headers.append((stamps.HEADER, stamps.write(self.stamps)))
        return Record(self.topic, self.key.encode(), self.data.encode(), headers)


class Reply(NamedTuple):
    """A function's answer to a saga's command, read for the orchestrator, and where it was.

    `unsent` is what its host answers itself: the broker will never take that command.
    """

    saga_id: str
    step: str
    action: Action
    outcome: Outcome | Literal["unsent"]
    attempt: int
    data: str
    place: str = ""
    stamps: Stamps | None = None


def message_id(saga_id: str, step: str, action: Action) -> str:
    """Derive a command's id. It is the same for every attempt, which is what makes them one."""
    return f"{saga_id}/{step}/{action}"


def reply_id(command_id: str) -> str:
    """Derive the id of a command's reply."""
    return f"{command_id}/reply"


def decode(record: Record) -> Envelope:
    """Read a record's headers and body as an envelope.

    Raises `Undecodable` when an attribute is missing or malformed. The body is not parsed here:
    whoever knows its class does that.
    """
    if record.fault:
        raise Undecodable(record.fault)
    try:
        headers = {
            name: value.decode()
            for name, value in record.headers or ()
            if name in READ and value is not None
        }
        data = (record.value or b"").decode()
        attempt = int(headers.get("ce_attempt", "1"))
    except ValueError as error:
        raise Undecodable(f"headers or body are not what CloudEvents says: {error}") from error
    if missing := [name for name in NEEDED if not headers.get(name)]:
        raise Undecodable(f"header missing: {', '.join(missing)}")
    outcome = headers.get("ce_outcome")
    if outcome is not None and outcome not in OUTCOMES:
        raise Undecodable(f"ce_outcome is {outcome!r}, not one of {', '.join(OUTCOMES)}")
    return Envelope(
        record.topic,
        headers["ce_id"],
        headers["ce_type"],
        headers["ce_source"],
        headers.get("ce_time", ""),
        data,
        outcome,
        attempt,
        _bounded(headers.get("traceparent")),
        record.place,
        stamps.read(headers.get(stamps.HEADER)),
    )


def _bounded(traceparent: str | None) -> str | None:
    """Leave out what is too long: it is sent on with each answer, and is nobody's trace."""
    fits = traceparent is not None and len(traceparent) <= TRACE_LIMIT
    return traceparent if fits else None


@lru_cache(4096)  # each command's is asked for again and again while it is worked off
def read_command_id(identifier: str) -> tuple[str, str, Action]:
    """Split a command's id into saga id, step and action; raise `Undecodable` if it is none."""
    parts = identifier.split("/")
    if len(parts) != 3 or not all(parts) or parts[2] not in ("do", "undo"):
        raise Undecodable(f"message id {identifier!r} is not of the form SAGA_ID/STEP/do or …/undo")
    if len(identifier) > ID_LIMIT or not identifier.isprintable():
        raise Undecodable(f"message id {identifier[:50]!r}… is over {ID_LIMIT} characters or odd")
    return parts[0], parts[1], "do" if parts[2] == "do" else "undo"


def read_reply(envelope: Envelope) -> Reply:
    """Read an envelope as a reply; raise `Undecodable` if it is none."""
    command_id, _, suffix = envelope.id.rpartition("/")
    if suffix != "reply" or envelope.outcome is None:
        raise Undecodable(f"message {envelope.id!r} is not a reply")
    saga_id, step, action = read_command_id(command_id)
    outcome, attempt, place = envelope.outcome, envelope.attempt, envelope.place
    return Reply(saga_id, step, action, outcome, attempt, envelope.data, place, envelope.stamps)
