"""Inspect, replay and drop dead letters: `dlq list`, `show`, `replay`, `drop`."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from itertools import repeat
from pathlib import Path
from typing import Annotated, Any

import peewee
import typer

from .. import saga_queries
from ..clock import utcnow
from ..dead_letter import GONE, SUFFIX, DeadLetter, Mark, passing, refusal
from ..errors import Conflict, NotFound, NotRunning, SagaError
from ..saga_host import HostedSaga
from ..saga_state import SagaState
from ..secret_fields import HIDDEN, Kinds, classes_of, hidden_text
from ..settings import Settings
from ..system.stack import read_stacks, topics
from ..system.state import read_system, with_its_stacks
from .app import Data, Json, app, in_lower_case, settings_for
from .sagas import open_sagas, story
from .terminal import console, line, print_rows

dlq = typer.Typer(help="Inspect, replay and drop dead letters.", no_args_is_help=True)
app.add_typer(dlq, name="dlq")

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="As `list` names them.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters a command is about: those of a topic, of a saga, with a reason."""

    topic: Annotated[str | None, typer.Option(help="Only those of this topic.")] = None
    saga: Annotated[
        str | None, typer.Option(help="Only those of this saga.", callback=in_lower_case)
    ] = None
    reason: Annotated[
        str | None,
        typer.Option(help="Only those whose reason holds this text."),
    ] = None

    def apply(self, dead_letters: list[DeadLetter]) -> list[DeadLetter]:
        """Return those that pass."""
        return passing(dead_letters, self.topic, self.saga, self.reason)


EVERYTHING = Filter()


