"""What a worker tells of commands that have secret fields."""

import json

import pytest
from pydantic import Field

from saga.runtime import Command, Event
from saga.runtime.deploy.invocation import _as_json
from saga.runtime.envelope import Envelope, decode


class Charged(Event, topic="bakery.charged"):
    receipt: str = Field(repr=False)


class Charge(Command, topic="bakery.charge", event=Charged):
    card: str = Field(repr=False, max_length=12)


@pytest.mark.parametrize(
    "handler",
    [
        lambda command: 1 / int(command.card),
        lambda command: Charged.model_validate(
            {"receipt": [command.card, str(4111_33 * 100 + 33)]}
        ),
        lambda command: Charge.model_validate({"card": [command.card]}),
        lambda command: command,
    ],
)
def test_fault_is_told_without_what_is_secret(bakery, caplog, handler):
    worker = bakery.worker("bakery.charge", Charge, handler)
    data = '{"card": "4111-2222"}'
    sent = Envelope("bakery.charge", "s/charge/do", "Charge", "/saga", "now", data).record()
    [answer] = worker.process([sent])
    assert decode(answer).outcome == "failed"
    assert "s/charge/do failed" in caplog.text
    told = caplog.text + decode(answer).data
    assert not [secret for secret in ("4111-2222", "41113333") if secret in told]


def test_command_that_cant_be_read_is_a_letter_without_what_is_secret(bakery, caplog):
    worker = bakery.worker("bakery.charge", Charge, lambda _: None)
    data = '{"card": "4111-2222-3333"}'
    sent = Envelope("bakery.charge", "s/charge/do", "Charge", "/saga", "now", data).record()
    letter = worker.process([sent])[0]
    reason = dict(letter.headers)["dlq_reason"].decode()
    assert reason == "card: is not acceptable"
    assert "4111-2222" not in caplog.text


def test_answer_to_an_invocation_is_told_without_what_is_secret():
    data = '{"receipt": "4111", "card": "4111", "other": 1}'
    answer = Envelope("t", "i", "Charged", "/s", "now", data)._replace(outcome="done")
    told = json.loads(_as_json(answer, (Charged, Charge)))
    assert told["data"] == {"receipt": "***", "card": "***", "other": 1}
