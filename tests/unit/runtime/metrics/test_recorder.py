"""What is counted of what a function and a saga's host do."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from saga.runtime import Command, Event, Message, Retry, Saga, Step, saga_queries
from saga.runtime.clock import microseconds
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Record, Reply
from saga.runtime.function import Function
from saga.runtime.metrics.catalogue import ALL
from saga.runtime.metrics.instruments import MOST_CODES, Instruments
from saga.runtime.metrics.recorder import count_sent, recorder
from saga.runtime.metrics.scrape import Scrape
from saga.runtime.observer import Applied
from saga.runtime.problem import problem_of
from saga.runtime.saga_host import HostedSaga, SagaHost
from saga.runtime.saga_store import TABLES, Start
from saga.runtime.stamps import Parts, Stamps

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Feed(Message):
    guest: str


class Fed(Event, topic="feast.events"):
    pass


class Cook(Command, topic="feast.cook", event=Fed):
    guest: str


class Tidy(Command, topic="feast.tidy", event=Fed):
    guest: str


class Serve(Command, topic="feast.serve", event=Fed):
    guest: str


ONE_MORE = Retry(attempts=2)
feast = Saga(
    "feast",
    start=Feed,
    steps=[Step(Cook, Tidy, retry=ONE_MORE, undo_retry=ONE_MORE), Step(Serve, retry=ONE_MORE)],
    deadline=60.0,
)


class Counted:
    """Instruments, and what is on them."""

    def __init__(self):
        self.instruments = Instruments(CollectorRegistry())

    def total(self, name, **labels):
        text = generate_latest(self.instruments.registry).decode()
        return Scrape(text, 0.0).total(name, **labels)

    @property
    def series(self):
        """All series by their names, with the values of their labels in the catalogue's order."""
        text = generate_latest(self.instruments.registry).decode()
        named = {metric.name: metric.labels for metric in ALL}
        found = set()
        for name, told in re.findall(r"(?m)^(\w+)\{(.*)\} ", text):
            values = dict(re.findall(r'(\w+)="(.*?)"', told))
            if "le" not in values:
                labels = named.get(name) or named[name.rpartition("_")[0]]
                found.add(" ".join([name, *(values[label] for label in labels)]))
        return found


@pytest.fixture
def counted():
    return Counted()


@pytest.fixture
def baker(bakery, counted):
    bakery.baker.observer = recorder(bakery.baker.function, counted.instruments)
    return bakery


def outcomes(counted):
    told = {
        outcome: counted.total("saga_commands_total", function="bakery.bake", outcome=outcome)
        for outcome in ("done", "rejected", "failed", "duplicate", "dead")
    }
    return {outcome: count for outcome, count in told.items() if count}


def test_what_may_be_counted_is_0_and_not_unknown(baker, counted):
    for name in ("saga_commands_total", "messaging_client_consumed_messages_total"):
        assert counted.total(name) == 0
    assert counted.total("saga_dead_letters_total", topic="bakery.bake") == 0


def test_series_of_a_function_are_these(baker, counted):
    moments = iter(range(1000))
    baker.baker.clock = lambda: NOW + next(moments) * SECOND
    baker.fails_next(ValueError("no flour"))
    baker.baker.process([baker.bake_record("rye", "a")])
    baker.baker.observer.sent(Record("bakery.events", b"k", b"{}", []))
    took = "kafka process bakery.bake bakery.bake failed"
    assert counted.series == {
        "messaging_client_consumed_messages_total kafka receive bakery.bake bakery.bake",
        "messaging_client_sent_messages_total kafka send bakery.events",
        f"messaging_process_duration_seconds_count {took}",
        f"messaging_process_duration_seconds_sum {took}",
        "saga_commands_total bakery.bake done",
        "saga_commands_total bakery.bake rejected",
        "saga_commands_total bakery.bake failed",
        "saga_commands_total bakery.bake duplicate",
        "saga_commands_total bakery.bake dead",
        "saga_dead_letters_total bakery.bake",
    }


def test_undo_of_nothing_and_a_dead_letter_call_no_handler(bakery, counted):
    bakery.eater.observer = recorder(bakery.eater.function, counted.instruments)
    moments = iter(range(1000))
    bakery.eater.clock = lambda: NOW + next(moments) * SECOND
    broken = bakery.eat_record("rye", "b")._replace(value=b"{")
    bakery.eater.process([broken, bakery.eat_record("rye", "a")])
    told = [("done", 1), ("dead", 1)]
    for outcome, count in told:
        assert counted.total("saga_commands_total", outcome=outcome) == count
    assert counted.total("messaging_process_duration_seconds_count") is None


