"""The spans of messages: names, kinds, attributes, parents, links; of each record one."""

from datetime import UTC, datetime
from typing import Any

import pytest
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import SpanKind, StatusCode

from saga.runtime.clock import microseconds
from saga.runtime.envelope import Envelope, Record, Reply, decode
from saga.runtime.errors import Rejected
from saga.runtime.inbox import Answer
from saga.runtime.log_fields import known_fields, trace_fields
from saga.runtime.observer import Applied, Handled
from saga.runtime.saga_state import SagaState
from saga.runtime.tracing import context as trace_context
from saga.runtime.tracing.transport import TracedTransport

from .conftest import Kept

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def trace_of(number):
    return f"00-{number:032x}-{number:016x}-01"


def fail(error):
    raise error


@pytest.fixture
def bakery(bakery, traces):
    bakery.baker.observer = traces
    bakery.clock = lambda: datetime.now(UTC)
    return bakery


def record(bakery, number=1, **changes):
    sent = bakery.bake_record(
        name=f"rye {number}", saga_id=f"s{number}", traceparent=trace_of(number), **changes
    )
    return sent._replace(partition=2, offset=number)


def test_a_command_is_a_process_span_below_that_which_sent_it(bakery, traces):
    bakery.baker.process([record(bakery)])
    [span] = traces.spans
    assert (span.name, span.kind) == ("process bakery.bake", SpanKind.CONSUMER)
    assert (span.parent.span_id, span.context.trace_id) == (1, 1)
    assert span.parent.is_remote
    assert span.instrumentation_scope.name == "saga.runtime"
    assert [link.context.span_id for link in span.links] == [1]
    assert span.status.status_code is StatusCode.UNSET
    assert span.start_time <= span.end_time
    assert span.events == ()
    assert dict(span.attributes) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "bakery.bake",
        "messaging.destination.partition.id": "2",
        "messaging.kafka.offset": 1,
        "messaging.kafka.message.key": "s1",
        "messaging.message.id": "s1/bake/do",
        "messaging.consumer.group.name": "bakery.bake",
        "saga.id": "s1",
        "saga.step": "bake",
        "saga.action": "do",
        "saga.attempt": 1,
        "saga.outcome": "done",
    }


def test_fifty_records_of_fifty_sagas_keep_fifty_traces(bakery, traces):
    bakery.baker.process([record(bakery, number) for number in range(1, 51)])
    assert [span.context.trace_id for span in traces.spans] == [*range(1, 51)]


def test_what_a_handler_does_is_below_its_span_and_its_lines_tell_of_it(bakery, traces):
    known = []

    def work():
        known.append(known_fields())
        traces.tracer.start_span("oven").end()

    bakery.before.append(work)
    bakery.baker.process([record(bakery)])
    oven, process = traces.spans
    assert (oven.parent.span_id, oven.context.trace_id) == (process.context.span_id, 1)
    own = {"saga_id": "s1", "command_id": "s1/bake/do", "attempt": 1}
    assert known == [own | {"trace_id": f"{1:032x}", "span_id": f"{process.context.span_id:016x}"}]
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert known_fields() == {}


def test_a_handler_that_is_called_again_as_another_has_failed_has_one_span(bakery, traces):
    def work():
        traces.tracer.start_span("oven").end()

    bakery.before += [work, lambda: fail(ValueError()), work]
    bakery.baker.process([record(bakery), record(bakery, 2)])
    *ovens, first, _ = traces.spans
    assert [oven.parent.span_id for oven in ovens] == [first.context.span_id] * 2