def with_filter(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Filter` in the place of its parameter `only`."""
    options = signature(Filter).parameters

    @wraps(command)
    def run(**given: Any) -> None:
        only = Filter(**{name: given.pop(name) for name in options})
        command(only=only, **given)

    parameters: list[Parameter] = []
    for parameter in signature(command).parameters.values():
        parameters += options.values() if parameter.name == "only" else [parameter]
    vars(run)["__signature__"] = Signature(parameters)  # what Typer makes the options from
    return run


@dlq.command("list")
@with_filter
def list_dead_letters(data: Data = None, only: Filter = EVERYTHING, as_json: Json = False) -> None:
    """List the open dead letters, with the states of their sagas."""
    dead_letters = only.apply(_read(data))
    sagas = _sagas(data)
    if as_json:
        print(json.dumps([_as_dict(sagas, dead_letter) for dead_letter in dead_letters], indent=1))
        return
    rows = [_row(dead_letter, _state(sagas, dead_letter)) for dead_letter in dead_letters]
    if rows:
        print_rows(("ID", "STATUS", "SAGA", "REPLAYS", "WHEN", "REASON"), rows, cut=False)
    else:
        console.print("No dead letters.")


def _row(dead_letter: DeadLetter, state: SagaState | None) -> tuple[str, ...]:
    status, replays = state.status if state else "", str(dead_letter.replays or "")
    saga_id, reason = dead_letter.saga_id or "", dead_letter.reason
    return dead_letter.id, status, saga_id, replays, dead_letter.time, reason


@dlq.command("show")
def show_dead_letter(
    dead_letter_id: Annotated[str, typer.Argument(metavar="ID")], data: Data = None
) -> None:
    """Show one dead letter: its headers and body, and its saga."""
    dead_letter = _whole(data, _chosen(_read(data), [dead_letter_id])[0].id)
    sagas = _sagas(data)
    origin = f"  from {dead_letter.function}, {dead_letter.time}"
    console.print(line((dead_letter.id, "bold"), origin))
    console.print(f"reason: {dead_letter.reason}")
    if dead_letter.truncated:
        console.print(f"cut to fit, of bytes: {dead_letter.truncated}")
    for name, value in dead_letter.record.headers:
        console.print(f"  {name}: {_text(value)}")
    console.print(_shown(data, dead_letter), soft_wrap=True)
    if state := _state(sagas, dead_letter):
        console.print()
        console.print(story(state))


@dlq.command("replay")
@with_filter
def replay_dead_letters(
    ids: Ids = None, data: Data = None, only: Filter = EVERYTHING, dry_run: DryRun = False
) -> None:
    """Send dead letters to their topics again, by id or by filter.

    Those of an ended saga are passed over.
    """
    selected = _selected(_read(data), ids, only)
    sagas = _sagas(data)
    refused = {d.id: why for d in selected if (why := refusal(d, _state(sagas, d))) is not None}
    if ids and refused:
        raise Conflict("; ".join(f"{one}: {why}" for one, why in refused.items()))
    for one, why in refused.items():
        console.print(f"{one}: passed over, {why}")
    chosen = [dead_letter for dead_letter in selected if dead_letter.id not in refused]
    _close(data, chosen, "replayed", dry_run=dry_run)


@dlq.command("drop")
@with_filter
def drop_dead_letters(
    ids: Ids = None, data: Data = None, only: Filter = EVERYTHING, dry_run: DryRun = False
) -> None:
    """Close dead letters without sending them, by id or by filter."""
    _close(data, _selected(_read(data), ids, only), "dropped", dry_run=dry_run)


def _read(data: Path | None) -> list[DeadLetter]:
    from ..kafka.dead_letters import read_open

    settings = _reaching_the_broker(data)
    names = topics(read_stacks(settings.saga_stacks))
    return read_open(settings, [n.removesuffix(SUFFIX) for n in names if n.endswith(SUFFIX)])


def _whole(data: Path | None, dead_letter_id: str) -> DeadLetter:
    from ..kafka.dead_letters import fetch

    found = fetch(_reaching_the_broker(data), [dead_letter_id])[dead_letter_id]
    if found is None:
        raise NotFound(f"dead letter {dead_letter_id}: {GONE}")
    return found


def _close(data: Path | None, dead_letters: list[DeadLetter], what: Mark, *, dry_run: bool) -> None:
    """Close them, and say of each what has become of it; exit with 1 where one is left."""
    ids, done = [dead_letter.id for dead_letter in dead_letters], 0
    would_be = "would be " if dry_run else ""
    outcomes = zip(ids, repeat("")) if dry_run else _closed(data, ids, what)
    for dead_letter_id, why in outcomes:
        told = f"left as it is, {why}" if why else would_be + what
        console.print(f"{dead_letter_id}: {told}", soft_wrap=True)
        done += not why
    console.print(f"{done} {would_be}{what}.")
    if done < len(ids):
        raise typer.Exit(1)


def _closed(data: Path | None, ids: list[str], what: Mark) -> Iterator[tuple[str, str]]:
    from ..kafka.dead_letters import close_all

    return close_all(_reaching_the_broker(data), ids, what, utcnow())


def _reaching_the_broker(data: Path | None) -> Settings:
    """Return settings for the running system's broker, or else for the one in the environment."""
    settings = with_its_stacks(settings_for(data))
    try:
        return settings.on_broker(read_system(settings.saga_data).broker)
    except NotRunning:
        if settings.kafka_bootstrap_servers is None:
            raise
        return settings


def _selected(
    dead_letters: list[DeadLetter], ids: list[str] | None, only: Filter
) -> list[DeadLetter]:
    if ids:
        return _chosen(dead_letters, ids)
    if only == EVERYTHING:
        raise typer.BadParameter("name dead letters, or give --topic, --saga or --reason")
    return only.apply(dead_letters)


def _chosen(dead_letters: list[DeadLetter], ids: Iterable[str]) -> list[DeadLetter]:
    by_id = {dead_letter.id: dead_letter for dead_letter in dead_letters}
    if missing := [name for name in ids if name not in by_id]:
        raise NotFound(f"no open dead letter {', '.join(missing)}: see `saga dlq list`")
    return [by_id[name] for name in ids]


def _sagas(data: Path | None) -> peewee.Database | None:
    """Open the sagas, if there are any: functions have dead letters without them, too."""
    try:
        return open_sagas(data)
    except SagaError:
        return None


def _state(sagas: peewee.Database | None, dead_letter: DeadLetter) -> SagaState | None:
    if sagas is None:
        return None
    try:
        return saga_queries.find(sagas, dead_letter.saga_id or "")
    except NotFound:
        return None


def _as_dict(sagas: peewee.Database | None, dead_letter: DeadLetter) -> dict[str, Any]:
    state = _state(sagas, dead_letter)
    return {
        "id": dead_letter.id,
        "topic": dead_letter.record.topic,
        "function": dead_letter.function,
        "time": dead_letter.time,
        "reason": dead_letter.reason,
        "replays": dead_letter.replays,
        "truncated": dead_letter.truncated,
        "saga_id": dead_letter.saga_id,
        "saga_status": state.status if state else None,
    }


def _shown(data: Path | None, dead_letter: DeadLetter) -> str:
    """Return a record's body without what is secret: all of it, where nobody knows what that is."""
    text, kinds = _text(dead_letter.record.value), _kinds(data, dead_letter.record.topic)
    return hidden_text(kinds, text) if kinds or not text else HIDDEN


def _kinds(data: Path | None, topic: str) -> Kinds:
    """Return the classes of the functions and sagas that have to do with a topic."""
    found: list[Any] = []
    for stack in read_stacks(with_its_stacks(settings_for(data)).saga_stacks):
        for name in stack.entries:
            with suppress(Exception):  # whatever its code may raise, others may know the topic
                entry = stack.load_entry(name)
                if isinstance(entry, HostedSaga):
                    classes = classes_of(entry.saga)
                else:
                    classes = (entry.command, entry.command.event) if entry.command else ()
                if any(getattr(each, "topic", None) == topic for each in classes):
                    found += classes
    return tuple(found)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode(errors="backslashreplace")