def test_received_records_are_those_that_something_became_of(baker, counted):
    records = [baker.bake_record(str(n), str(n)) for n in range(3)]
    broken = baker.bake_record("x", "x")._replace(value=b"{")
    baker.fails_next(ValueError("no flour"))
    baker.baker.process([*records, records[1], broken])
    assert outcomes(counted) == {"done": 2, "failed": 1, "duplicate": 1, "dead": 1}
    assert counted.total("messaging_client_consumed_messages_total") == 5


def test_time_is_that_of_handlers_that_were_called(baker, counted):
    moments = iter(range(1000))
    baker.baker.clock = lambda: NOW + next(moments) * SECOND
    record = baker.bake_record("rye", "a")
    baker.baker.process([record, record])
    baker.fails_next(ValueError("no flour"))
    baker.baker.process([baker.bake_record("rye", "b")])
    name = "messaging_process_duration_seconds"
    assert counted.total(f"{name}_count", error_type="") == 1
    assert counted.total(f"{name}_count", error_type="failed") == 1
    assert counted.total(f"{name}_sum", error_type="") == 1


def test_call_of_a_timer_is_timed(counted):
    timer = Function("bakery.wake", lambda _: [], "timer", (), every=60.0)
    observer = recorder(timer, counted.instruments)
    observer.ticked(5, 2_000_005, 3)
    told = {"messaging_consumer_group_name": "bakery.wake", "messaging_operation_name": "tick"}
    told |= {"error_type": "", "messaging_destination_name": ""}
    assert counted.total("messaging_process_duration_seconds_sum", **told) == 2


def test_clock_that_is_set_back_takes_nothing_away(counted):
    timer = Function("bakery.wake", lambda _: [], "timer", (), every=60.0)
    recorder(timer, counted.instruments).ticked(5, 3, 0)
    assert counted.total("messaging_process_duration_seconds_sum") == 0


def test_sent_records_are_counted_and_dead_letters_by_what_they_hold(counted):
    count = count_sent(counted.instruments)
    for topic in ("feast.cook", "feast.cook", "feast.cook.dlq"):
        count(Record(topic, b"k", b"{}", []))
    name = "messaging_client_sent_messages_total"
    assert counted.total(name, messaging_destination_name="feast.cook") == 2
    assert counted.total("saga_dead_letters_total", topic="feast.cook") == 1


class Hosted:
    """A host of feasts, whose clock is set by hand."""

    def __init__(self, database, counted):
        bind(database, TABLES)
        self.now, self.counted = NOW, counted
        hosted = HostedSaga("feasts.feast", feast)
        self.host = SagaHost(hosted, database, lambda: self.now)
        self.host.observer = recorder(hosted, counted.instruments)

    def start(self, number=1):
        saga_id = f"00000000-0000-7000-8000-{number:012}"
        self.host._store.start(feast, [Start(saga_id, Feed(guest="Ann"))], self.now)
        return saga_id

    def answer(self, saga_id, step, action, outcome, code="", attempt=1, stamps=None):
        data = problem_of(code, "").model_dump_json() if code else "{}"
        place = f"{step}{action}{attempt}"
        reply = Reply(saga_id, step, action, outcome, attempt, data, place, stamps)
        self.host._advance([reply])

    def pass_by(self, seconds):
        self.now += seconds * SECOND
        return self.host.sweep()


@pytest.fixture
def hosted(sqlite, counted):
    return Hosted(sqlite, counted)


def test_what_a_saga_may_come_to_is_0_and_not_unknown(hosted, counted):
    for status in ("COMPLETED", "COMPENSATED", "FAILED"):
        assert counted.total("saga_ended_total", saga="feast", status=status) == 0
    assert counted.total("saga_retries_total", step="cook", action="undo") == 0
    assert counted.total("saga_retries_total", step="serve", action="undo") is None
    assert counted.total("saga_failed_undos_total", step="cook") == 0
    assert counted.total("saga_failed_undos_total", step="serve") is None
    assert counted.total("saga_sweeps_total") == 0
    assert counted.total("saga_deadline_seconds", saga="feast") == 60


