"""What a worker logs of a command tells which one that is."""

import logging

import pytest

from saga.runtime import worker
from saga.runtime.errors import Rejected

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
KNOWN = {
    "saga_id": "s",
    "command_id": "s/bake/do",
    "attempt": 2,
    "trace_id": "a" * 32,
    "span_id": "b" * 16,
}


def known(record):
    return {name: value for name, value in vars(record).items() if name in KNOWN}


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("error", "told", "traced"),
    [
        (Rejected("burnt", "black"), "s/bake/do rejected: burnt: black", False),
        (ValueError("x"), "s/bake/do failed, attempt 2", True),
    ],
)
def test_what_came_of_a_command_has_its_fields(bakery, caplog, error, told, traced):
    caplog.set_level("INFO")
    bakery.before.append(lambda: fail(error))
    bakery.baker.process([bakery.bake_record(attempt=2, traceparent=TRACE)])
    [line] = [one for one in caplog.records if one.name == "saga.runtime.worker"]
    assert line.getMessage() == told
    assert known(line) == KNOWN
    assert bool(line.exc_text and line.exc_text.endswith("ValueError: x")) == traced


def test_failure_is_not_logged_where_only_what_is_worse_is(bakery, caplog):
    bakery.before.append(lambda: fail(ValueError("x")))
    worker.log.setLevel(logging.CRITICAL)
    try:
        bakery.baker.process([bakery.bake_record()])
    finally:
        worker.log.setLevel(logging.NOTSET)
    assert caplog.records == []


def test_a_dead_letter_has_its_key_for_a_saga(bakery, caplog):
    record = bakery.bake_record()._replace(headers=[])
    bakery.baker.process([record])
    assert [known(line) for line in caplog.records] == [{"saga_id": "s"}]
