"""Names that Kafka takes, and those that it takes for one."""

import pytest

from saga.runtime.errors import ContractError
from saga.runtime.topic import LIMIT, alike, check_topic

ALLOWED = f"take 1 to {LIMIT} of a-z, A-Z, 0-9, '.', '_', '-'"


@pytest.mark.parametrize("name", ["g", "gift.wrap", "a-Z_0.9", "...", "x" * LIMIT])
def test_name_that_each_broker_takes_is_taken(name):
    check_topic("Wrap", name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", ALLOWED),
        ("gift wrap", ALLOWED),
        ("x" * (LIMIT + 1), ALLOWED),
        (7, ALLOWED),
        (".", "it has a meaning of its own"),
        ("..", "it has a meaning of its own"),
        ("gift.wrap.dlq", "it has a meaning of its own"),
    ],
)
def test_name_that_can_not_be_a_topic_is_told_with_whose_it_is(name, why):
    with pytest.raises(ContractError) as raised:
        check_topic("Wrap", name)
    assert str(raised.value) == f"Wrap: {name!r} can't be a topic: {why}"


def test_topics_are_alike_where_their_names_differ_in_dots_alone():
    assert alike("gift.wrap.now") == alike("gift_wrap.now") == "gift_wrap_now"
