"""Why a command was rejected or failed, and whose word it is."""

import json

import pytest

from saga.runtime.envelope import Reply
from saga.runtime.problem import (
    CODE_LIMIT,
    INVALID_COMMAND,
    MESSAGE_LIMIT,
    Problem,
    problem_in,
    problem_of,
)


def told(data, outcome="rejected"):
    return problem_in(Reply("s", "step", "do", outcome, 1, data))


def test_problem_is_cut_to_what_a_reply_and_a_database_may_hold():
    problem = problem_of("c" * (CODE_LIMIT + 1), "\0\udcff" + "m" * MESSAGE_LIMIT)
    assert problem.code == "c" * CODE_LIMIT
    assert problem.message == "\ufffd?" + "m" * (MESSAGE_LIMIT - 2)
    assert problem_of(7, None) == Problem(code="7", message="None")


@pytest.mark.parametrize(
    ("data", "code", "message", "public"),
    [
        ('{"code": "no_flour", "message": "none left"}', "no_flour", "none left", True),
        ('{"code": "no_flour", "message": "a\\u0000b"}', "no_flour", "a\ufffdb", True),
        ('{"code": "no_flour"}', "unknown", '{"code": "no_flour"}', False),
        ("no JSON", "unknown", "no JSON", False),
    ],
)
def test_problem_is_read_from_a_reply_whatever_it_holds(data, code, message, public):
    assert told(data) == Problem(code=code, message=message, public=public)


@pytest.mark.parametrize("outcome", ["failed", "unsent"])
def test_message_of_what_was_not_rejected_is_not_public_whatever_the_reply_says(outcome):
    assert not told('{"code": "c", "message": "m", "public": true}', outcome).public


def test_message_of_a_command_that_could_not_be_read_is_not_public():
    assert not told(json.dumps({"code": INVALID_COMMAND, "message": "body: Input"})).public


def test_body_of_a_reply_does_not_say_who_may_read_it():
    assert problem_of("no_flour", "none left").model_dump_json() == (
        '{"code":"no_flour","message":"none left"}'
    )
