"""Fields that nobody is shown."""

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    Field,
    RootModel,
    ValidationError,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict

from saga.runtime import Command, Event, Message, Saga, Step, body
from saga.runtime.secret_fields import (
    HIDDEN,
    classes_of,
    hidden,
    hidden_text,
    hidden_whole,
    hides,
    quiet,
    scrubbed,
)

SECRET = "4111-2222"


class Pin(BaseModel):
    digits: str = Field(repr=False)
    of: "list[Pin]" = Field(default_factory=list)


class Open(BaseModel):
    digits: str
    of: "list[Open]" = Field(default_factory=list)


class Code(RootModel[str]):
    root: str = Field(repr=False)


class Codes(RootModel[list[Pin]]):
    pass


@dataclass
class Card:
    holder: str
    number: str = field(repr=False)


class Account(TypedDict):
    bank: str
    number: Annotated[str, Field(repr=False)]


class Pay(Message):
    order: int
    note: str | None = None
    card: str | None = Field(None, repr=False, alias="theCard")
    amount: Decimal | None = Field(None, repr=False)
    whole: dict[str, Any] | None = Field(None, repr=False)
    pin: Pin | None = None
    pins: list[Pin] | dict[str, Pin] | None = None
    code: Code | None = None
    codes: Codes | None = None
    paid_with: Card | None = Field(None, serialization_alias="paidWith")
    account: Account | None = None
    old: str | None = Field(None, repr=False, validation_alias=AliasChoices("old", "older"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"order": 1, "note": "x"}, {"order": 1, "note": "x"}),
        ({"card": SECRET}, {"card": HIDDEN}),
        ({"theCard": SECRET}, {"theCard": HIDDEN}),
        ({"older": SECRET}, {"older": HIDDEN}),
        ({"card": None}, {"card": None}),
        ({"amount": 5}, {"amount": HIDDEN}),
        ({"amount": False}, {"amount": HIDDEN}),
        ({"whole": {"a": [SECRET]}}, {"whole": HIDDEN}),
        ({"pin": {"digits": SECRET}}, {"pin": {"digits": HIDDEN}}),
        (
            {"pin": {"digits": "1", "of": [{"digits": "2", "of": [{"digits": "3"}]}]}},
            {"pin": {"digits": HIDDEN, "of": [{"digits": HIDDEN, "of": [{"digits": HIDDEN}]}]}},
        ),
        ({"pins": [{"digits": SECRET}]}, {"pins": [{"digits": HIDDEN}]}),
        ({"pins": {"a": {"digits": SECRET}}}, {"pins": {"a": {"digits": HIDDEN}}}),
        ({"code": SECRET}, {"code": HIDDEN}),
        ({"codes": [{"digits": SECRET}]}, {"codes": [{"digits": HIDDEN}]}),
        (
            {"paidWith": {"holder": "A", "number": "1"}},
            {"paidWith": {"holder": "A", "number": HIDDEN}},
        ),
        ({"account": {"bank": "B", "number": "1"}}, {"account": {"bank": "B", "number": HIDDEN}}),
        ([{"card": SECRET}, 1], [{"card": HIDDEN}, 1]),
        ({"unknown": {"card": "of nobody"}}, {"unknown": {"card": HIDDEN}}),
    ],
)
def test_secret_is_hidden_wherever_it_is(value, shown):
    assert hidden((Pay,), value) == shown
    assert json.loads(hidden_text((Pay,), json.dumps(value))) == shown


def test_class_without_secrets_is_shown_as_it_is():
    assert not hides(Open)
    assert hidden((Open,), {"digits": SECRET}) == {"digits": SECRET}
    assert hidden_text((Open,), "{no JSON") == "{no JSON"
    assert hidden_text((Pay, Open), "{no JSON") == HIDDEN


def test_what_nobody_knows_is_hidden_whole():
    value = {"a": 1, "b": [None, {"c": "d"}]}
    assert hidden_whole(value) == {"a": HIDDEN, "b": [None, {"c": HIDDEN}]}


class Paid(Event, topic="secret.events"):
    receipt: str = Field(repr=False)


class Charge(Command, topic="secret.charge", event=Paid):
    card: str


class Refund(Command, topic="secret.refund", event=Paid):
    reason: str = Field("", repr=False)


def test_field_of_a_saga_is_secret_where_one_of_its_classes_says_so():
    saga = Saga("pay", Pay, [Step(Charge, undo=Refund)])
    value = {"card": "1", "receipt": "2", "reason": "3", "order": 4}
    shown = {"card": HIDDEN, "receipt": HIDDEN, "reason": HIDDEN, "order": 4}
    assert hidden(classes_of(saga), value) == shown


class Checked(Message):
    card: str = Field(repr=False)
    pins: list[Pin] = Field(default_factory=list)
    count: int = 0

    @field_validator("card")
    @classmethod
    def _is_one(cls, card):
        if not card.startswith("4"):
            raise ValueError(f"{card} is no card")
        return card

    @model_validator(mode="after")
    def _fits(self):
        if self.count > 1:
            raise ValueError(f"{self.card} and {self.pins[0].digits} don't fit {self.count}")
        return self


@pytest.mark.parametrize(
    ("sent", "errors"),
    [
        ({"card": "9-secret"}, ["is not acceptable"]),
        ({"card": 7}, ["is not acceptable"]),
        ({"card": SECRET, "pins": [{"digits": 7}]}, ["is not acceptable"]),
        (
            {"card": SECRET, "pins": [{"digits": "pin 77"}], "count": 2},
            ["Value error, *** and *** don't fit 2"],
        ),
        (
            {"card": SECRET, "count": "x"},
            ["Input should be a valid integer, unable to parse string as an integer"],
        ),
        ({}, ["is not acceptable"]),
    ],
)
def test_error_of_what_is_read_quotes_no_secret(sent, errors):
    with pytest.raises(ValidationError) as raised:
        body.read(Checked, json.dumps(sent))
    assert [found["msg"] for found in raised.value.errors()] == errors
    text = repr(raised.value) + str(raised.value.errors())
    assert not any(secret in text for secret in ("9-secret", SECRET, "pin 77"))
    assert raised.value.__suppress_context__


def test_error_about_no_json_is_as_it_was():
    with pytest.raises(ValidationError, match="Invalid JSON"):
        body.read(Checked, '{"card": "4111')


def test_error_without_secrets_is_as_it_was():
    with pytest.raises(ValidationError) as raised:
        Open.model_validate({"digits": 1})
    assert quiet(raised.value, (Open,), '{"digits": 1}') is raised.value


def test_error_of_a_message_quotes_no_value():
    with pytest.raises(ValidationError) as raised:
        Charge(card=[SECRET])  # type: ignore[arg-type]
    assert SECRET not in str(raised.value)


def test_text_is_without_the_secrets_of_a_message():
    sent = json.dumps({"card": SECRET, "amount": 1200, "whole": {"a": ["deep"]}, "note": "note"})
    said = f"can't charge 1200 to {SECRET}, deep note"
    assert [*scrubbed((Pay,), sent, said, SECRET)] == [
        "can't charge *** to ***, *** note",
        HIDDEN,
    ]
    assert [*scrubbed((Pay,), '{"card": "41"}', "41 is short")] == ["41 is short"]
    assert [*scrubbed((Pay,), "{no JSON", said)] == [said]
    assert [*scrubbed((Open,), '{"digits": "4111"}', "4111")] == ["4111"]
