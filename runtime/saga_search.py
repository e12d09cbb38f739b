"""What a saga can be found by: the fields that its declaration names, and what made it fail.

The runtime knows no order and no user; it knows that `place-order` is searched by `order_id`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import peewee

from .database.schema import Table
from .database.statements import prepared
from .observer import Applied
from .saga import Saga
from .saga_rows import SagaRow
from .saga_state import SagaState

# No field has such a name.
FAILED_STEP, FAILED_CODE = "failure.step", "failure.code"
_FAILED_STEP_AND_CODE = "failure.step.code"  # fewer have both than have one of them
VALUE_LIMIT = 200  # characters; of a longer value the beginning is indexed, and looked for


Between = tuple[str | None, str | None]  # ids, neither of them included; None is no limit


class SearchRow(Table):
    """One value that one saga can be found by: `key` is `SAGA/FIELD/VALUE`.

    The table is its own index, in the order of keys and then of ids, so that a page of what is
    found is one read.
    """

    clustered = True

    key = peewee.TextField()
    saga_id = peewee.CharField(max_length=36)

    class Meta:
        """peewee's settings."""

        table_name = "saga_search"
        primary_key = peewee.CompositeKey("key", "saga_id")


def add_values(database: peewee.Database, saga: Saga, states: Iterable[SagaState]) -> None:
    """Store what new sagas can be found by, in the caller's transaction."""
    _insert.later(database, [(key, state.id) for state in states for key in keys(saga, state)])


def add_failures(database: peewee.Database, changes: Iterable[Applied]) -> None:
    """Store the steps and the codes of sagas that have just failed, in the caller's transaction."""
    failed = [c.new for c in changes if c.new.failure is not None and c.old.failure is None]
    _insert.later(database, [(key, state.id) for state in failed for key in failure_keys(state)])


def keys(saga: Saga, state: SagaState) -> list[str]:
    """Return the keys of the values that a saga was started with."""
    values = {field: state.input.get(field) for field in saga.search}
    return [_key(saga.name, name, value) for name, value in values.items() if value is not None]


def failure_keys(state: SagaState) -> list[str]:
    """Return the keys of the step that has failed, and of the code of its error, if one has."""
    if state.failure is None:
        return []
    told = {FAILED_STEP: state.failure.step, FAILED_CODE: state.failure.code}
    told[_FAILED_STEP_AND_CODE] = _both(told)
    return [_key(state.name, name, value) for name, value in told.items()]


@prepared
def _insert(key: str, saga_id: str) -> Any:
    # A saga that fails once more, as a row may that was edited by hand, is found as it is.
    return SearchRow.insert(key=key, saga_id=saga_id).on_conflict_ignore()


def select_matching(saga: Saga, values: Mapping[str, Any], ids: Between, *, newest: bool) -> Any:
    """Return the query for the ids between two of the sagas that have all the values, in order.

    It reads the search's table in its own order, and the sagas by their ids: they are the query's
    `SagaRow`, for further conditions.
    """
    if {FAILED_STEP, FAILED_CODE} <= values.keys():
        rest = {name: values[name] for name in values if name not in (FAILED_STEP, FAILED_CODE)}
        values = {**rest, _FAILED_STEP_AND_CODE: _both(values)}
    first, *others = [SearchRow.alias() for _ in values]
    wanted = [_key(saga.name, field, value) for field, value in values.items()]
    query = first.select(first.saga_id).where(first.key == wanted[0])
    above, below = ids
    if above is not None:
        query = query.where(first.saga_id > above)
    if below is not None:
        query = query.where(first.saga_id < below)
    for other, key in zip(others, wanted[1:], strict=True):
        query = query.join(other, peewee.JOIN.CROSS)
        query = query.where(other.key == key, other.saga_id == first.saga_id)
    # Of all kinds of join, only this one lets SQLite keep the tables' order.
    query = query.join(SagaRow, peewee.JOIN.CROSS).where(SagaRow.id == first.saga_id)
    return query.order_by(first.saga_id.desc() if newest else first.saga_id)


def _both(told: Mapping[str, Any]) -> str:
    return f"{told[FAILED_STEP]}/{told[FAILED_CODE]}"


def _key(name: str, field: str, value: Any) -> str:
    # A NUL is text in JSON, and in no column of PostgreSQL.
    text = str(value)[:VALUE_LIMIT].replace("\0", "\ufffd")
    return f"{name}/{field}/{text}"
