"""What is typed to deploy is read, or refused in words."""

import pytest

from saga.runtime.cli.deploying import counts_of
from saga.runtime.errors import SagaError


def test_counts_are_read_by_name():
    assert counts_of(["order=0", "order.create_order=3"]) == {"order": 0, "order.create_order": 3}


WRONG = ["order", "order=", "=2", "=", "order=-1", "order=1.5", "order=\u0663", "order=1=2"]


@pytest.mark.parametrize("word", [*WRONG, f"order={'9' * 5000}"], ids=range(9))
def test_what_is_no_count_is_refused(word):
    with pytest.raises(SagaError, match="not of the form NAME=N"):
        counts_of([word])


def test_name_with_two_counts_is_refused():
    with pytest.raises(SagaError, match="order is named twice"):
        counts_of(["order=1", "order=2"])