@pytest.mark.parametrize(
    ("error", "outcome", "kind", "status"),
    [
        (Rejected("burnt", "black"), "rejected", "burnt", StatusCode.UNSET),
        (ValueError("x"), "failed", "ValueError", StatusCode.ERROR),
    ],
)
def test_a_handler_that_is_called_again_with_its_batch_has_one_span(
    bakery, traces, error, outcome, kind, status
):
    bakery.after += [lambda: fail(error)] * 2
    bakery.baker.process([record(bakery), record(bakery, 2)])
    assert [span.context.trace_id for span in traces.spans] == [1, 2]
    first = traces.spans[0]
    assert (first.attributes["saga.outcome"], first.attributes["error.type"]) == (outcome, kind)
    assert first.status.status_code is status
    told = [(event.name, dict(event.attributes)) for event in first.events]
    message = {"exception.type": "ValueError", "exception.message": "ValueError: x"}
    assert told == ([("exception", message)] if outcome == "failed" else [])


def test_what_no_handler_is_called_for_has_a_span_too(bakery, traces):
    broken = record(bakery, 2)._replace(value=b"{}")
    bakery.baker.process([Record("t", None, None, []), record(bakery), record(bakery), broken])
    told = [(s.context.trace_id, s.attributes["saga.outcome"]) for s in traces.spans]
    assert told == [(1, "done"), (1, "duplicate"), (2, "dead")]
    duplicate, dead = traces.spans[1:]
    assert "error.type" not in duplicate.attributes
    assert dead.attributes["error.type"] == "invalid_command"
    assert dead.status.status_code is StatusCode.ERROR


def test_spans_have_the_times_that_are_told_of_them(bakery, traces):
    command = decode(record(bakery))
    began, ended = microseconds(NOW), microseconds(NOW) + 1_500_003
    traces.handled([Handled(command, None, "duplicate", began, began, ended)])
    [span] = traces.spans
    assert span.start_time == 1_767_225_600_000_000_000
    assert span.end_time - span.start_time == 1_500_003_000


def test_what_is_set_aside_though_it_was_done_is_an_error_of_another_kind(bakery, traces):
    answer = Answer("Baked", "done", "", '{"name": "rye"}')
    traces.handled([Handled(decode(record(bakery)), answer, "dead", 0, 0, 0)])
    traces.handled([Handled(decode(record(bakery)), None, "dead", 0, 0, 0)])
    assert "error.type" not in traces.spans[1].attributes
    assert traces.spans[0].attributes["error.type"] == "_OTHER"


def test_what_belongs_to_no_trace_begins_one(bakery, traces):
    bakery.baker.process([record(bakery)._replace(headers=bakery.bake_record(saga_id="x").headers)])
    [span] = traces.spans
    assert span.parent is None
    assert span.links == ()


DROPPED = trace_of(1)[:-1] + "0"


class Unasked(Sampler):
    """One that is never to be asked, as that takes its time."""

    def should_sample(self, *_: Any, **__: Any) -> Any:
        pytest.fail("was asked")

    def get_description(self) -> str:
        return "Unasked"


@pytest.mark.parametrize("flags", ["00", "02"])  # nor with the flag for an id that is random
def test_of_a_trace_that_is_not_kept_no_span_is_made_anywhere(bakery, flags):
    dropped = DROPPED[:-2] + flags
    traces = Kept(
        "bakery.bake", sampler=ParentBased(Unasked(), remote_parent_not_sampled=Unasked())
    )
    bakery.baker.observer = traces
    known = []
    bakery.before.append(lambda: known.append((known_fields(), trace.get_current_span())))
    under = Transport(bakery.bake_record(traceparent=dropped))
    transport = TracedTransport(under, traces)
    transport.finish(bakery.baker.process(transport.poll(0.5)))
    message = Envelope("t", "s/x/do", "T", "/", "now", "{}", traceparent=dropped)
    assert traces.sending_command(message) is message
    goes_on(traces, dropped)
    assert traces.spans == ()
    [reply] = [decode(sent) for sent in under.sent]
    assert reply.traceparent == dropped
    # But the handler knows its trace: its lines of the log, and what it traces itself.
    [(fields, span)] = known
    assert fields["trace_id"] == f"{1:032x}"
    assert trace_context.write(span.get_span_context()) == DROPPED


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ParentBased(ALWAYS_OFF)])
def test_a_trace_that_begins_with_a_command_is_dropped_whole(bakery, sampler):
    traces = Kept("bakery.bake", sampler=sampler)
    bakery.baker.observer = traces
    under = Transport(bakery.bake_record())
    transport = TracedTransport(under, traces)
    transport.finish(bakery.baker.process(transport.poll(0.5)))
    assert decode(*under.sent).traceparent is None
    assert traces.spans == ()


