"""Fields that nobody is shown."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import pydantic
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
from saga.runtime.saga_state import SagaState, StepState
from saga.runtime.secret_fields import (
    HIDDEN,
    classes_of,
    classes_on,
    hidden,
    hidden_text,
    hidden_whole,
    hides,
    kinds_in,
    quiet,
    scrubbed,
    without_secrets,
)

SECRET = "4111-2222"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


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


@dataclass
class Voucher:
    shop: str
    number: Annotated[str, Field(repr=False)]


@pydantic.dataclasses.dataclass
class Badge:
    number: str = Field(repr=False, alias="theNumber")


class Tree(RootModel["list[Tree | Pin]"]):
    pass


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
    voucher: Voucher | None = None
    badge: Badge | None = None
    tree: Tree | None = None
    old: str | None = Field(None, repr=False, validation_alias=AliasChoices("old", "older"))
    key: str | None = Field(None, repr=False, validation_alias="theKey")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"order": 1, "note": "x"}, {"order": 1, "note": "x"}),
        ({"card": SECRET}, {"card": HIDDEN}),
        ({"theCard": SECRET}, {"theCard": HIDDEN}),
        ({"older": SECRET}, {"older": HIDDEN}),
        ({"theKey": SECRET}, {"theKey": HIDDEN}),
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
        ({"voucher": {"shop": "S", "number": "1"}}, {"voucher": {"shop": "S", "number": HIDDEN}}),
        ({"badge": {"theNumber": "1"}}, {"badge": {"theNumber": HIDDEN}}),
        ({"tree": [[{"digits": "1"}]]}, {"tree": [[{"digits": HIDDEN}]]}),
        ([{"card": SECRET}, 1], [{"card": HIDDEN}, 1]),
        ({"unknown": {"card": "of nobody"}}, {"unknown": {"card": HIDDEN}}),
    ],
)
def test_secret_is_hidden_wherever_it_is(value, shown):
    assert hidden((Pay,), value) == shown
    assert json.loads(hidden_text((Pay,), json.dumps(value))) == shown


def test_classes_of_a_type_are_those_with_fields():
    assert kinds_in(dict[str, list[Pin] | None]) == (Pin,)
    assert kinds_in(Tree | int) == (Tree, Pin)


def test_class_without_secrets_is_shown_as_it_is():
    assert hides(Open) is False
    assert hidden((Open,), {"digits": SECRET}) == {"digits": SECRET}
    assert hidden_text((Open,), "{no JSON") == "{no JSON"
    assert hidden_text((Pay,), '{"card": "1"}') == '{"card":"***"}'
    assert hidden_text((Pay, Open), "{no JSON") == HIDDEN


def test_class_has_the_secrets_of_those_that_it_is_made_of():
    class Wallet(BaseModel):
        pins: dict[str, list[Pin]]

    assert hides(Wallet)
    assert hidden((Wallet,), {"pins": {"a": [{"digits": "1"}]}}) == {
        "pins": {"a": [{"digits": HIDDEN}]}
    }


def test_error_about_a_secret_root_quotes_nothing():
    with pytest.raises(ValidationError) as raised:
        body.read(Pay, '{"order": 1, "code": 4111}')
    assert [found["msg"] for found in raised.value.errors()] == ["is not acceptable"]


@pytest.mark.parametrize(
    ("sent", "said", "shown"),
    [
        ({"card": "411", "old": SECRET}, f"{SECRET} and 411", "*** and ***"),
        ({"whole": {"a": True, "b": None, "c": "deep"}}, "True None deep", "True None ***"),
        ({"card": "112", "old": "01123"}, "01123 and 112", "*** and ***"),
        ({"unknown": {"card": "of nobody"}}, "of nobody", HIDDEN),
        ({"pin": {"digits": "nested"}}, "nested", HIDDEN),
    ],
)
def test_secret_is_scrubbed_wherever_it_is_the_longest_first(sent, said, shown):
    assert [*scrubbed((Pay,), json.dumps(sent), said)] == [shown]


def test_what_nobody_knows_is_hidden_whole():
    value = {"a": 1, "b": [None, {"c": "d"}]}
    assert hidden_whole(value) == {"a": HIDDEN, "b": [None, {"c": HIDDEN}]}


class Paid(Event, topic="secret.events"):
    receipt: str = Field(repr=False)


class Charge(Command, topic="secret.charge", event=Paid):
    card: str
    cvc: str = Field(default="", repr=False)


class Refund(Command, topic="secret.refund", event=Paid):
    reason: str = Field("", repr=False)


PAY = Saga("pay", Pay, [Step(Charge, undo=Refund)])


def test_field_of_a_saga_is_secret_where_one_of_its_classes_says_so():
    value = {"card": "1", "receipt": "2", "reason": "3", "cvc": "4", "order": 5}
    shown = {**dict.fromkeys(value, HIDDEN), "order": 5}
    assert hidden(classes_of(PAY), value) == shown


def test_classes_on_a_topic_are_those_of_all_sagas_that_have_to_do_with_it():
    class Look(Command, topic="secret.look", event=Paid):
        pass

    class Begin(Message):
        pass

    look = Saga("look", Begin, [Step(Look)])
    assert set(classes_on("secret.charge", [PAY, look])) == {Pay, Charge, Refund, Paid}
    assert set(classes_on("secret.events", [PAY, look])) == {Pay, Charge, Refund, Paid, Begin, Look}
    assert classes_on("secret.unknown", [PAY, look]) == ()


def test_saga_is_shown_without_its_secrets():
    steps = (
        StepState("charge", told={"receipt": "2"}, body='{"card":"1","order":5}'),
        StepState("other", body=""),
        StepState("last"),
    )
    whole = SagaState(
        *("s", "pay", "RUNNING", {"card": "1", "order": 5}, steps, NOW, NOW, NOW),
        events={"receipt": "2", "order": 5},
    )
    shown = without_secrets(whole, PAY)
    assert (shown.id, shown.input) == ("s", {"card": HIDDEN, "order": 5})
    assert shown.events == {"receipt": HIDDEN, "order": 5}
    assert [(step.name, step.told, step.body) for step in shown.steps] == [
        ("charge", {"receipt": HIDDEN}, '{"card":"***","order":5}'),
        ("other", {}, ""),
        ("last", {}, None),
    ]
    assert without_secrets(whole, None).input == {"card": HIDDEN, "order": HIDDEN}


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


def test_error_that_a_check_has_raised_is_one_still():
    """So no client is told its words."""
    sent = {"card": SECRET, "pins": [{"digits": "pin 77"}], "count": 2}
    with pytest.raises(ValidationError) as raised:
        body.read(Checked, json.dumps(sent))
    [found] = raised.value.errors()
    assert (found["type"], found["input"]) == ("value_error", HIDDEN)
    assert repr(found["ctx"]["error"]) == """ValueError("*** and *** don't fit 2")"""
    assert "input_value" not in str(raised.value)


def test_error_of_another_kind_keeps_its_type():
    with pytest.raises(ValidationError) as raised:
        body.read(Checked, json.dumps({"card": SECRET, "count": "x"}))
    [found] = raised.value.errors()
    assert (found["type"], found["loc"], found.get("ctx")) == ("int_parsing", ("count",), None)


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
    assert [*scrubbed((Pay,), '{"code": "4111"}', "4111")] == [HIDDEN]
    assert [*scrubbed((Pay,), "{no JSON", said)] == [said]
    assert [*scrubbed((Open,), '{"digits": "4111"}', "4111")] == ["4111"]
