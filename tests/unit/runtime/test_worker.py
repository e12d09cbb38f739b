"""A batch of commands: every one is answered, and what it did is kept or undone as a whole."""

import asyncio
import decimal
import json
from contextlib import suppress
from datetime import UTC, datetime

import peewee
import pytest

from saga.runtime import Rejected, crash
from saga.runtime.envelope import BODY_LIMIT, decode
from saga.runtime.errors import ContractError
from saga.runtime.function import Function
from saga.runtime.inbox import InboxRow
from saga.runtime.worker import Worker

DONE = ("s/bake/do/reply", "done")
REJECTED = ("s/bake/do/reply", "rejected")
FAILED = ("s/bake/do/reply", "failed")


def test_event_is_the_reply(bakery):
    (record,) = bakery.baker.process([bakery.bake_record(traceparent="00-a-b-01")])
    reply = decode(record)
    assert record.key == b"s"
    assert (reply.topic, reply.type, reply.source) == ("bakery.events", "Baked", "/bakery/bake")
    assert (reply.id, reply.outcome, reply.attempt) == (*DONE, 1)
    assert (reply.time, reply.traceparent) == ("2026-01-01T00:00:00+00:00", "00-a-b-01")
    assert json.loads(reply.data) == {"name": "rye"}


def test_effect_and_answer_are_kept_together(bakery):
    bakery.baker.process([bakery.bake_record()])
    assert bakery.loaves == ["rye"]
    assert bakery.inbox == {"s/bake/do": "done"}


def test_crash_points_are_told_what_is_in_hand(bakery):
    told = {}

    class Told(crash.CrashPoints):
        def reach(self, point, in_hand):
            told[point] = in_hand() if callable(in_hand) else in_hand

    points = Told("", None)
    baker = Worker(bakery.baker.function, bakery.database, crash_points=points)
    baker.process([bakery.bake_record()])
    assert told[crash.IN_HANDLER] == [bakery.Baked(name="rye")]
    assert list(told[crash.BEFORE_COMMIT]) == ["s/bake/do"]


def test_handlers_of_a_batch_have_one_time_limit_and_its_commit_has_none(bakery):
    told = []

    class Limit:
        def __enter__(self):
            told.append("begin")

        def __exit__(self, *_):
            told.append(f"end of {len(bakery.calls)}")

    class Told(crash.CrashPoints):
        def reach(self, point, in_hand):
            if point == crash.BEFORE_COMMIT:
                told.append(point)

    baker = Worker(bakery.baker.function, bakery.database, crash_points=Told("", None))
    baker.time_limit = Limit()
    baker.process([bakery.bake_record(), bakery.bake_record("oat", "t")])
    assert told == ["begin", "end of 2", crash.BEFORE_COMMIT]


def test_empty_batch_does_nothing(bakery):
    assert bakery.baker.process([]) == []
    assert bakery.inbox == {}


def test_replies_come_in_the_order_of_the_commands(bakery, outcomes):
    batch = [bakery.bake_record(f"loaf {n}", f"saga {n}") for n in range(300)]
    replies = bakery.baker.process(batch)
    assert outcomes(replies) == [(f"saga {n}/bake/do/reply", "done") for n in range(300)]
    assert len(bakery.loaves) == 300


def test_rejection_undoes_the_handlers_writes(bakery, outcomes):
    bakery.fails_next(Rejected("no_flour", "the mill is closed: Zoë"))
    replies = bakery.baker.process([bakery.bake_record()])
    assert outcomes(replies) == [REJECTED]
    assert decode(replies[0]).type == "Bake.Rejected"
    assert json.loads(replies[0].value) == {
        "code": "no_flour",
        "message": "the mill is closed: Zoë",
    }
    assert bakery.loaves == []
    assert bakery.inbox == {"s/bake/do": "rejected"}


def test_rejection_is_never_tried_again(bakery):
    bakery.fails_next(Rejected("no_flour", "the mill is closed"))
    first = bakery.baker.process([bakery.bake_record()])
    assert bakery.baker.process([bakery.bake_record(attempt=2)]) == first
    assert bakery.calls == ["bake rye"]