def test_a_trace_that_is_dropped_ends_no_other_of_its_batch(bakery):
    traces = Kept("bakery.bake", sampler=ParentBased(ALWAYS_OFF))
    bakery.baker.observer = traces
    bakery.baker.process([bakery.bake_record(), record(bakery)])
    assert [span.context.trace_id for span in traces.spans] == [1]


class OfWhatIsSent(Sampler):
    """Keeps the spans of what is sent, whatever is above them."""

    def should_sample(self, parent_context, trace_id, name, *_: Any, **__: Any) -> Any:
        sent = name.startswith("send ")
        return SamplingResult(Decision.RECORD_AND_SAMPLE if sent else Decision.DROP)

    def get_description(self) -> str:
        return "OfWhatIsSent"


def test_an_answer_is_below_its_handlers_span_where_that_is_not_kept(bakery):
    bakery.baker.observer = traces = Kept("bakery.bake", sampler=OfWhatIsSent())
    transport = TracedTransport(Transport(record(bakery)), traces)
    transport.finish(bakery.baker.process(transport.poll(0.5)))
    [send] = traces.spans
    assert send.context.trace_id == 1
    assert send.parent.span_id != 1  # that of what has sent the command


def test_who_looks_at_a_span_that_is_dropped_sees_which_it_is():
    assert DROPPED in repr(trace_context.Dropped(DROPPED))
    nothing = trace_context.Dropped("x" * 54 + "0")
    assert nothing.get_span_context() is trace.INVALID_SPAN_CONTEXT


@pytest.mark.parametrize("other", ["", "0", DROPPED + "-0"])
def test_what_is_no_trace_of_this_version_is_not_dropped(other):
    assert trace_context.is_dropped(DROPPED)
    assert not trace_context.is_dropped(other)


def test_a_sampler_that_asks_no_parent_is_asked_for_each_span(bakery, eager):
    bakery.baker.observer = eager
    transport = TracedTransport(Transport(bakery.bake_record(traceparent=DROPPED)), eager)
    transport.finish(bakery.baker.process(transport.poll(0.5)))
    message = Envelope("t", "s/x/do", "T", "/", "now", "{}", traceparent=DROPPED)
    assert eager.sending_command(message).traceparent != DROPPED
    goes_on(eager, DROPPED)
    assert [span.name for span in eager.spans] == [
        "process bakery.bake",
        "send bakery.events",
        "send t",
        "process bakery.events",
    ]


def goes_on(traces, traceparent):
    """Let a saga go on with a reply."""
    state = SagaState(
        id="s1",
        name="x",
        status="COMPLETED",
        input={},
        steps=(),
        created_at=NOW,
        updated_at=NOW,
        deadline_at=NOW,
        traceparent=traceparent,
    )
    reply = Reply("s1", "bake", "do", "done", 1, "{}", "bakery.events[0]@5")
    traces.applied([Applied(None, state, state), Applied(reply, state, state)])
    return state, reply


class Transport:
    def __init__(self, *records: Any) -> None:
        self.records, self.sent = [*records], []

    def poll(self, timeout):
        return self.records if timeout == 0.5 else []

    def finish(self, records):
        self.sent += records

    send = finish

    def put_back(self, records):
        self.records = records

    def refused(self) -> Any:
        return ["refused"]

    def rewind(self):
        self.records = ["rewound"]

    def check(self):
        self.records = ["checked"]

    def close(self):
        self.records = ["closed"]


