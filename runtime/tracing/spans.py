"""Spans of messages, as OpenTelemetry's messaging conventions have them.

All of one saga's are in the trace of its start. A message is sent by a `send` span, whose context
it carries. A handler's call, and what else becomes of a record, is a `process` span below that one;
a batch has one for each of its records, and none of its own.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from opentelemetry import context as contexts
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.semconv._incubating.attributes import faas_attributes as faas
from opentelemetry.semconv._incubating.attributes import messaging_attributes as messaging
from opentelemetry.semconv.attributes import error_attributes as errors
from opentelemetry.semconv.attributes import exception_attributes as exceptions
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    set_span_in_context,
)

from ..clock import microseconds
from ..envelope import Envelope, Record, read_command_id, reply_id
from ..errors import Undecodable
from ..log_fields import Fields, Known, Told, fields_of, trace_fields
from ..observer import Applied, Handled, Handling, Observer
from . import context as trace_context

SCOPE = "saga.runtime"
TRACEPARENT = "traceparent"
# Ours, for which no convention has a name.
SAGA_ID, STEP, ACTION = "saga.id", "saga.step", "saga.action"
ATTEMPT, OUTCOME, STATUS = "saga.attempt", "saga.outcome", "saga.status"
COMMANDS = "saga.commands"  # how many a timer has asked for

_PLACE = re.compile(r"(.*)\[(\d+)\]@(\d+)")
PROCESS = messaging.MessagingOperationTypeValues.PROCESS.value
SEND = messaging.MessagingOperationTypeValues.SEND.value

Attributes = dict[str, Any]


class Traces(Observer):
    """Makes the spans of one process, which hosts `name`: its consumer group, too."""

    def __init__(self, provider: TracerProvider, name: str, prefix: str = "") -> None:
        self._name, self._group, self._prefix = name, prefix + name, prefix
        self.tracer = provider.get_tracer(SCOPE)
        self._follows = provider.sampler is ALWAYS_OFF or isinstance(provider.sampler, ParentBased)
        self._calls: dict[str, Span] = {}  # of handlers in the transaction at work, by command
        self._answering: dict[str, SpanContext] = {}  # where replies come from, by their ids
        self._tick: Span = INVALID_SPAN  # of the timer's call in the transaction at work
        self._in_hand: Sequence[Record] = ()

    def around(self, command: Envelope, /) -> AbstractContextManager[None]:
        """Let what a handler does, and logs, be below its span.

        One that is called again, as its transaction is, has one span.
        """
        if self._drops(command.traceparent):
            dropped = trace_context.Dropped(str(command.traceparent))
            return _Call(dropped, partial(fields_of, command))
        span = self._calls.get(command.id)
        if span is None:
            span = self._calls[command.id] = self._process(command, None)
        return _Call(span, lambda: fields_of(command) | _trace_fields(span))

    def handled(self, handled: Sequence[Handled]) -> None:
        """End the spans of what is committed."""
        calls, self._calls = self._calls, {}
        for one in handled:
            command = one.command
            if command is None or self._drops(command.traceparent):
                continue
            span = calls.pop(command.id, None) or self._process(command, one.began)
            if self._follows and not span.get_span_context().trace_flags.sampled:
                continue  # a trace that has begun with this command
            self._answering[reply_id(command.id)] = span.get_span_context()
            span.set_attribute(OUTCOME, one.outcome)
            if one.outcome in ("failed", "dead"):
                span.set_status(StatusCode.ERROR)
            if one.outcome in ("rejected", "failed", "dead") and one.answer is not None:
                _tell(span, one.outcome, json.loads(one.answer.data))
            span.end(one.ended * 1000)  # nanoseconds

    def applied(self, changes: Sequence[Applied]) -> None:
        """Make a span for each reply that a saga went on with."""
        kept = [one for one in changes if not self._drops(one.new.traceparent)]
        received = {r.place: _traceparent(r) for r in self._in_hand} if kept else {}
        for change in kept:
            reply, new = change.reply, change.new
            if reply is None or not reply.place:
                continue
            sent = trace_context.read(received.get(reply.place) or new.traceparent)
            topic, attributes = _place(reply.place)
            attributes |= {
                messaging.MESSAGING_KAFKA_MESSAGE_KEY: new.id,
                SAGA_ID: new.id,
                STEP: reply.step,
                ACTION: reply.action,
                ATTEMPT: reply.attempt,
                OUTCOME: reply.outcome,
                STATUS: new.status,
            }
            self._start(PROCESS, topic, sent, attributes, microseconds(new.updated_at)).end()

    @contextmanager
    def ticking(self, began: int, /) -> Iterator[str]:
        """Begin the span of a timer's call, and a trace; that of a call before, if left, goes.

        What the handler does is below it.
        """
        attributes: Attributes = {
            faas.FAAS_TRIGGER: faas.FaasTriggerValues.TIMER.value,
            faas.FAAS_NAME: self._name,
        }
        self._tick = self.tracer.start_span(
            f"tick {self._name}",
            trace_context.below(None),
            SpanKind.INTERNAL,
            attributes,
            start_time=began * 1000,
        )
        with _Call(self._tick, partial(_trace_fields, self._tick)):
            yield trace_context.write(self._tick.get_span_context())

    def ticked(self, began: int, ended: int, commands: int) -> None:
        """End the span of a timer's call."""
        self._tick.set_attribute(COMMANDS, commands)
        self._tick.end(max(began, ended) * 1000)  # a clock may be set back

    def forget(self) -> None:
        """Forget where answers come from that are on their way."""
        self._answering.clear()

    def take(self, records: Sequence[Record]) -> None:
        """Note which records are in hand: they tell which spans they come from."""
        self._in_hand = records

    def sending(self, record: Record) -> Record:
        """Make the span of a record that is handed to the broker; return it with its context.

        What belongs to no trace has none.
        """
        traceparent = _traceparent(record)
        if self._drops(traceparent):
            return record
        headers = dict(record.headers or ())
        identifier = (headers.get("ce_id") or b"").decode(errors="replace")
        parent = self._answering.get(identifier) or trace_context.read(traceparent)
        if parent is None:
            return record
        attributes = _message(identifier, headers.get("ce_attempt", b"1"))
        span = self._start(SEND, record.topic, parent, attributes)
        own = trace_context.write(span.get_span_context()).encode()
        span.end()
        others = [header for header in record.headers if header[0] != TRACEPARENT]
        return record._replace(headers=[*others, (TRACEPARENT, own)])

    def sending_command(self, command: Envelope) -> Envelope:
        """Make the span of a message that is handed to the broker; return it with its context."""
        if self._drops(command.traceparent):
            return command
        sent = dict(self.sending(command.record()).headers).get(TRACEPARENT)
        return command._replace(traceparent=sent.decode()) if sent else command

    def _drops(self, traceparent: str | None) -> bool:
        """Tell whether a span is not kept, and so none below it, which then need not be made."""
        return self._follows and trace_context.is_dropped(traceparent)

    def _process(self, command: Envelope, began: int | None) -> Span:
        parent = trace_context.read(command.traceparent)
        _, attributes = _place(command.place)
        attributes |= _message(command.id, command.attempt)
        return self._start(PROCESS, command.topic, parent, attributes, began)

    def _start(
        self,
        operation: str,
        topic: str,
        parent: SpanContext | None,
        attributes: Mapping[str, Any],
        began: int | None = None,
    ) -> Span:
        destination = self._prefix + topic
        consumes = operation == PROCESS
        own = {
            messaging.MESSAGING_SYSTEM: messaging.MessagingSystemValues.KAFKA.value,
            messaging.MESSAGING_OPERATION_NAME: operation,
            messaging.MESSAGING_OPERATION_TYPE: operation,
            messaging.MESSAGING_DESTINATION_NAME: destination,
        }
        if consumes:
            own[messaging.MESSAGING_CONSUMER_GROUP_NAME] = self._group
        return self.tracer.start_span(
            f"{operation} {destination}",
            trace_context.below(parent),
            SpanKind.CONSUMER if consumes else SpanKind.PRODUCER,
            {**own, **attributes},
            [Link(parent)] if consumes and parent is not None else None,
            None if began is None else began * 1000,
        )