def test_fault_is_told_with_its_attempt_and_leaves_nothing(bakery, outcomes):
    bakery.fails_next(ZeroDivisionError("no oven\nat all"))
    replies = bakery.baker.process([bakery.bake_record(attempt=3)])
    assert outcomes(replies) == [FAILED]
    assert decode(replies[0]).attempt == 3
    assert decode(replies[0]).type == "Bake.Failed"
    assert json.loads(replies[0].value) == {
        "code": "ZeroDivisionError",
        "message": "ZeroDivisionError: no oven",
    }
    assert bakery.loaves == []
    assert bakery.inbox == {}


def test_command_is_run_again_after_a_fault(bakery, outcomes):
    bakery.fails_next(ZeroDivisionError())
    bakery.baker.process([bakery.bake_record()])
    replies = bakery.baker.process([bakery.bake_record(attempt=2)])
    assert outcomes(replies) == [DONE]
    assert bakery.calls == ["bake rye"] * 2
    assert bakery.loaves == ["rye"]


@pytest.mark.parametrize("result", ["a string", {"name": "rye"}, 0])
def test_answer_of_another_type_is_a_fault(bakery, outcomes, result):
    bakery.baker = bakery.worker("bakery.bake", bakery.baker.function.command, lambda _: result)
    replies = bakery.baker.process([bakery.bake_record()])
    assert outcomes(replies) == [FAILED]
    problem = json.loads(replies[0].value)
    assert problem["code"] == "ContractError"
    assert "bakery.bake returned" in problem["message"]


def test_another_event_is_a_fault(bakery, outcomes):
    bakery.after.append(lambda: bakery.Eaten(name="rye"))
    assert outcomes(bakery.baker.process([bakery.bake_record()])) == [FAILED]
    assert bakery.loaves == []


class Unshowable:
    def __repr__(self):
        raise SystemExit(1)


class Untold(Exception):
    def __str__(self):
        raise asyncio.CancelledError


@pytest.mark.parametrize("after", [Unshowable, lambda: (_ for _ in ()).throw(Untold)])
def test_what_ends_a_process_as_it_is_told_is_a_fault(bakery, outcomes, after):
    bakery.after.append(after)
    assert outcomes(bakery.baker.process([bakery.bake_record()])) == [FAILED]


class SoldOut(Rejected):
    def __init__(self, name):
        Exception.__init__(self, name)


def test_rejection_without_a_code_of_its_own_is_one(bakery):
    bakery.fails_next(SoldOut("rye"))
    (reply,) = bakery.baker.process([bakery.bake_record()])
    told = {"code": "rejected", "message": "no reason was given"}
    assert (decode(reply).outcome, json.loads(reply.value)) == ("rejected", told)


def test_precision_of_one_handlers_decimals_is_not_that_of_the_next(bakery):
    precisions = []

    def coarse():
        precisions.append(decimal.getcontext().prec)
        decimal.getcontext().prec = 3

    bakery.after = [coarse, coarse]
    bakery.baker.process([bakery.bake_record(), bakery.bake_record("oat", "t")])
    assert precisions == [28, 28]


def test_no_answer_is_a_fault(bakery, outcomes):
    bakery.baker = bakery.worker("bakery.bake", bakery.baker.function.command, lambda _: None)
    assert outcomes(bakery.baker.process([bakery.bake_record()])) == [FAILED]


def test_event_of_the_longest_length_is_an_answer(bakery, outcomes):
    """In UTF-8 it has four times as many bytes at most: brokers take a million."""
    longest = longest_event(bakery, "\N{BREAD}")
    bakery.after.append(lambda: longest)
    (record,) = bakery.baker.process([bakery.bake_record()])
    assert outcomes([record]) == [DONE]
    assert len(record.value.decode()) == BODY_LIMIT
    assert len(record.value) < 900_000
    assert bakery.baker.process([bakery.bake_record()]) == [record]


def test_event_one_longer_is_refused_and_leaves_nothing(bakery, outcomes):
    longer = bakery.Baked(name=longest_event(bakery, "x").name + "x")
    bakery.after.append(lambda: longer)
    batch = [bakery.bake_record(), bakery.bake_record("oat", "t")]
    replies = bakery.baker.process(batch)
    assert outcomes(replies) == [("s/bake/do/reply", "rejected"), ("t/bake/do/reply", "done")]
    assert json.loads(replies[0].value) == {
        "code": "event_too_large",
        "message": "200001 characters of 200000",
    }
    assert bakery.loaves == ["oat"]
    assert bakery.inbox == {"s/bake/do": "rejected", "t/bake/do": "done"}


