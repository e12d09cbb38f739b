"""Which dead letters `saga dlq` is about."""

import pytest
from typer.testing import CliRunner

from saga.runtime.cli import dlq as commands
from saga.runtime.cli import terminal
from saga.runtime.cli.dlq import Filter, dlq
from saga.runtime.database.schema import bind
from saga.runtime.dead_letter import DeadLetter, refusal
from saga.runtime.envelope import Record
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