def test_all_else_of_a_transport_is_as_it_was(traces):
    under = Transport()
    transport = TracedTransport(under, traces)
    told: Any = transport.refused()
    assert told == ["refused"]
    back = Record("t", None, None, [])
    transport.put_back([back])
    assert under.records == [back]
    for act, done in (("rewind", "rewound"), ("check", "checked"), ("close", "closed")):
        getattr(transport, act)()
        assert under.records == [done]


def test_what_has_come_without_a_trace_or_with_none_that_can_be_read_is_in_none(traces):
    headers: list[Any] = [
        None,
        [],
        [("traceparent", None)],
        [("traceparent", b"\xff")],
        [("x", b"y")],
    ]
    records = [Record("t", b"s", b"", one, 0, place) for place, one in enumerate(headers)]
    TracedTransport(Transport(*records), traces).poll(0.5)
    for record in records:
        traces.sending(record)
    assert traces.spans == ()


def test_an_answer_carries_its_send_span_which_is_below_the_handlers(bakery, traces):
    under = Transport(record(bakery))
    transport = TracedTransport(under, traces)
    transport.finish(bakery.baker.process(transport.poll(0.5)))
    process, send = traces.spans
    [reply] = [decode(sent) for sent in under.sent]
    assert (send.name, send.kind) == ("send bakery.events", SpanKind.PRODUCER)
    assert send.parent.span_id == process.context.span_id
    assert send.links == ()
    assert reply.traceparent == f"00-{1:032x}-{send.context.span_id:016x}-01"
    assert dict(send.attributes) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "bakery.events",
        "messaging.kafka.message.key": "s1",
        "messaging.message.id": "s1/bake/do/reply",
        "saga.id": "s1",
        "saga.step": "bake",
        "saga.action": "do",
        "saga.attempt": 1,
    }


def test_answers_that_have_a_transaction_each_are_below_their_handlers_too(bakery, traces):
    bakery.baker.singly = True
    under = Transport(record(bakery), record(bakery, 2))
    transport = TracedTransport(under, traces)
    transport.finish(bakery.baker.process(transport.poll(0.5)))
    first, second, *sent = traces.spans
    assert [one.parent.span_id for one in sent] == [one.context.span_id for one in (first, second)]
    transport.finish([under.sent[0]])
    again = traces.spans[-1]
    assert again.parent.span_id == sent[0].context.span_id


def test_what_is_sent_outside_of_any_trace_is_left_as_it_is(bakery, traces):
    under = Transport()
    odd = [bakery.bake_record(), Record("t", None, None, []), Record("t", b"", b"", [("x", None)])]
    TracedTransport(under, traces).send(odd)
    assert under.sent == odd
    assert traces.spans == ()


def test_a_message_is_sent_with_its_attempt_where_that_can_be_read(bakery, traces):
    sent = bakery.bake_record(attempt=2, traceparent=trace_of(1))
    headers = dict(sent.headers)
    odd = {"ce_attempt": b"x"}, {"ce_attempt": None}, {"ce_id": b"\xff"}
    for changes in ({}, *odd):
        traces.sending(sent._replace(headers=[*{**headers, **changes}.items()]))
    told = [(s.attributes.get("saga.attempt"), s.attributes.get("saga.id")) for s in traces.spans]
    assert told == [(2, "s"), (None, None), (None, None), (None, None)]
    assert traces.spans[-1].attributes["messaging.message.id"] == "\ufffd"


def test_a_message_in_no_trace_is_left_as_it_is(traces):
    message = Envelope("t", "s/x/do", "T", "/", "now", "{}")
    assert traces.sending_command(message) is message


def test_a_span_has_nothing_of_the_context_around_it():
    token = contexts.attach(contexts.set_value("around", 1))
    try:
        assert "around" not in trace_context.below(None)
        assert "around" not in trace_context.below(trace_context.read(trace_of(1)))
    finally:
        contexts.detach(token)