def longest_event(bakery, letter):
    around = len(bakery.Baked(name="").model_dump_json())
    return bakery.Baked(name=letter * (BODY_LIMIT - around))


def test_duplicate_in_a_later_batch_gets_the_same_bytes(bakery):
    first = bakery.baker.process([bakery.bake_record()])
    bakery.clock = lambda: datetime(2030, 1, 1, tzinfo=UTC)
    assert first == bakery.baker.process([bakery.bake_record()])
    assert bakery.calls == ["bake rye"]


def test_duplicate_is_known_whatever_rows_a_handler_has_asked_for(bakery):
    connection = bakery.database.connection()
    before = connection.row_factory
    names = dict.fromkeys(InboxRow._meta.columns, "rye")
    rows = (lambda *_: names) if before is None else (lambda _: lambda _: names)
    bakery.after = [lambda: setattr(connection, "row_factory", rows)]
    try:
        first = bakery.baker.process([bakery.bake_record()])
        assert bakery.baker.process([bakery.bake_record()]) == first
    finally:
        connection.row_factory = before
    assert bakery.calls == ["bake rye"]


@pytest.mark.parametrize("column", ["type", "outcome", "time", "data"])
def test_answer_with_bytes_in_its_row_holds_up_no_other_on_sqlite(
    open_bakery, sqlite, outcomes, column
):
    bakery = open_bakery(sqlite)
    batch = [bakery.bake_record(), bakery.bake_record("oat", "t")]
    _, second = bakery.baker.process(batch)
    sqlite.execute_sql(f"UPDATE inbox SET {column} = x'ff' WHERE id = 's/bake/do'")
    assert bakery.baker.process(batch)[1] == second


def test_duplicate_in_the_same_batch_gets_the_same_bytes(bakery):
    replies = bakery.baker.process([bakery.bake_record()] * 3)
    assert len(replies) == 3
    assert replies[0] == replies[1] == replies[2]
    assert bakery.calls == ["bake rye"]


def test_duplicate_of_another_attempt_gets_the_same_bytes(bakery):
    first = bakery.baker.process([bakery.bake_record(attempt=1)])
    assert bakery.baker.process([bakery.bake_record(attempt=2)]) == first


@pytest.mark.parametrize("error", [Rejected("no", "no"), ZeroDivisionError("no")])
def test_one_handlers_failure_leaves_the_others_work(bakery, outcomes, error):
    bakery.after = [lambda: None, lambda: (_ for _ in ()).throw(error), lambda: None]
    batch = [bakery.bake_record(name, saga_id=name) for name in ("a", "b", "c")]
    replies = bakery.baker.process(batch)
    word = "rejected" if isinstance(error, Rejected) else "failed"
    assert [outcome for _, outcome in outcomes(replies)] == ["done", word, "done"]
    assert bakery.loaves == ["a", "c"]


def test_database_error_in_a_handler_is_a_fault_of_that_command_alone(bakery, outcomes):
    names = ["a", "a", "b"]  # the name is unique: the second one breaks a constraint
    batch = [bakery.bake_record(name, saga_id=f"s{n}") for n, name in enumerate(names)]
    replies = bakery.baker.process(batch)
    assert [outcome for _, outcome in outcomes(replies)] == ["done", "failed", "done"]
    assert json.loads(replies[1].value)["code"] == "IntegrityError"
    assert bakery.loaves == ["a", "b"]


def test_handler_may_swallow_a_database_error(bakery, outcomes):
    """PostgreSQL refuses the rest of the transaction then: a fault, of this command alone."""
    bakery.baker.process([bakery.bake_record()])

    def bake_unless_there(command):
        with suppress(peewee.IntegrityError):
            bakery.Loaf.insert(name=command.name).execute()
        return bakery.Baked(name=command.name)

    command = bakery.baker.function.command
    baker = bakery.worker("bakery.bake", command, bake_unless_there)
    batch = [bakery.bake_record("rye", "t"), bakery.bake_record("oat", "u")]
    first, second = outcomes(baker.process(batch))
    assert first[1] in ("done", "failed")
    assert second[1] == "done"
    assert bakery.loaves == ["oat", "rye"]


