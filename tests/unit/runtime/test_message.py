"""Messages as users declare them."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from saga.runtime import Command, Event, Message
from saga.runtime.errors import ContractError
from saga.runtime.message import reasons


class Told(Event, topic="unit.told"):
    text: str


class AskNicely(Command, topic="unit.ask", event=Told):
    text: str


def test_message_is_deaf_to_fields_it_does_not_know():
    assert Told.model_validate({"text": "a", "newer": 1}) == Told(text="a")


def test_message_is_immutable():
    with pytest.raises(ValueError, match="frozen"):
        Told(text="a").text = "b"


def test_messages_json_is_json_whatever_is_in_it():
    text = 'ü "quoted" \u2028 \x00 💸'
    assert json.loads(Told(text=text).model_dump_json()) == {"text": text}


@pytest.mark.parametrize(
    ("name", "step"),
    [("ReserveProduct", "reserve_product"), ("Pay", "pay"), ("Make2Orders", "make2_orders")],
)
def test_step_is_called_as_its_command(name, step):
    command: Any = type(name, (Command,), {}, topic="unit.any", event=Told)
    assert command.step_name() == step


def test_event_without_a_topic_is_refused():
    with pytest.raises(ContractError, match="Nowhere needs a topic"):

        class Nowhere(Event):
            pass


def test_command_without_a_topic_is_refused():
    with pytest.raises(ContractError, match="Nowhere needs a topic"):

        class Nowhere(Command, event=Told):
            pass


def test_command_without_an_event_is_refused():
    with pytest.raises(ContractError, match="Silent needs its answer"):

        class Silent(Command, topic="unit.silent"):
            pass


@pytest.mark.parametrize(
    "topic",
    ["", "gift events", "größe", ".", "..", "a/b", "a\n", "a" * 246, "gift.dlq", 7],
)
def test_topic_that_no_kafka_takes_is_refused(topic):
    for base, options in ((Event, {}), (Command, {"event": Told})):
        with pytest.raises(ContractError, match=r"Odd: .* can't be a topic"):
            type("Odd", (base,), {}, topic=topic, **options)
        with pytest.raises(ContractError, match=r"Odd: .* can't be a topic"):
            type("Odd", (base,), {"topic": topic, "__annotations__": {}}, **options)


def test_topic_may_have_all_that_kafka_allows():
    name = "Gift_1.events-" + "a" * 231
    assert vars(type("Long", (Event,), {}, topic=name))["topic"] == name


@pytest.mark.filterwarnings("ignore:Field name")
@pytest.mark.parametrize("name", ["topic", "event", "step_name"])
def test_field_that_takes_the_place_of_the_classs_own_is_refused(name):
    class Mixed(BaseModel):
        __annotations__ = {name: str}

    for base, options in ((Event, {}), (Command, {"event": Told})):
        for bases, annotations in (((base,), {name: str}), ((Mixed, base), {})):
            with pytest.raises(ContractError, match=f"Odd can't have a field {name}"):
                type("Odd", bases, {"__annotations__": annotations}, topic="unit.odd", **options)


def test_event_inherits_its_topic():
    class ToldTwice(Told):
        pass

    assert ToldTwice.topic == "unit.told"


def test_plain_message_needs_no_topic():
    class Start(Message):
        text: str

    assert Start(text="a").text == "a"


class Poem(Message):
    title: str
    lines: list[int]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ('{"lines": [1, "x"]}', ["title: Field required", "lines.1: Input should be a valid int"]),
        ("[]", ["body: Input should be an object"]),
    ],
)
def test_reasons_name_each_field_or_else_the_body(data, found):
    with pytest.raises(ValidationError) as caught:
        Poem.model_validate_json(data)
    for reason, start in zip(reasons(caught.value), found, strict=True):
        assert reason.startswith(start)
