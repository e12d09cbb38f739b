"""What a timer's process does with commands that the broker does not take."""

import threading

from saga.runtime import outbox
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.dead_letter import open_dead_letters
from saga.runtime.envelope import Envelope
from saga.runtime.function import Function
from saga.runtime.kafka.reading import read_topics
from saga.runtime.system import host
from saga.runtime.timer import Timer


def remind(number, data):
    return Envelope("mail.remind", f"{number}/remind/do", "Remind", "/billing", "", data)


def test_topic_that_is_missing_is_made_and_what_is_too_long_is_set_aside(embedded_server) -> None:
    """One bad command must not hold up those behind it, for ever."""
    settings, stop = embedded_server.settings, threading.Event()
    asked = [[remind(1, "x" * 3_000_000), remind(2, "{}")], [remind(3, "{}")]]

    def tick(now):
        if not asked:
            stop.set()
        return asked.pop(0) if asked else []

    function = Function("billing.remind_debtors", tick, "timer", (), every=0.05)
    database = connect("sqlite://")
    bind(database, outbox.TABLES)
    host._run_timer(Timer(function, database), settings, stop, lambda: None)
    found = read_topics(settings, ["mail.remind", "mail.remind.dlq"])
    here = {record.key for record in found if record.topic == "mail.remind"}
    letters = open_dead_letters(r for r in found if r.topic == "mail.remind.dlq")
    assert here == {b"2", b"3"}
    assert {letter.saga_id for letter in letters} == {"1"}
    assert "not sent" in letters[0].reason
    database.close()