def test_many_rejections_in_one_batch_are_all_told(bakery, outcomes):
    batch = [bakery.bake_record(f"loaf {n}", f"saga {n}") for n in range(200)]
    bakery.after = [lambda: (_ for _ in ()).throw(Rejected("no", "no"))] * 200
    replies = bakery.baker.process(batch)
    assert {outcome for _, outcome in outcomes(replies)} == {"rejected"}
    assert bakery.loaves == []
    assert len(bakery.inbox) == 200


@pytest.mark.parametrize("number", [None, 3])
def test_rejection_with_a_wrong_text_does_not_stop_the_worker(bakery, outcomes, number):
    bakery.fails_next(Rejected("no_flour", number))
    assert outcomes(bakery.baker.process([bakery.bake_record()])) == [REJECTED]


def test_function_without_a_command_is_no_workers(bakery):
    timer = Function("bakery.tick", bakery.bake, "timer", (), every=1.0)
    with pytest.raises(ContractError, match=r"bakery\.tick takes no commands"):
        Worker(timer, bakery.database).process([bakery.bake_record()])


def test_fault_with_an_unprintable_text_does_not_stop_the_worker(bakery, outcomes, caplog):
    caplog.set_level("CRITICAL", "saga.runtime.worker")  # two test processes can't exchange it
    bakery.fails_next(OSError("no such file: \udcff"))
    assert outcomes(bakery.baker.process([bakery.bake_record()])) == [FAILED]


class ApiError(Exception):
    """An error as API clients have it: it reads what an answer had, in all its attributes."""

    def __getattr__(self, name):
        raise KeyError(name)

    def __str__(self):
        raise KeyError("message")


def nameless():
    """Make an error of a class that does not tell its name."""

    def tell(cls):
        raise KeyError("name")

    nameless = type("Nameless", (type,), {"__name__": property(tell)})
    return nameless("NamelessError", (Exception,), {})()


class Word(str):
    """A text that can't be made a part of another one."""

    __slots__ = ()

    def __format__(self, _):
        raise KeyError("format")


class WordyError(Exception):
    def __str__(self):
        return Word("odd")


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (nameless, "Exception", "Exception: "),
        (WordyError, "WordyError", "WordyError: odd"),
        (ApiError, "ApiError", "ApiError: <ApiError>"),
        (lambda: SystemExit(3), "ContractError", "ContractError: bakery.bake raised SystemExit: 3"),
        (GeneratorExit, "ContractError", "ContractError: bakery.bake raised GeneratorExit: "),
        (
            lambda: asyncio.CancelledError("late"),
            "ContractError",
            "ContractError: bakery.bake raised CancelledError: late",
        ),
    ],
)
def test_whatever_a_handler_raises_is_a_fault_of_that_command_alone(
    bakery, outcomes, make, code, message
):
    bakery.fails_next(make())
    replies = bakery.baker.process([bakery.bake_record(), bakery.bake_record("oat", "t")])
    assert outcomes(replies) == [FAILED, ("t/bake/do/reply", "done")]
    assert json.loads(replies[0].value) == {"code": code, "message": message}
    assert bakery.loaves == ["oat"]


def test_interrupt_of_a_person_ends_the_worker(bakery):
    bakery.fails_next(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        bakery.baker.process([bakery.bake_record()])
    assert bakery.inbox == {}


def test_refusal_is_cut_to_what_a_reply_may_hold(bakery):
    bakery.fails_next(Rejected("c" * 5_000, "\0m" * 5_000_000))
    (reply,) = bakery.baker.process([bakery.bake_record()])
    assert json.loads(reply.value) == {"code": "c" * 100, "message": "\ufffdm" * 500}
    assert bakery.baker.process([bakery.bake_record()]) == [reply]


def test_refusal_that_can_not_be_said_is_a_refusal(bakery, outcomes):
    refusal = Rejected("odd", "odd")
    vars(refusal)["message"] = ApiError()
    bakery.fails_next(refusal)
    (reply,) = bakery.baker.process([bakery.bake_record()])
    assert outcomes([reply]) == [REJECTED]
    assert json.loads(reply.value) == {"code": "odd", "message": "<ApiError>"}
