"""Driving sagas in the orchestrator's database: one row each, with its history.

The row is the truth about a saga. Whatever the broker loses, the saga's host sends again from here.
One that can't be read, of another version perhaps, is set aside as it is.
"""

import hashlib
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import peewee

from . import intervention, saga_changes, saga_guard, saga_rows, transition, unsent
from .database.connection import transaction
from .database.schema import Table
from .envelope import Envelope, Reply
from .errors import Conflict, NotFound, Unreadable
from .message import Message
from .observer import Applied
from .saga import Saga
from .saga_history import recorded
from .saga_rows import SagaRow
from .saga_search import SearchRow, add_failures, add_values
from .saga_state import SagaState, Written, to_json
from .stamps import between
from .transition import Transition

HASH_LENGTH = 32  # characters; version 0.1 has stored twice as many
SWEEP_LIMIT = 500  # sagas acted on in one transaction

TABLES: list[type[Table]] = [SagaRow, SearchRow, saga_changes.ChangeRow]


@dataclass(frozen=True, slots=True)
class Start:
    """A saga to be started.

    `fingerprint` is what makes two requests with one `idempotency_key` the same.
    """

    saga_id: str
    message: Message
    idempotency_key: str | None = None
    fingerprint: str = ""
    traceparent: str | None = None

    @property
    def request_hash(self) -> str | None:
        """The fingerprint's hash, where there is a key to keep it with."""
        if self.idempotency_key is None:
            return None
        return hashlib.sha256(self.fingerprint.encode()).hexdigest()[:HASH_LENGTH]


Started = Transition | Exception
Write = Callable[[SagaState], str]


