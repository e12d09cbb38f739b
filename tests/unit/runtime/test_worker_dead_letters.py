"""What can't be read is put aside, and the rest of the batch goes on."""

import pytest
from pydantic import field_validator

from saga.runtime import Command
from saga.runtime.envelope import Record
from saga.runtime.problem import Problem


def spoil(record, **headers):
    """Change headers by name; None takes one out."""
    kept = [(name, headers.get(name, value)) for name, value in record.headers]
    return record._replace(headers=[(name, value) for name, value in kept if value is not None])


WRONG = {
    "no headers": (lambda r: r._replace(headers=[]), "header missing: ce_id"),
    "no type": (lambda r: spoil(r, ce_type=None), "header missing: ce_type"),
    "another type": (lambda r: spoil(r, ce_type=b"Eat"), "ce_type is 'Eat'"),
    "not UTF-8 in a header": (lambda r: spoil(r, ce_id=b"\xff/a/do"), "utf-8"),
    "id without a step": (lambda r: spoil(r, ce_id=b"s"), "SAGA_ID/STEP/do"),
    "id of a reply": (lambda r: spoil(r, ce_id=b"s/bake/do/reply"), "SAGA_ID/STEP/do"),
    "attempt without a number": (lambda r: spoil(r, ce_attempt=b"x"), "invalid literal"),
}
# Of these the headers say whose command they are.
ADDRESSED = {
    "not UTF-8 in the body": (lambda r: r._replace(value=b"\xff"), "utf-8"),
    "tombstone": (lambda r: r._replace(value=None), "body: Invalid JSON"),
    "not JSON": (lambda r: r._replace(value=b"{"), "body: Invalid JSON"),
    "not an object": (lambda r: r._replace(value=b"[1]"), "body: Input should be an object"),
    "field missing": (lambda r: r._replace(value=b"{}"), "name: Field required"),
    "field wrong": (lambda r: r._replace(value=b'{"name": 5}'), "name: Input should be"),
}


@pytest.mark.parametrize("wrong", WRONG | ADDRESSED)
def test_wrong_record_becomes_a_dead_letter(bakery, wrong):
    change, reason = (WRONG | ADDRESSED)[wrong]
    record = change(bakery.bake_record())._replace(partition=2, offset=17)
    letter = bakery.baker.process([record])[0]
    headers = dict(letter.headers)
    assert letter.topic == "bakery.bake.dlq"
    assert (letter.key, letter.value) == (record.key, record.value)
    assert letter.headers[: len(record.headers)] == list(record.headers)
    assert reason in headers["dlq_reason"].decode()
    assert (headers["dlq_partition"], headers["dlq_offset"]) == (b"2", b"17")
    assert headers["dlq_function"] == b"bakery.bake"
    assert bakery.calls == []


@pytest.mark.parametrize("wrong", WRONG)
def test_record_of_nobody_is_not_answered(bakery, wrong):
    change, _ = WRONG[wrong]
    assert len(bakery.baker.process([change(bakery.bake_record())])) == 1
    assert bakery.inbox == {}


@pytest.mark.parametrize("wrong", ADDRESSED)
def test_command_that_can_not_be_read_is_refused_at_once(bakery, outcomes, wrong):
    change, reason = ADDRESSED[wrong]
    _, reply = bakery.baker.process([change(bakery.bake_record(traceparent="00-1-2-01"))])
    assert outcomes([reply]) == [("s/bake/do/reply", "rejected")]
    problem = Problem.model_validate_json(reply.value)
    assert problem.code == "invalid_command"
    assert reason in problem.message
    assert dict(reply.headers)["ce_type"] == b"Bake.Rejected"
    assert dict(reply.headers)["traceparent"] == b"00-1-2-01"


def test_refused_command_stays_refused_when_it_is_replayed(bakery, outcomes):
    """Its saga has gone on meanwhile, and its client knows that nothing was baked."""
    _, first = bakery.baker.process([bakery.bake_record()._replace(value=b"{}")])
    [again] = bakery.baker.process([bakery.bake_record()])
    assert outcomes([again]) == [("s/bake/do/reply", "rejected")]
    assert again.value == first.value
    assert bakery.calls == []


def test_command_that_is_known_is_answered_as_before_though_it_can_not_be_read(bakery, outcomes):
    bakery.baker.process([bakery.bake_record()])
    _, reply = bakery.baker.process([bakery.bake_record()._replace(value=b"{}")])
    assert outcomes([reply]) == [("s/bake/do/reply", "done")]


