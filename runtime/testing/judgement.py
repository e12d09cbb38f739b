"""The judge of sagas: finds what any client could complain about, whatever the saga's business.

It knows what is right, and no bug: each request has one saga, which is the one asked for, has ended
for a reason, has done and undone its steps in order and in time, is found by what it is searched
by, and is on one page of the list.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import peewee
from pydantic import ValidationError

from .. import saga_queries
from ..errors import first_line
from ..saga import Saga
from ..saga_history import histories
from ..saga_queries import CHUNK
from ..saga_rows import SagaRow
from ..saga_search import SearchRow, failure_keys, keys
from ..saga_state import SKIPPED, SagaState, from_json
from .ending import ending_problems
from .path import Transitions, path_problems
from .request import MAY_FOLLOW, Request
from .sending import sending_problems, sendings

ENDS = ("COMPLETED", "COMPENSATED")
PAGES = 4  # in which the list is read
# Ends that no client has caused; how many of them are too many depends on what goes wrong.
EXCUSES = frozenset({"attempts_exhausted", "deadline_exceeded"})


@dataclass(frozen=True)
class Case:
    """A request and the saga that came of it."""

    request: Request
    state: SagaState
    path: Transitions

    def __str__(self) -> str:
        return f"saga {self.state.id}"

    @property
    def code(self) -> str:
        """Why the saga compensated; empty where it did not."""
        return self.state.failure.code if self.state.failure else ""


@dataclass
class Judgement:
    """What does not fit, and how much of each kind was there to be judged."""

    violations: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    cases: list[Case] = field(default_factory=list)

    def add(self, case: Case, problems: Iterable[str]) -> None:
        """Note what does not fit with a case."""
        self.violations += [f"{case}: {problem}" for problem in problems]


def sagas_of(saga: Saga, database: peewee.Database) -> frozenset[str]:
    """Return the ids of all sagas of a declaration: taken before, they are not judged."""
    query = SagaRow.select(SagaRow.id).where(SagaRow.name == saga.name).bind(database)
    return frozenset(saga_id for (saga_id,) in query.tuples())


def judge(
    saga: Saga,
    database: peewee.Database,
    requests: Sequence[Request],
    before: frozenset[str] = frozenset(),
    excuses: Collection[str] = EXCUSES,
) -> Judgement:
    """Judge all sagas of a declaration that were not there `before`, by what clients know.

    Sagas that failed by one of the codes in `excuses` are counted as `excused`. All are judged by
    this one declaration: those that began under another, with other attempts or time-outs, are
    to be among those `before`.
    """
    found = Judgement()
    states, keys = _read(saga, database, before, found.violations)
    if not found.violations:  # no list shows what can't be read
        found.violations += _list_problems(saga, database, sorted(states), before)
    paths = histories(database, states.values())
    for request, saga_ids in _given(requests, keys):
        found.violations += _told_problems(request, saga_ids, states)
        found.cases += [
            Case(request, states[saga_id], paths[saga_id])
            for saga_id in sorted(saga_ids)
            if saga_id in states
        ]
    found.violations += _shared(found.cases)
    asked_for = {case.state.id for case in found.cases}
    found.violations += [
        f"saga {saga_id}: nobody asked for it" for saga_id in states if saga_id not in asked_for
    ]
    searched = _searched(database, list(states))
    for case in found.cases:
        found.add(case, _case_problems(saga, case))
        found.add(case, _search_problems(saga, case.state, searched))
        found.seen.update(_kinds(case))
        found.seen["excused"] += case.code in excuses
    return found


def _read(
    saga: Saga, database: peewee.Database, before: frozenset[str], found: list[str]
) -> tuple[dict[str, SagaState], dict[str, list[str]]]:
    """Return the new sagas by id, and their ids by idempotency key."""
    states: dict[str, SagaState] = {}
    keys: dict[str, list[str]] = {}
    row = SagaRow
    query = row.select(row.id, row.idempotency_key, row.status, row.due_at, row.state)
    query = query.bind(database)
    rows = [
        found
        for chunk in peewee.chunked(sorted(sagas_of(saga, database) - before), CHUNK)
        for found in query.where(row.id.in_(chunk)).tuples()
    ]
    for saga_id, key, status, due_at, text in rows:
        try:
            states[saga_id] = from_json(text)
        except ValidationError as error:
            found.append(f"saga {saga_id}: can't be read: {first_line(error)}")
            continue
        state = states[saga_id]
        if state.status != status:
            found.append(f"saga {saga_id}: is {state.status}, and its column {status}")
        if not _looked_at_in_time(state.due_at, due_at):
            found.append(f"saga {saga_id}: is due at {state.due_at}, and its column {due_at}")
        if key is not None:
            keys.setdefault(key, []).append(saga_id)
    return states, keys


def _looked_at_in_time(due_at: datetime | None, column: datetime | None) -> bool:
    if due_at is None or column is None:
        return due_at is column
    return column <= due_at


def _list_problems(
    saga: Saga, database: peewee.Database, saga_ids: Sequence[str], before: frozenset[str]
) -> Iterator[str]:
    """Read the list page by page, as a client does: each saga is on one page, the oldest first."""
    listed: list[str] = []
    # From where the new ones begin: there may be very many others.
    last = max((i for i in before if saga_ids and i < saga_ids[0]), default=None)
    limit = len(saga_ids) // PAGES + 1
    for _ in range((len(saga_ids) + len(before)) // limit + 1):
        page = saga_queries.page(database, limit, last, saga=saga)
        listed += [state.id for state in page if state.id not in before]
        last = page[-1].id if page else last
    times = Counter(listed)
    for saga_id, wanted in {**dict.fromkeys(listed, 0), **dict.fromkeys(saga_ids, 1)}.items():
        if times[saga_id] != wanted:
            yield f"saga {saga_id}: is {times[saga_id]} times on the pages of the list"
    if listed != sorted(listed):
        yield "the list is not in the order of its ids"


def _given(
    requests: Sequence[Request], keys: dict[str, list[str]]
) -> Iterator[tuple[Request, set[str]]]:
    """Yield each request with the sagas that it has started, as far as anybody knows."""
    for request in requests:
        by_key = keys.get(request.key, []) if request.key is not None else []
        yield request, {*request.told, *by_key}


def _told_problems(
    request: Request, saga_ids: set[str], states: dict[str, SagaState]
) -> Iterator[str]:
    for saga_id in sorted(set(request.told) - states.keys()):
        yield f"saga {saga_id}: accepted, but there is no row"
    if len(saga_ids) > 1:
        yield f"one request started {len(saga_ids)} sagas: {', '.join(sorted(saga_ids))}"


def _shared(cases: Iterable[Case]) -> Iterator[str]:
    clients = Counter(case.state.id for case in cases)
    for saga_id, count in clients.items():
        if count > 1:
            yield f"saga {saga_id}: {count} clients were given it"


def _case_problems(saga: Saga, case: Case) -> Iterator[str]:
    state, request = case.state, case.request
    if state.status not in ENDS:
        yield f"has not ended: {state.status}"
    if state.status not in MAY_FOLLOW[request.heard]:
        yield f"is {state.status}, and its client has heard that it is {request.heard}"
    got = {name: state.input.get(name) for name in request.wanted}
    if got != request.wanted:
        yield f"is for {got}, asked was {request.wanted}"
    if others := sorted(state.input.keys() - saga.start.model_fields.keys()):
        yield f"has {', '.join(others)} in its input, which was not in the request"
    yield from ending_problems(state)
    yield from path_problems(saga, state, case.path)
    yield from sending_problems(saga, state, case.path)
    if state.status == "COMPLETED" and request.cancel == "accepted":
        yield "COMPLETED, though its cancellation was accepted"
    if case.code == "cancelled" and request.cancel == "no":
        yield "cancelled, which nobody asked for"


def _search_problems(saga: Saga, state: SagaState, searched: dict[str, set[str]]) -> Iterator[str]:
    wanted = {*keys(saga, state), *failure_keys(state)}
    found = searched.get(state.id, set())
    if found != wanted:
        yield f"is found by {sorted(found)}, not by {sorted(wanted)}"


def _searched(database: peewee.Database, saga_ids: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    query = SearchRow.select(SearchRow.saga_id, SearchRow.key).bind(database)
    for chunk in peewee.chunked(saga_ids, 500):
        for saga_id, key in query.where(SearchRow.saga_id.in_(chunk)).tuples():
            found.setdefault(saga_id, set()).add(key)
    return found


def _kinds(case: Case) -> Iterator[str]:
    """Say of what kinds a case is, to count them."""
    yield case.state.status.lower()
    if case.code == "cancelled":
        yield "cancels"
    if any(step.error and step.error.code == SKIPPED for step in case.state.steps):
        yield "skips"
    if any(one.number > 1 or one.silences for one in sendings(case.path)):
        yield "retries"
    if case.request.tries > 1:
        yield "repeated requests"
    if case.request.reads:
        yield "read again"
