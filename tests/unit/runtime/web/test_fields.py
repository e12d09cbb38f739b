"""Kinds of field."""

from decimal import Decimal
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from saga.runtime.web.fields import Amount

POSITIVE = TypeAdapter(Annotated[Decimal, Amount(gt=0, le=100)])
ANY = TypeAdapter(Annotated[Decimal, Amount(ge=-5, le=100)])


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [(POSITIVE, "0.01", "0.01"), (POSITIVE, 100, "100.00"), (ANY, "-5", "-5.00"), (ANY, 0, "0.00")],
)
def test_amount_within_its_bounds_is_whole_cents(kind, given, value):
    assert str(kind.validate_python(given)) == value


@pytest.mark.parametrize(
    ("kind", "given"), [(POSITIVE, 0), (POSITIVE, "100.01"), (POSITIVE, "0.001"), (ANY, "-5.01")]
)
def test_amount_out_of_its_bounds_is_refused(kind, given):
    with pytest.raises(ValidationError):
        kind.validate_python(given)


def test_amounts_bounds_are_documented():
    number, text = POSITIVE.json_schema()["anyOf"]
    assert number == {"type": "number", "maximum": 100, "exclusiveMinimum": 0}
    assert text["pattern"].startswith("^[0-9]")
    number, text = ANY.json_schema()["anyOf"]
    assert number == {"type": "number", "maximum": 100, "minimum": -5}
    assert text["pattern"].startswith("^-?[0-9]")