def test_undo_that_can_not_be_read_runs_when_it_can(bakery, outcomes):
    bakery.baker.process([bakery.bake_record()])
    _, refused = bakery.eater.process([bakery.eat_record()._replace(value=b"{}")])
    assert outcomes([refused]) == [("s/bake/undo/reply", "rejected")]
    assert outcomes(bakery.eater.process([bakery.eat_record()])) == [("s/bake/undo/reply", "done")]
    assert bakery.loaves == []


def test_undo_of_nothing_is_done_though_it_can_not_be_read(bakery, outcomes):
    _, reply = bakery.eater.process([bakery.eat_record()._replace(value=b"{}")])
    assert outcomes([reply]) == [("s/bake/undo/reply", "done")]
    assert outcomes(bakery.baker.process([bakery.bake_record()])) == [
        ("s/bake/do/reply", "rejected")
    ]


def test_every_wrong_field_is_a_reason(bakery):
    class Slice(Command, topic="bakery.bake", event=bakery.Baked):
        name: str
        slices: int

    slicer = bakery.worker("bakery.bake", Slice, bakery.bake)
    record = spoil(bakery.bake_record(), ce_type=b"Slice")._replace(value=b"{}")
    letter, _ = slicer.process([record])
    reason = dict(letter.headers)["dlq_reason"]
    assert reason == b"name: Field required; slices: Field required"


def test_validator_that_raises_something_of_its_own_makes_a_dead_letter(bakery, outcomes):
    class Glaze(Command, topic="bakery.bake", event=bakery.Baked):
        name: str

        @field_validator("name")
        @classmethod
        def known(cls, name):
            return {"rye": "rye"}[name]

    glazer = bakery.worker("bakery.bake", Glaze, bakery.bake)
    batch = [bakery.bake_record(name, saga_id=name) for name in ("oat", "rye")]
    batch = [spoil(record, ce_type=b"Glaze") for record in batch]
    letter, *replies = glazer.process(batch)
    assert dict(letter.headers)["dlq_reason"] == b"KeyError: 'oat'"
    assert outcomes(replies) == [
        ("oat/bake/do/reply", "rejected"),
        ("rye/bake/do/reply", "done"),
    ]


def test_rest_of_the_batch_is_worked_off(bakery):
    good = [bakery.bake_record(name, saga_id=name) for name in ("a", "b")]
    bad = [change(bakery.bake_record("bad", "bad")) for change, _ in WRONG.values()]
    addressed = [change(bakery.bake_record("c", "c")) for change, _ in ADDRESSED.values()]
    out = bakery.baker.process([bad[0], good[0], *bad[1:], *addressed, good[1]])
    assert bakery.loaves == ["a", "b"]
    assert sum(record.topic == "bakery.events" for record in out) == 2 + len(addressed)
    assert sum(record.topic == "bakery.bake.dlq" for record in out) == len(bad + addressed)


@pytest.mark.parametrize("identifier", ["s\x00/bake/do", f"{'s' * 300}/bake/do"])
def test_id_that_the_inbox_can_not_hold_is_a_dead_letter(bakery, identifier):
    record = spoil(bakery.bake_record(), ce_id=identifier.encode())
    (letter,) = bakery.baker.process([record])
    assert letter.topic == "bakery.bake.dlq"


def test_text_that_the_database_can_not_hold_is_a_fault(postgres, open_bakery, outcomes):
    bakery = open_bakery(postgres)
    batch = [bakery.bake_record("a\x00b"), bakery.bake_record("long" * 99, "t")]
    replies = bakery.baker.process([*batch, bakery.bake_record("good", "u")])
    assert [outcome for _, outcome in outcomes(replies)] == ["failed", "failed", "done"]


def test_record_without_a_key_is_read(bakery, outcomes):
    record = bakery.bake_record()._replace(key=None)
    assert outcomes(bakery.baker.process([record])) == [("s/bake/do/reply", "done")]


def test_trace_that_is_far_too_long_is_not_sent_on(bakery, outcomes):
    """Brokers count what is compressed: such a record comes in, and its answer would never go."""
    (reply,) = bakery.baker.process([bakery.bake_record(traceparent="0" * 3_000_000)])
    assert outcomes([reply]) == [("s/bake/do/reply", "done")]
    assert "traceparent" not in dict(reply.headers)


def test_foreign_record_is_kept_as_it_is(bakery):
    record = Record("bakery.bake", b"\x00\x01", b"\x02\xff", [("x", b"\xff"), ("x", b"")], 0, 1)
    (letter,) = bakery.baker.process([record])
    assert (letter.key, letter.value) == (b"\x00\x01", b"\x02\xff")
    assert letter.headers[:2] == [("x", b"\xff"), ("x", b"")]