def test_series_of_a_saga_are_these_before_anything_has_happened(hosted, counted):
    assert counted.series == {
        "messaging_client_consumed_messages_total kafka receive  feasts.feast",
        "saga_dead_letters_total feast.events",
        "saga_deadline_seconds feast",
        "saga_ended_total feast COMPLETED",
        "saga_ended_total feast COMPENSATED",
        "saga_ended_total feast FAILED",
        "saga_failed_undos_total feast cook",
        "saga_retries_total feast cook do",
        "saga_retries_total feast cook undo",
        "saga_retries_total feast serve do",
        "saga_sweeps_total feast",
    }


def test_series_of_a_saga_that_was_undone_are_these_besides(hosted, counted):
    before, saga_id = counted.series, hosted.start()
    stamps = Stamps(*[microseconds(NOW)] * 5)
    hosted.answer(saga_id, "cook", "do", "failed", "OSError", stamps=stamps)
    hosted.pass_by(5)
    hosted.answer(saga_id, "cook", "do", "rejected", "no_flour", attempt=2)
    assert counted.series - before == {
        "saga_compensations_total feast cook no_flour",
        "saga_duration_seconds_count feast COMPENSATED",
        "saga_duration_seconds_sum feast COMPENSATED",
        "saga_step_attempts_total feast cook do",
        "saga_step_seconds_total feast cook do queue",
        "saga_step_seconds_total feast cook do turn",
        "saga_step_seconds_total feast cook do handler",
        "saga_step_seconds_total feast cook do commit",
        "saga_step_seconds_total feast cook do reply",
        "saga_step_seconds_total feast cook do retry",
    }


def test_end_of_a_saga_is_counted_with_its_time(hosted, counted):
    saga_id = hosted.start()
    hosted.now += 2 * SECOND
    hosted.answer(saga_id, "cook", "do", "done")
    hosted.answer(saga_id, "serve", "do", "done")
    assert counted.total("saga_ended_total") == 1
    assert counted.total("saga_ended_total", status="COMPLETED") == 1
    assert counted.total("saga_duration_seconds_sum", status="COMPLETED") == 2
    assert counted.total("saga_compensations_total") is None
    assert counted.total("saga_retries_total") == 0


def test_parts_of_an_attempt_are_those_that_its_reply_tells(hosted, counted):
    saga_id = hosted.start()
    hosted.now += 15 * SECOND
    at = [microseconds(NOW) + seconds * 1_000_000 for seconds in (0, 1, 3, 6, 10)]
    hosted.answer(saga_id, "cook", "do", "done", stamps=Stamps(*at))
    parts = {"queue": 1, "turn": 2, "handler": 3, "commit": 4, "reply": 5}
    for part, seconds in parts.items():
        told = {"step": "cook", "action": "do", "part": part}
        assert counted.total("saga_step_seconds_total", **told) == seconds
    assert counted.total("saga_step_attempts_total", step="cook", action="do") == 1


def test_clocks_that_differ_take_nothing_away(hosted, counted):
    saga_id = hosted.start()
    ahead = microseconds(NOW) + 5_000_000
    hosted.answer(saga_id, "cook", "do", "done", stamps=Stamps(microseconds(NOW), *[ahead] * 4))
    assert counted.total("saga_step_seconds_total", part="reply") == 0


def test_clock_that_is_behind_takes_nothing_away(hosted, counted):
    saga_id, sent = hosted.start(), microseconds(NOW) + 5_000_000
    hosted.now += 10 * SECOND
    hosted.answer(saga_id, "cook", "do", "done", stamps=Stamps(sent, *[sent - 2_000_000] * 4))
    told = {part: counted.total("saga_step_seconds_total", part=part) for part in Parts._fields}
    assert told == {"queue": 0, "turn": 0, "handler": 0, "commit": 0, "reply": 7}


@pytest.mark.parametrize(
    ("stamps", "seconds"),
    [
        (Stamps(0, 0, 1, microseconds(NOW), 10**16), (0, 1e-6, 2, 2, 0)),
        (Stamps(0, *[microseconds(NOW)] * 4), (2, 0, 0, 0, 2)),
    ],
)
def test_no_part_of_an_attempt_is_longer_than_its_saga(hosted, counted, stamps, seconds):
    """Somebody's clock may be at 1970, and a counter never forgets."""
    saga_id = hosted.start()
    hosted.now += 2 * SECOND
    hosted.answer(saga_id, "cook", "do", "done", stamps=stamps)
    told = [counted.total("saga_step_seconds_total", part=part) for part in Parts._fields]
    assert tuple(told) == seconds


