"""Start, find, await, cancel, retry and skip from Python, as the adapters do over HTTP."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import tenacity
from uuid_utils.compat import uuid7

from . import saga_queries
from .clock import utcnow
from .database.connection import UNAVAILABLE, connect
from .database.schema import create_missing
from .errors import BrokerUnavailable, ContractError, SagaError
from .message import Message
from .saga import Saga
from .saga_rows import SagaRow
from .saga_state import SagaState
from .saga_store import TABLES, SagaStore, Start
from .settings import Settings
from .system.stack import Stack, read_stacks
from .system.state import read_system, with_its_stacks
from .traceparent import current_traceparent
from .transition import Transition

if TYPE_CHECKING:
    from .kafka.producer import Producer

log = logging.getLogger(__name__)

LONGEST_KEY = SagaRow.idempotency_key.max_length  # characters
POLL = 0.02  # seconds between two looks at a saga that is waited for


class SagaClient:
    """The sagas of one service, to be used in a `with` block; threads may share it.

    It has one connection to the service's database, on which threads take turns, and one producer.
    Without `settings`, those of the environment count. `service` names the service that hosts the
    sagas; it need not be told where only one does. Raises `ContractError` where none does, and
    `NotRunning` where neither KAFKA_BOOTSTRAP_SERVERS nor a running system tells the broker.
    """

    def __init__(self, settings: Settings | None = None, service: str | None = None) -> None:
        settings = with_its_stacks(settings or Settings())
        self._stack = _hosting(settings, service)
        self._settings = _with_broker(settings)
        self._database = connect(settings.database_url(self._stack.database), shared=True)
        self._store = SagaStore(self._database)
        self._turn = threading.RLock()
        self._kafka: Producer | None = None
        self._closed = False
        create_missing(self._database, TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Deliver what is still on its way, and close the connection."""
        with self._turn:
            self._closed = True
            if self._kafka is not None:
                self._kafka.close()
            self._database.close()

    def start(self, saga: Saga, message: Message, key: str | None = None) -> SagaState:
        """Store a new saga, then send its first command; return the saga.

        Where the command can't be sent, the saga is returned all the same: its row is there, and
        its host sends the command. The same `key` with the same message gives the saga
        of the first time; raises `Conflict` where it was used with another message, or over HTTP.
        Raises `ContractError` where the service does not host this saga, and for a key that can't
        be stored.
        """
        if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
            raise ContractError(
                f"key is {key[:50]!r}, of {len(key)}: give 1 to {LONGEST_KEY} printable characters"
            )
        trace, text = current_traceparent(), message.model_dump_json()
        request = Start(str(self._new_id()), message, key, text, trace)
        with self._connection():
            if saga.name not in self._sagas:
                raise ContractError(
                    f"{self._stack.service} hosts no saga {saga.name!r}: "
                    f"is {self._settings.saga_stacks} the right folder? SAGA_STACKS names it"
                )
            [started] = self._store.start(saga, [request], utcnow())
        if isinstance(started, Exception):
            raise started
        return self._send(started)

    def find(self, saga_id: str) -> SagaState:
        """Return a saga, UNREADABLE where its row can't be read; raise `NotFound`."""
        with self._connection():
            return saga_queries.find(self._database, saga_id)

    def wait(self, saga_id: str, timeout: float) -> SagaState:
        """Return a saga once it has ended, or as it is after `timeout` seconds; see `.ended`.

        A database that is away meanwhile is asked again; it is an error when the time is up.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda state: not state.ended)
            | tenacity.retry_if_exception_type(UNAVAILABLE),
            stop=tenacity.stop_after_delay(timeout),
            wait=tenacity.wait_fixed(POLL),
            retry_error_callback=lambda tried: tried.outcome.result() if tried.outcome else None,
        )
        state: SagaState = retrying(self.find, saga_id)
        return state

    def cancel(self, saga_id: str) -> SagaState:
        """Undo a saga that runs; raise `NotFound`, or `Conflict` when it has ended."""
        return self._change(self._store.cancel, saga_id)

    def retry(self, saga_id: str) -> SagaState:
        """Try a FAILED saga's failed undos again, or take up one that was UNREADABLE.

        Raises `NotFound`, or `Conflict` when it has not failed or still can't be read.
        """
        return self._change(self._store.retry, saga_id)

    def skip(self, saga_id: str, step: str, by: str, reason: str) -> SagaState:
        """Record that a person has done a step's failed undo by hand, and go on.

        Of `by`, who it was, 100 characters are kept, of `reason` 500. Raises `NotFound`, or
        `Conflict` when there is no such failed undo, or where nobody or no reason is named.
        """
        change = partial(self._store.skip, step=step, by=by, reason=reason)
        return self._change(change, saga_id)

    def _new_id(self) -> UUID:
        return uuid7()

    def _change(self, change: Callable[..., Transition], saga_id: str) -> SagaState:
        with self._connection():
            name = saga_queries.find(self._database, saga_id).name
            if name not in self._sagas:
                raise ContractError(f"{self._stack.service} hosts no saga {name!r}")
            changed = change(self._sagas[name], saga_id, utcnow())
        return self._send(changed)

    def _send(self, changed: Transition) -> SagaState:
        state, commands = changed
        try:
            if commands:
                self._producer().send(commands)
        except Exception as error:
            # Raised, it would make the caller start a saga twice. One of ours needs no traceback.
            unknown = not isinstance(error, BrokerUnavailable)
            told = "%d commands not sent, the saga's host will: %s"
            log.warning(told, len(commands), error, exc_info=unknown)
        return state

    def _producer(self) -> "Producer":
        from .kafka.producer import Producer  # importing Quix Streams takes a second

        with self._turn:
            if self._kafka is None:
                self._kafka = Producer(self._settings)
            return self._kafka

    @cached_property
    def _sagas(self) -> dict[str, Saga]:
        # As the user's program imports them: its environment is not ours to change.
        hosted: list[Any] = [self._stack.import_entry(name) for name in self._stack.sagas]
        return {one.saga.name: one.saga for one in hosted}

    @contextmanager
    def _connection(self) -> Iterator[None]:
        with self._turn:
            if self._closed:
                raise SagaError("this client is closed: use it inside of its `with` block")
            try:
                yield
            except UNAVAILABLE:
                self._database.close()  # the next call opens another
                raise


def _hosting(settings: Settings, service: str | None) -> Stack:
    """Return the stack that hosts sagas; raise `ContractError` unless it is one."""
    stacks = [stack for stack in read_stacks(settings.saga_stacks) if stack.sagas]
    found = [stack for stack in stacks if service in (None, stack.service)]
    if len(found) != 1:
        names = ", ".join(stack.service for stack in stacks) or "none"
        raise ContractError(
            f"which service's sagas? In {settings.saga_stacks} these host some: {names}"
        )
    return found[0]


def _with_broker(settings: Settings) -> Settings:
    if settings.kafka_bootstrap_servers is not None:
        return settings
    return settings.on_broker(read_system(settings.saga_data).broker)
