"""How a timer's process sends commands: in a trace, and those that the broker does not take."""

import threading

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from saga.runtime import outbox
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.dead_letter import open_dead_letters
from saga.runtime.envelope import Envelope
from saga.runtime.function import Function
from saga.runtime.kafka.admin import create_topics
from saga.runtime.kafka.reading import read_topics
from saga.runtime.system import host
from saga.runtime.system.host import Hosting
from saga.runtime.system.observing import Logs, Observers
from saga.runtime.timer import Timer
from saga.runtime.tracing.context import write
from saga.runtime.tracing.spans import Traces


def remind(number, data):
    return Envelope("mail.remind", f"{number}/remind/do", "Remind", "/billing", "", data)


def run_timer(tick, hosting):
    function = Function("billing.remind_debtors", tick, "timer", (), every=0.05)
    database = connect("sqlite://")
    bind(database, outbox.TABLES)
    timer = Timer(function, database)
    timer.observer = Observers(*filter(None, [Logs(), hosting.traces]))
    host._run_timer(timer, hosting)
    database.close()


def read(record):
    return dict(record.headers)["traceparent"].decode()


def test_topic_that_is_missing_is_made_and_what_is_too_long_is_set_aside(embedded_server) -> None:
    """One bad command must not hold up those behind it, for ever."""
    settings, stop = embedded_server.settings, threading.Event()
    asked = [[remind(1, "x" * 3_000_000), remind(2, "{}")], [remind(3, "{}")]]

    def tick(now):
        if not asked:
            stop.set()
        return asked.pop(0) if asked else []

    run_timer(tick, Hosting(settings, stop, lambda: None, lambda: None))
    found = read_topics(settings, ["mail.remind", "mail.remind.dlq"])
    here = {record.key for record in found if record.topic == "mail.remind"}
    letters = open_dead_letters(r for r in found if r.topic == "mail.remind.dlq")
    assert here == {b"2", b"3"}
    assert {letter.saga_id for letter in letters} == {"1"}
    assert "not sent" in letters[0].reason


def test_what_a_timer_asks_for_is_in_the_trace_of_its_tick(embedded_server) -> None:
    settings, stop = embedded_server.settings, threading.Event()
    create_topics(settings, {"traced.remind": 1})
    asked = [[remind(n, "{}")._replace(topic="traced.remind") for n in (1, 2)], []]

    def tick(now):
        if len(asked) == 1:
            stop.set()
        return asked.pop(0)

    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = Traces(provider, "billing.remind_debtors")
    run_timer(tick, Hosting(settings, stop, lambda: None, lambda: None, traces))  # type: ignore[arg-type]
    first, *sends, _ = exporter.get_finished_spans()
    assert [span.name for span in (first, *sends)] == [
        "tick billing.remind_debtors",
        "send traced.remind",
        "send traced.remind",
    ]
    assert [span.parent.span_id for span in sends] == [first.context.span_id] * 2
    assert {span.context.trace_id for span in sends} == {first.context.trace_id}
    carried = [read(record) for record in read_topics(settings, ["traced.remind"])]
    assert carried == [write(span.get_span_context()) for span in sends]