class _Call(Known):
    """A context in which a handler is called: its spans, and its lines, are those of the call."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span, fields: Told) -> None:
        super().__init__(fields)
        self._span = span

    def __enter__(self) -> None:
        self._token = contexts.attach(set_span_in_context(self._span))
        super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        contexts.detach(self._token)


def _trace_fields(span: Span) -> Fields:
    return trace_fields(trace_context.write(span.get_span_context()))


def _place(place: str) -> tuple[str, Attributes]:
    """Return the topic that a record is in, and where in it."""
    found = _PLACE.fullmatch(place)
    if found is None:
        return "", {}
    topic, partition, offset = found.groups()
    return topic, {
        messaging.MESSAGING_DESTINATION_PARTITION_ID: partition,
        messaging.MESSAGING_KAFKA_OFFSET: int(offset),
    }


def _message(identifier: str, attempt: int | bytes) -> Attributes:
    """Describe a message by its id; what it is for, where it is a saga's."""
    attributes: Attributes = {
        messaging.MESSAGING_MESSAGE_ID: identifier,
        messaging.MESSAGING_KAFKA_MESSAGE_KEY: identifier.partition("/")[0],
    }
    try:
        saga_id, step, action = read_command_id(identifier.removesuffix("/reply"))
        own = {SAGA_ID: saga_id, STEP: step, ACTION: action, ATTEMPT: int(attempt)}
    except (Undecodable, TypeError, ValueError):  # one of others
        return attributes
    return attributes | own


def _traceparent(record: Record) -> str | None:
    for name, value in record.headers or ():
        if name == TRACEPARENT and value is not None:
            return value.decode(errors="replace")
    return None


def _tell(span: Span, outcome: Handling, problem: Mapping[str, Any]) -> None:
    """Say why; in the answer's words, as those of an exception may quote what is secret."""
    code = str(problem.get("code", errors.ErrorTypeValues.OTHER.value))
    span.set_attribute(errors.ERROR_TYPE, code)
    if outcome == "failed":
        told = {exceptions.EXCEPTION_TYPE: code}
        told[exceptions.EXCEPTION_MESSAGE] = str(problem.get("message", ""))
        span.add_event("exception", told)