def test_retry_is_counted_with_its_wait(hosted, counted):
    saga_id = hosted.start()
    hosted.answer(saga_id, "cook", "do", "failed", "OSError")
    assert counted.total("saga_retries_total") == 0
    assert hosted.pass_by(5)
    assert counted.total("saga_retries_total", step="cook", action="do") == 1
    assert counted.total("saga_sweeps_total") == 1
    told = {"step": "cook", "action": "do", "part": "retry"}
    assert counted.total("saga_step_seconds_total", **told) == 5


def test_silence_is_no_retry(hosted, counted):
    hosted.start()
    assert hosted.pass_by(20)
    assert counted.total("saga_sweeps_total") == 1
    assert counted.total("saga_retries_total") == 0
    assert counted.total("saga_step_seconds_total") is None


def test_undo_that_takes_the_place_of_a_retry_is_none(hosted, counted):
    """The saga's deadline passes while a step waits for its next attempt."""
    saga_id = hosted.start()
    hosted.now += 59 * SECOND
    hosted.answer(saga_id, "cook", "do", "failed", "OSError")
    hosted.pass_by(30)
    assert counted.total("saga_compensations_total", code="deadline_exceeded") == 1
    assert counted.total("saga_step_seconds_total", part="retry") is None


def test_step_that_still_waits_has_not_waited(hosted, counted):
    """As that of a saga which can't be helped, and is looked at later."""
    saga_id = hosted.start()
    hosted.answer(saga_id, "cook", "do", "failed", "OSError")
    waiting = saga_queries.find(hosted.host.database, saga_id)
    hosted.host.observer.applied([Applied(None, waiting, waiting)])
    assert counted.total("saga_step_seconds_total") is None


def test_saga_that_has_ended_ends_once(hosted, counted):
    saga_id = hosted.start()
    hosted.now += SECOND / 4
    hosted.answer(saga_id, "cook", "do", "rejected", "no_flour")
    ended = saga_queries.find(hosted.host.database, saga_id)
    hosted.host.observer.applied([Applied(None, ended, ended)])
    assert counted.total("saga_ended_total") == 1
    assert counted.total("saga_duration_seconds_sum") == 0.25


def test_compensation_is_counted_by_its_reason(hosted, counted):
    saga_id = hosted.start()
    hosted.answer(saga_id, "cook", "do", "done")
    hosted.answer(saga_id, "serve", "do", "rejected", "no_table")
    told = {"step": "serve", "code": "no_table"}
    assert counted.total("saga_compensations_total", **told) == 1
    assert counted.total("saga_ended_total") == 0
    hosted.answer(saga_id, "cook", "undo", "done")
    assert counted.total("saga_compensations_total") == 1
    assert counted.total("saga_ended_total", status="COMPENSATED") == 1


def test_undo_that_is_given_up_is_counted(hosted, counted):
    saga_id = hosted.start()
    hosted.answer(saga_id, "cook", "do", "done")
    hosted.answer(saga_id, "serve", "do", "rejected", "no_table")
    hosted.answer(saga_id, "cook", "undo", "failed", "OSError")
    assert counted.total("saga_retries_total") == 0
    hosted.pass_by(5)
    told = {"saga": "feast", "step": "cook", "action": "undo"}
    assert counted.total("saga_retries_total", **told) == 1
    assert counted.total("saga_step_seconds_total", action="undo", part="retry") == 5
    assert counted.total("saga_failed_undos_total") == 0
    hosted.answer(saga_id, "cook", "undo", "failed", "OSError", attempt=2)
    assert counted.total("saga_failed_undos_total", saga="feast", step="cook") == 1
    assert counted.total("saga_ended_total", status="FAILED") == 1


def test_codes_are_no_more_than_so_many(hosted, counted):
    for number in range(MOST_CODES + 5):
        hosted.answer(hosted.start(number), "cook", "do", "rejected", f"no_{number}")
    hosted.answer(hosted.start(999), "cook", "do", "rejected", "no_1")
    assert counted.total("saga_compensations_total", code="other") == 5
    assert counted.total("saga_compensations_total", code="no_1") == 2


def test_replies_are_counted_as_received(hosted, counted):
    hosted.host.process([Record("feast.events", b"k", b"{", [])])
    assert counted.total("messaging_client_consumed_messages_total") == 1
