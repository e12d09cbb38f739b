"""Kinds of field."""

import re
from decimal import Decimal
from typing import Annotated

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from saga.runtime.web import fields
from saga.runtime.web.fields import Amount, Name
from saga.runtime.web.problems import invalid

POSITIVE = TypeAdapter(Annotated[Decimal, Amount(gt=0, le=100)])
CENTS = {"type": "number", "multipleOf": 0.01}
NAME = TypeAdapter(Name)
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
    assert number == CENTS | {"maximum": 100, "exclusiveMinimum": 0}
    assert text["type"] == "string"
    number, text = ANY.json_schema()["anyOf"]
    assert number == CENTS | {"maximum": 100, "minimum": -5}
    assert text["type"] == "string"


numerals = st.from_regex(r"-?0{0,2}[0-9]{1,4}(\.[0-9]{1,3}0{0,2})?", fullmatch=True)
BOUNDS = [{"le": 0}, {"le": 7}, {"le": 100}, {"le": 205}, {"gt": 0, "le": 100}, {"gt": 0, "le": 1}]
BOUNDS += [{"ge": -5, "le": 100}, {"ge": -205, "le": 0}]


@pytest.mark.parametrize("bounds", BOUNDS, ids=repr)
@given(numerals | st.text(max_size=5) | st.decimals(-210, 210, places=2).map(str))
@example("")
@example("0")
@example("-0.00")
@example("0.010")
@example("100.00")
@example("100.01")
def test_amount_is_taken_just_where_its_pattern_fits(bounds, text):
    kind = TypeAdapter(Annotated[Decimal, Amount(**bounds)])
    pattern = kind.json_schema()["anyOf"][1]["pattern"]
    assert pattern[0] + pattern[-1] == "^$"
    fits = re.fullmatch(pattern[1:-1], text) is not None
    if fits:
        kind.validate_python(text)
    else:
        with pytest.raises(ValidationError):
            kind.validate_python(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=3))
@example("\x1f")
@example("\x85 \ufeff")
@example("a\x00")
@example("\n\n.\n")
def test_name_is_taken_just_where_its_pattern_fits(text):
    pattern = NAME.json_schema()["pattern"]
    if len(text) and re.fullmatch(pattern[1:-1], text):
        assert NAME.validate_python(text) == text
    else:
        with pytest.raises(ValidationError):
            NAME.validate_python(text)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (fields.QueryTime, "noon", "must be a time as 2027-01-01T12:00:00Z"),
        (fields.QueryLimit, "many", "must be a whole number"),
        (fields.Name, " ", "must not be blank"),
        (fields.Name, "a\0", "must not hold a null character"),
        (fields.Email, "ann", "An email address must have an @-sign."),
        (
            Annotated[Decimal, Amount(le=1)],
            "x",
            "must be a number, or a decimal number in a string",
        ),
        (Annotated[Decimal, Amount(le=1)], "0.001", "must have at most two decimal places"),
    ],
)
def test_client_is_told_what_a_field_must_be(kind, value, words):
    with pytest.raises(ValidationError) as error:
        TypeAdapter(kind).validate_python(value)
    assert invalid(error.value).context == {"errors": {"body": words}}
