"""Which dead letters `saga dlq` is about."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from saga.runtime import Command, Event, Message, Saga, Step
from saga.runtime.cli import dlq as commands
from saga.runtime.cli import terminal
from saga.runtime.cli.dlq import Filter, dlq
from saga.runtime.database.schema import bind
from saga.runtime.dead_letter import ID_LIMIT, DeadLetter, outline, refusal
from saga.runtime.envelope import Record
from saga.runtime.errors import NotFound
from saga.runtime.function import Function
from saga.runtime.kafka import dead_letters
from saga.runtime.saga_host import HostedSaga
from saga.runtime.saga_queries import find
from saga.runtime.saga_rows import SagaRow


def dead_letter(topic, saga_id, reason):
    record = Record(topic, saga_id.encode(), b"{}", [])
    return DeadLetter(f"{topic}/0/0", record, reason, "shop.pay", "", replays=0)


PAY = dead_letter("pay", "s1", "amount: Field required")
SHIP = dead_letter("ship", "s2", "header missing: ce_id")


@pytest.mark.parametrize(
    ("only", "found"),
    [
        (Filter(), [PAY, SHIP]),
        (Filter(topic="pay"), [PAY]),
        (Filter(saga="s2"), [SHIP]),
        (Filter(reason="header missing"), [SHIP]),
        (Filter(topic="pay", saga="s2"), []),
    ],
)
def test_filter_lets_through_what_meets_all_of_it(only, found):
    assert only.apply([PAY, SHIP]) == found


@pytest.mark.parametrize("command", ["list", "replay", "drop"])
def test_every_command_on_many_takes_the_filter(command):
    shown = CliRunner().invoke(dlq, [command, "--help"]).stdout
    assert all(option in shown for option in ("--topic", "--saga", "--reason"))


def test_dead_letter_of_a_saga_that_cant_be_read_may_be_replayed(sqlite):
    """What comes of it is there when the saga is taken up."""
    bind(sqlite, [SagaRow])
    SagaRow.create(id="s1", name="shop", status="UNREADABLE", state="{}")
    assert refusal(PAY, find(sqlite, "s1")) is None


def test_letter_is_one_line_that_nothing_squeezes(monkeypatch, capsys):
    saga_id = "01a219b8-bfff-7578-ba20-a604ee8bb9a3"
    letter = dead_letter("product.reserve", saga_id, "quantity: Input should be greater than 0")
    monkeypatch.setattr(commands, "_read", lambda _: [letter])
    monkeypatch.setattr(commands, "_sagas", lambda _: None)
    monkeypatch.setattr(terminal.console, "_width", 80)
    commands.list_dead_letters(topic=None, saga=None, reason=None)
    columns, shown = capsys.readouterr().out.splitlines()
    assert columns.split() == ["ID", "STATUS", "SAGA", "REPLAYS", "WHEN", "REASON"]
    assert shown.split()[:2] == [letter.id, saga_id]
    assert shown.endswith(letter.reason)


def test_outline_of_a_letter_holds_little():
    letter = dead_letter("pay", "s" * 1_000_000, "why")
    headers = [("ce_id", None), ("x", b"1")]
    record = outline(replace(letter, record=letter.record._replace(headers=headers))).record
    assert record == Record("pay", b"s" * ID_LIMIT, None, [])
    named = letter.record._replace(headers=[("ce_id", b"s7/pay/do")])
    assert outline(replace(letter, record=named)).saga_id == "s7"
    assert outline(replace(letter, record=letter.record._replace(key=None))).saga_id is None


def test_letter_that_is_left_is_told_and_fails_the_command(monkeypatch, capsys):
    monkeypatch.setattr(commands, "_read", lambda _: [PAY, SHIP])
    monkeypatch.setattr(commands, "_sagas", lambda _: None)
    told = [(PAY.id, "not sent: no such topic"), (SHIP.id, "")]
    monkeypatch.setattr(commands, "_closed", lambda *_: iter(told))
    with pytest.raises(typer.Exit) as ended:
        commands.replay_dead_letters(ids=[PAY.id, SHIP.id], topic=None, saga=None, reason=None)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{PAY.id}: left as it is, not sent: no such topic",
        f"{SHIP.id}: replayed",
        "1 replayed.",
    ]


def test_letter_that_goes_while_it_is_looked_for_is_told(monkeypatch):
    monkeypatch.setattr(commands, "_read", lambda _: [PAY])
    monkeypatch.setattr(commands, "_reaching_the_broker", lambda _: None)
    monkeypatch.setattr(dead_letters, "fetch", lambda _, ids: dict.fromkeys(ids))
    with pytest.raises(NotFound, match=f"dead letter {PAY.id}: it is not on the broker any more"):
        commands.show_dead_letter(PAY.id)


class Paid(Event, topic="secrets.events"):
    receipt: str = Field(repr=False)


class Pay(Command, topic="secrets.pay", event=Paid):
    card: str = Field(repr=False)
    order: int


class Shipped(Event, topic="open.events"):
    pass


class Ship(Command, topic="open.ship", event=Shipped):
    order: int


class Buy(Message):
    card: str
    order: int


ENTRIES = {
    "pay": Function("shop.pay", print, "command", ("secrets.pay",), Pay),
    "ship": Function("shop.ship", print, "command", ("open.ship",), Ship),
    "remind": Function("shop.remind", print, "timer", ()),
    "buy": HostedSaga("shop.buy", Saga("buy", Buy, [Step(Pay)])),
}


@pytest.mark.parametrize(
    ("topic", "body", "shown"),
    [
        ("secrets.pay", '{"card":"4111","order":"x"}', '{"card":"***","order":"x"}'),
        ("secrets.pay", '{"card":"4111', "***"),
        ("secrets.events", '{"receipt":"4111"}', '{"receipt":"***"}'),
        ("open.ship", '{"card":"4111', '{"card":"4111'),
        ("nobody.knows", '{"card":"4111"}', "***"),
        ("nobody.knows", "", ""),
    ],
)
def test_body_of_a_letter_is_shown_without_what_is_secret(
    monkeypatch, capsys, tmp_path, topic, body, shown
):
    stack = SimpleNamespace(entries=["broken", *ENTRIES], load_entry=ENTRIES.__getitem__)
    letter = DeadLetter("t/0/0", Record(topic, b"s", body.encode(), []), "why", "f", "", 0)
    monkeypatch.setenv("SAGA_DATA", str(tmp_path))
    monkeypatch.setattr(commands, "read_stacks", lambda _: [stack])
    monkeypatch.setattr(commands, "_read", lambda _: [outline(letter)])
    monkeypatch.setattr(commands, "_whole", lambda *_: letter)
    monkeypatch.setattr(commands, "_sagas", lambda _: None)
    commands.show_dead_letter("t/0/0")
    told = capsys.readouterr().out
    assert told == f"t/0/0  from f, \nreason: why\n{shown}\n"