class SagaStore:
    """The sagas in one database, for threads as far as it is; one alone advances and sweeps.

    `on_change` hears of each change of one that has begun, and its row's text, before the commit.
    """

    def __init__(
        self, database: peewee.Database, on_change: Callable[[Applied, str], None] = lambda *_: None
    ) -> None:
        self.database = database
        self._on_change = on_change
        self._written = Written()

    def start(self, saga: Saga, requests: Sequence[Start], now: datetime) -> list[Started]:
        """Store new sagas in one transaction; return each with the command that the caller sends.

        When an idempotency key was used before with the same fingerprint, the saga of that time is
        returned, with no command. An error is returned in the place of what can't be started: a
        `Conflict` for a key with another fingerprint, or whatever the message's own code raises.
        """
        try:
            with transaction(self.database):
                return self._start(saga, requests, now)
        except peewee.IntegrityError:
            # Another process took one of the keys while we did; now its row is there to be found.
            with transaction(self.database):
                return self._start(saga, requests, now)

    def advance(self, saga: Saga, replies: Sequence[Reply], now: datetime) -> list[Envelope]:
        """Apply replies to their sagas, in the caller's transaction; return the commands to send.

        A reply to a saga that is not here is passed over: its command came from somebody else.
        """
        ids = {reply.saga_id for reply in replies}
        before = saga_guard.load(self.database, saga, ids, now, self._written.read)
        after, commands, changed = dict(before), [], dict[str, Applied]()
        for reply in replies:
            if (state := after.get(reply.saga_id)) is not None:
                change = partial(transition.on_reply, saga, reply=reply, now=now)
                new, more = saga_guard.apply(saga, state, change, now)
                commands += more
                if new is not state:
                    after[state.id], old = new, before[state.id]
                    took = between(reply.stamps, new.updated_at) if reply.stamps else ()
                    changed[state.id] = Applied(reply, old, recorded(old, new, took), took)
        self._save(list(changed.values()), self._written.write)
        return commands

    def due(self, saga: Saga, now: datetime) -> Sized:
        """Return one of the sagas that may be due, if there is one; it takes no lock."""
        one: Sized = saga_rows.select_one_due.on(self.database, saga.name, now)
        return one

    def sweep(self, saga: Saga, now: datetime) -> list[Envelope]:
        """Act on sagas that are due, in the caller's transaction; return the commands to send.

        They are `unsent` until somebody notes that they are.
        """
        later_at = now + timedelta(minutes=1)
        changed, commands = [], []
        due = saga_rows.select_due.on(self.database, saga.name, now, SWEEP_LIMIT)
        for saga_id, text, due_at in due:
            state = saga_guard.read(saga_id, saga.name, text)
            if state.status == "UNREADABLE":
                saga_guard.set_aside(self.database, state, now)
                continue
            act = unsent.resend if unsent.is_early(due_at, state, now) else transition.on_due
            new, more = saga_guard.apply(saga, state, partial(act, saga, now=now), now)
            if new is state and state.due_at is not None and state.due_at <= now:
                # One that can't be helped is looked at later, and makes room for the others.
                new = replace(state, due_at=later_at)
            changed.append(Applied(None, state, recorded(state, new)))
            commands += more
        self._save(changed, self._written.write, swept=True)
        unsent.mark(self.database, [change.new for change in changed], commands, now)
        return commands

    def cancel(self, saga: Saga, saga_id: str, now: datetime) -> Transition:
        """Cancel a saga; raise `NotFound`, or `Conflict` when it has ended."""
        return self._change(saga, saga_id, now, lambda state: intervention.cancel(saga, state, now))

    def retry(self, saga: Saga, saga_id: str, now: datetime) -> Transition:
        """Retry a failed saga's undos, or take one up that was UNREADABLE and can be read again.

        Raises `NotFound`, or `Conflict`.
        """
        with transaction(self.database):
            if taken_up := saga_guard.take_up(self.database, saga, saga_id, now):
                return taken_up, []
        return self._change(saga, saga_id, now, lambda state: intervention.retry(saga, state, now))

    def skip(
        self, saga: Saga, saga_id: str, now: datetime, *, step: str, by: str, reason: str
    ) -> Transition:
        """Record that a person has done a failed undo by hand; raise `NotFound`, or `Conflict`."""
        return self._change(
            saga, saga_id, now, lambda state: intervention.skip(saga, state, step, by, reason, now)
        )

    def _start(self, saga: Saga, requests: Sequence[Start], now: datetime) -> list[Started]:
        taken = self._taken_keys(requests)
        results: list[Started] = []
        rows, fresh = [], []
        for request in requests:
            key, request_hash = request.idempotency_key, request.request_hash
            if key is not None and key in taken:
                earlier_hash, earlier = taken[key]
                what = "for another saga" if earlier.name != saga.name else "with another body"
                same = earlier_hash == request_hash and earlier.name == saga.name
                conflict = Conflict(f"Idempotency-Key {key!r} was used {what}", "key_reused")
                results.append((earlier, []) if same else conflict)
                continue
            begun = saga_guard.begin(
                saga, request.saga_id, request.message, now, request.traceparent
            )
            results.append(begun)
            if isinstance(begun, Exception):
                continue
            state = begun[0]
            columns = state.id, state.status, state.due_at, to_json(state)
            rows.append((*columns, saga.name, key, request_hash))
            fresh.append(state)
            if key is not None:
                taken[key] = (request_hash, state)
        saga_rows.insert.later(self.database, rows)
        add_values(self.database, saga, fresh)
        saga_changes.note(self.database, [(None, state) for state in fresh])
        return results

    def _taken_keys(self, requests: Sequence[Start]) -> dict[str, tuple[str | None, SagaState]]:
        keys = [r.idempotency_key for r in requests if r.idempotency_key is not None]
        if not keys:
            return {}
        found = saga_rows.select_taken.on(self.database, keys)
        return {key: ((was or "")[:HASH_LENGTH], saga_guard.read(*row)) for key, was, *row in found}

    def _change(
        self, saga: Saga, saga_id: str, now: datetime, change: Callable[[SagaState], Transition]
    ) -> Transition:
        with transaction(self.database):
            state = saga_guard.load(self.database, saga, {saga_id}, now).get(saga_id)
            if state is None:
                raise NotFound(f"no saga {saga_id}")
            if state.status == "UNREADABLE":
                raise Unreadable(f"saga {saga_id} {state.failure and state.failure.message}")
            new, commands = change(state)
            if new is not state:
                new = recorded(state, new)
                self._save([Applied(None, state, new)])
        return new, commands

    def _save(self, changes: list[Applied], write: Write = to_json, *, swept: bool = False) -> None:
        moved: list[tuple[Any, ...]] = []
        stayed: list[tuple[str, str]] = []
        for change in changes:
            new, text = change.new, write(change.new)
            if swept or _moves(change.old, new):
                moved.append((new.id, new.status, new.due_at, text))
            else:
                stayed.append((new.id, text))
            self._on_change(change, text)
        saga_rows.update.later(self.database, moved)
        saga_rows.update_state.later(self.database, stayed)
        add_failures(self.database, changes)
        saga_changes.note(self.database, [(change.old, change.new) for change in changes])


def _moves(old: SagaState, new: SagaState) -> bool:
    """Tell whether a saga's other columns change, too."""
    if old.due_at is None or new.due_at is None:
        return True
    return new.status != old.status or new.due_at < old.due_at