def test_a_message_of_others_is_sent_with_what_is_known_of_it(traces):
    sent = traces.sending_command(
        Envelope("t", "odd", "T", "/", "now", "{}", traceparent=trace_of(7))
    )
    [span] = traces.spans
    assert sent.traceparent == f"00-{7:032x}-{span.context.span_id:016x}-01"
    assert span.attributes["messaging.message.id"] == "odd"
    assert "saga.id" not in span.attributes


def test_a_reply_that_a_saga_goes_on_with_is_a_process_span_below_its_send_span(traces):
    headers = [("traceparent", trace_of(9).encode())]
    TracedTransport(Transport(Record("bakery.events", b"s1", b"", headers, 0, 5)), traces).poll(0.5)
    new, reply = goes_on(traces, trace_of(1))
    traces.take([])
    traces.applied([Applied(reply, new, new), Applied(reply._replace(place=""), new, new)])
    first, second = traces.spans
    assert (first.name, first.kind) == ("process bakery.events", SpanKind.CONSUMER)
    assert (first.parent.span_id, second.parent.span_id) == (9, 1)
    assert first.start_time == 1_767_225_600_000_000_000
    assert dict(first.attributes) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "bakery.events",
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 5,
        "messaging.kafka.message.key": "s1",
        "messaging.consumer.group.name": "bakery.bake",
        "saga.id": "s1",
        "saga.step": "bake",
        "saga.action": "do",
        "saga.attempt": 1,
        "saga.outcome": "done",
        "saga.status": "COMPLETED",
    }


def test_destinations_and_groups_are_named_as_the_broker_knows_them(prefixed):
    prefixed.sending_command(Envelope("t", "odd", "T", "/", "", "{}", traceparent=trace_of(7)))
    with prefixed.around(Envelope("t", "s/x/do", "T", "/", "", "{}", place="t[0]@1")):
        pass
    [span] = prefixed.spans
    assert span.attributes["messaging.destination.name"] == "shop.t"
    [call] = prefixed._calls.values()
    assert call.attributes["messaging.consumer.group.name"] == "shop.bakery.bake"
    assert call.name == "process shop.t"


def test_a_timers_call_begins_a_trace_whatever_goes_on_around_it(traces):
    with traces.tracer.start_as_current_span("around"), traces.ticking(4):
        pass
    traces.ticked(4, 5, 0)
    _, tick = traces.spans
    assert tick.parent is None


def test_what_is_sent_without_an_attempt_is_the_first(bakery, traces):
    sent = record(bakery)
    headers = [header for header in sent.headers if header[0] != "ce_attempt"]
    traces.sending(sent._replace(headers=headers))
    [span] = traces.spans
    assert span.attributes["saga.attempt"] == 1


def test_a_timers_call_is_a_span_of_its_own_trace(traces):
    asked = []
    for began in (4, 5):  # what the first has done is rolled back
        with traces.ticking(began) as traceparent:
            asked.append(traceparent)
    traces.ticked(5, 2_000_005, 3)
    with traces.ticking(5):
        pass
    traces.ticked(5, 3, 0)
    first, second = traces.spans
    assert (first.name, first.kind, first.parent) == ("tick bakery.bake", SpanKind.INTERNAL, None)
    assert dict(first.attributes) == {
        "faas.trigger": "timer",
        "faas.name": "bakery.bake",
        "saga.commands": 3,
    }
    assert (first.start_time, first.end_time) == (5_000, 2_000_005_000)
    assert (second.start_time, second.end_time) == (5_000, 5_000)
    assert first.context.trace_id != second.context.trace_id
    assert trace_context.write(first.context) == asked[1] != asked[0]


def test_what_a_timers_handler_does_is_below_its_call(traces):
    with traces.ticking(4) as traceparent:
        known = known_fields()
        with traces.tracer.start_as_current_span("bill"):
            pass
    traces.ticked(4, 5, 0)
    own, tick = traces.spans
    assert own.parent == tick.context
    assert trace_fields(traceparent) == known
    assert known_fields() == {}
    assert trace.get_current_span() is trace.INVALID_SPAN
