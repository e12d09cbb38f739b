"""Look at sagas: `sagas`, `show`, `why`; act on those that wait for a person: `retry`, `skip`."""

import json
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, get_args

import peewee
import typer
from pydantic_core import to_jsonable_python
from rich.console import Group
from rich.live import Live
from rich.text import Text

from .. import saga_queries
from ..body import under_aliases
from ..client import SagaClient
from ..clock import utcnow
from ..database.connection import connect
from ..errors import NotRunning, SagaError
from ..explanation import explain
from ..saga import Saga
from ..saga_history import Moment, histories
from ..saga_host import HostedSaga
from ..saga_state import Failure, SagaState, SagaStatus, StepState
from ..secret_fields import classes_of, hidden, without_secrets
from ..stamps import Parts
from ..system.stack import read_stacks
from ..system.state import with_its_stacks
from .app import Data, Json, SagaId, app, settings_for
from .terminal import bare_table, coloured, console, line, moment, print_rows

MILLISECOND = timedelta(milliseconds=1)
LOOK_EVERY = 0.3  # seconds


@app.command()
def sagas(
    data: Data = None,
    status: Annotated[
        str | None, typer.Option(help=f"Only those that are {', '.join(get_args(SagaStatus))}.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List sagas, the newest first."""
    if status is not None and status.upper() not in get_args(SagaStatus):
        raise SagaError(f"--status {status}: not one of {', '.join(get_args(SagaStatus))}")
    database = open_sagas(data)
    found = saga_queries.page(database, limit, status=status and status.upper(), newest=True)
    if as_json:
        declared = _declared(data)
        print(json.dumps([as_dict(state, declared.get(state.name)) for state in found], indent=1))
        return
    rows = [
        (
            state.id,
            state.status,
            moment(state.created_at),
            state.name,
            _in_short(state.failure) if state.failure else "",
        )
        for state in found
    ]
    if rows:
        print_rows(("SAGA", "STATUS", "STARTED", "NAME", "WHY"), rows, cut=False)
    else:
        console.print("No sagas.")


@app.command()
def show(
    saga_id: SagaId,
    data: Data = None,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until it has ended.")] = False,
) -> None:
    """Show one saga: its steps, attempts, errors and history."""
    database = open_sagas(data)
    state = saga_queries.find(database, saga_id)
    if watch and not as_json:
        _watch(database, state)
        return
    moments = histories(database, [state])[state.id]
    if as_json:
        whole = as_dict(state, _declared(data).get(state.name))
        whole["history"] = [_moment_as_dict(one) for one in moments]
        print(json.dumps(whole, indent=1))
        return
    console.print(_whole(state, moments))


@app.command()
def why(saga_id: SagaId, data: Data = None) -> None:
    """Say what a saga waits for, since when, and what helps."""
    state = saga_queries.find(open_sagas(data), saga_id)
    console.print(explain(state, _declared(data).get(state.name), utcnow()), soft_wrap=True)


@app.command()
def retry(saga_id: SagaId, data: Data = None) -> None:
    """Retry a FAILED saga's undos, or take up an UNREADABLE one."""
    with SagaClient(settings_for(data)) as client:
        _tell(client.retry(saga_id))


@app.command()
def skip(
    saga_id: SagaId,
    step: Annotated[str, typer.Argument(help="The step whose undo has failed.")],
    by: Annotated[str, typer.Option(help="Who has done it.")],
    reason: Annotated[str, typer.Option(help="How it was done, or why it need not be.")],
    data: Data = None,
) -> None:
    """Record that a person has done a failed undo; go on."""
    with SagaClient(settings_for(data)) as client:
        _tell(client.skip(saga_id, step, by, reason))


def _watch(database: peewee.Database, state: SagaState) -> None:
    """Show a saga again whenever it changes; without a terminal, what is new, line by line."""
    shown = 0
    with Live(console=console, auto_refresh=False) as live:
        while True:
            moments = histories(database, [state])[state.id]
            if console.is_terminal:
                live.update(_whole(state, moments), refresh=True)
            else:
                for one in moments[shown:]:
                    console.print(_moment(one))
            if state.ended:
                return
            shown = len(moments)
            time.sleep(LOOK_EVERY)
            state = saga_queries.find(database, state.id)


def _whole(state: SagaState, moments: list[Moment]) -> Group:
    return Group(story(state), "", *map(_moment, moments))


def _moment(one: Moment) -> Text:
    when, changes = moment(one.at, "milliseconds"), ", ".join(map(str, one.steps))
    told = line((when, "dim"), "  ", coloured(one.status, 14), f" {changes}")
    return told if one.parts is None else told + line((f"  {_written(one.parts)}", "dim"))


def _moment_as_dict(one: Moment) -> Any:
    """Return a transition as JSON-able data; the parts of its attempt's time are in seconds."""
    whole = one._asdict()
    whole["steps"] = [step._asdict() for step in one.steps]
    if one.parts is not None:
        parts = one.parts._asdict().items()
        whole["parts"] = {name: part.total_seconds() for name, part in parts}
    return to_jsonable_python(whole)


def _written(parts: Parts) -> str:
    """Write what an attempt's time was made of, in milliseconds; below zero, clocks differ."""
    told = (f"{name} {part / MILLISECOND:.1f}" for name, part in parts._asdict().items())
    return f"({', '.join(told)} ms)"


def _tell(state: SagaState) -> None:
    console.print(line(f"{state.name} {state.id} is ", coloured(state.status)))


def open_sagas(data: Path | None) -> peewee.Database:
    """Open the database of the stack that hosts sagas; raise `SagaError` if there is none."""
    settings = with_its_stacks(settings_for(data))
    for stack in read_stacks(settings.saga_stacks):
        if stack.sagas:
            database = connect(settings.database_url(stack.database))
            if isinstance(database, peewee.SqliteDatabase) and not Path(database.database).exists():
                raise NotRunning(f"no sagas in {settings.saga_data}: nothing has run there")
            return database
    raise SagaError(f"no stack in {settings.saga_stacks} hosts a saga")


def story(state: SagaState) -> Group:
    """Tell a saga as a table of its steps."""
    head = line(f"{state.name} ", (state.id, "bold"), "  ", coloured(state.status))
    if state.failure is not None:
        head.append(f"  {state.failure.step or state.failure.code}: {state.failure.message}")
    table = bare_table("STEP", "STATUS", "ATTEMPTS", "UNDOS", "TOOK", "ERROR")
    for step in state.steps:
        error = f"{step.error.code}: {step.error.message}" if step.error else ""
        attempts, undos = str(step.attempts or ""), str(step.undo_attempts or "")
        table.add_row(step.name, coloured(step.status), attempts, undos, _took(step), error)
    return Group(head, table)


def as_dict(state: SagaState, saga: Saga | None = None) -> dict[str, Any]:
    """Return a saga as JSON-able data, whole but for its history and for what is secret.

    Its input is as clients write it, where its declaration is known. Where it is not, nobody knows
    what is secret, and all values are hidden.
    """
    shown = without_secrets(state, saga)
    whole: dict[str, Any] = to_jsonable_python(shown)
    del whole["events"], whole["history"]
    if saga is not None:
        whole["input"] = hidden(classes_of(saga), under_aliases(saga.start, state.input))
    return {**whole, "context": shown.context}


def _declared(data: Path | None) -> dict[str, Saga]:
    """Return all sagas that are declared, by their names."""
    found: dict[str, Saga] = {}
    for stack in read_stacks(with_its_stacks(settings_for(data)).saga_stacks):
        for entry in stack.sagas:
            with suppress(Exception):  # whatever its code may raise, its rows can be shown
                hosted = stack.load_entry(entry)
                if isinstance(hosted, HostedSaga):
                    found[hosted.saga.name] = hosted.saga
    return found


def _in_short(failure: Failure) -> str:
    return f"{failure.step}: {failure.code}" if failure.step else failure.message


def _took(step: StepState) -> str:
    if step.started_at is None or step.finished_at is None:
        return ""
    return _seconds(step.started_at, step.finished_at)


def _seconds(begin: datetime, end: datetime) -> str:
    return f"{(end - begin).total_seconds():.3f} s"
