"""Look after dead letters: `dlq list`, `show`, `replay`, `drop`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import peewee
import typer
from rich.markup import escape
from rich.table import Table

from .. import saga_queries
from ..clock import utcnow
from ..dead_letter import SUFFIX, DeadLetter, Mark, mark, open_letters, replay
from ..envelope import Record
from ..errors import Conflict, NotFound, NotRunning
from ..saga_state import SagaState
from ..settings import Settings
from ..system.stack import read_stacks, topics
from ..system.state import read_system
from .app import Data, Json, app, coloured, console, settings_for
from .sagas import open_sagas, story

dlq = typer.Typer(help="Look after dead letters.", no_args_is_help=True)
app.add_typer(dlq, name="dlq")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[LETTER…]", help="As `list` names them.")]
Topic = Annotated[str | None, typer.Option(help="Only those of this topic.")]
SagaId = Annotated[str | None, typer.Option("--saga", help="Only those of this saga.")]
Reason = Annotated[str | None, typer.Option(help="Only those whose reason holds this text.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@dlq.command("list")
def list_letters(
    data: Data = None,
    topic: Topic = None,
    saga: SagaId = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """List the open dead letters, with the states of their sagas."""
    letters = _filtered(_read(data), topic, saga, reason)
    sagas = open_sagas(data)
    if as_json:
        print(json.dumps([_as_dict(sagas, letter) for letter in letters], indent=1))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("LETTER", "WHEN", "REPLAYS", "SAGA", "STATUS", "REASON"):
        table.add_column(column, no_wrap=column != "REASON", overflow="fold")
    for letter in letters:
        state = _state(sagas, letter)
        table.add_row(
            letter.id,
            letter.time[:19],
            str(letter.replays or ""),
            escape(letter.saga_id or ""),
            coloured(state.status) if state else "",
            escape(letter.reason),
        )
    console.print(table if letters else "No dead letters.")


@dlq.command("show")
def show_letter(letter_id: Annotated[str, typer.Argument()], data: Data = None) -> None:
    """Show one dead letter: its headers and body, and its saga."""
    [letter] = _chosen(_read(data), [letter_id])
    sagas = open_sagas(data)
    console.print(f"[bold]{letter.id}[/]  from {letter.function}, {letter.time}")
    console.print(f"reason: {escape(letter.reason)}")
    for name, value in letter.record.headers:
        console.print(f"  {escape(name)}: {escape(_text(value))}")
    console.print(escape(_text(letter.record.value)), soft_wrap=True)
    if state := _state(sagas, letter):
        console.print()
        console.print(story(state))


@dlq.command("replay")
def replay_letters(
    ids: Ids = None,
    data: Data = None,
    topic: Topic = None,
    saga: SagaId = None,
    reason: Reason = None,
    dry_run: DryRun = False,
) -> None:
    """Send letters to their topics again, by id or by filter; not those of an ended saga."""
    letters = _selected(_read(data), ids, topic, saga, reason)
    sagas = open_sagas(data)
    refused = [
        letter.id for letter in letters if (s := _state(sagas, letter)) is not None and s.ended
    ]
    if ids and refused:
        raise Conflict(f"{', '.join(refused)}: the saga has ended, there is nothing to replay for")
    for letter in letters:
        if letter.id in refused:
            console.print(f"{letter.id}: passed over, its saga has ended")
    chosen = [letter for letter in letters if letter.id not in refused]
    _close(data, chosen, "replayed", [replay(letter) for letter in chosen], dry_run=dry_run)


@dlq.command("drop")
def drop_letters(
    ids: Ids = None,
    data: Data = None,
    topic: Topic = None,
    saga: SagaId = None,
    reason: Reason = None,
    dry_run: DryRun = False,
) -> None:
    """Close letters without sending them, by id or by filter."""
    letters = _selected(_read(data), ids, topic, saga, reason)
    _close(data, letters, "dropped", [], dry_run=dry_run)


def _read(data: Path | None) -> list[DeadLetter]:
    from ..kafka.admin import read_topics

    settings = _reaching_the_broker(data)
    names = [name for name in topics(read_stacks(settings.saga_stacks)) if name.endswith(SUFFIX)]
    return open_letters(read_topics(settings, names))


def _close(
    data: Path | None, letters: list[DeadLetter], what: Mark, first: list[Record], *, dry_run: bool
) -> None:
    """Send `first`, then the marks: a crash between them replays twice, which changes nothing."""
    if not dry_run and letters:
        from ..kafka.producer import Producer

        producer = Producer(_reaching_the_broker(data), "saga.dlq")
        producer.send_records(first)
        producer.send_records(mark(letter, what, utcnow()) for letter in letters)
        producer.close()
    for letter in letters:
        console.print(f"{letter.id}: {'would be ' if dry_run else ''}{what}")
    console.print(f"{len(letters)} {'would be ' if dry_run else ''}{what}.")


def _reaching_the_broker(data: Path | None) -> Settings:
    """Return settings for the running system's broker, or else for the one in the environment."""
    settings = settings_for(data)
    try:
        return settings.on_broker(read_system(settings.saga_data).broker)
    except NotRunning:
        if settings.kafka_bootstrap_servers is None:
            raise
        return settings


def _selected(
    letters: list[DeadLetter],
    ids: list[str] | None,
    topic: str | None,
    saga: str | None,
    reason: str | None,
) -> list[DeadLetter]:
    if ids:
        return _chosen(letters, ids)
    if topic is None and saga is None and reason is None:
        raise typer.BadParameter("name letters, or give --topic, --saga or --reason")
    return _filtered(letters, topic, saga, reason)


def _chosen(letters: list[DeadLetter], ids: Iterable[str]) -> list[DeadLetter]:
    by_id = {letter.id: letter for letter in letters}
    if missing := [name for name in ids if name not in by_id]:
        raise NotFound(f"no open dead letter {', '.join(missing)}: see `saga dlq list`")
    return [by_id[name] for name in ids]


def _filtered(
    letters: list[DeadLetter], topic: str | None, saga: str | None, reason: str | None
) -> list[DeadLetter]:
    return [
        letter
        for letter in letters
        if topic in (None, letter.record.topic)
        and saga in (None, letter.saga_id)
        and (reason is None or reason in letter.reason)
    ]


def _state(sagas: peewee.Database, letter: DeadLetter) -> SagaState | None:
    try:
        return saga_queries.find(sagas, letter.saga_id or "")
    except NotFound:
        return None


def _as_dict(sagas: peewee.Database, letter: DeadLetter) -> dict[str, Any]:
    state = _state(sagas, letter)
    return {
        "id": letter.id,
        "topic": letter.record.topic,
        "function": letter.function,
        "time": letter.time,
        "reason": letter.reason,
        "replays": letter.replays,
        "saga_id": letter.saga_id,
        "saga_status": state.status if state else None,
    }


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode(errors="backslashreplace")
