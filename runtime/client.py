"""Start a saga from Python, as `POST /orders` does over HTTP."""

from uuid_utils.compat import uuid7

from . import saga_store
from .clock import utcnow
from .database.connection import bind, connect
from .errors import Conflict, ContractError
from .message import Message
from .saga import Saga
from .saga_store import Start
from .settings import Settings
from .system.stack import Stack, read_stacks
from .system.state import read_system
from .transition import SagaState


def start(saga: Saga, message: Message, settings: Settings | None = None) -> SagaState:
    """Store a new saga, then send its first command; return the saga.

    Without settings, those of the environment count. Raises `NotRunning` where neither
    KAFKA_BOOTSTRAP_SERVERS nor a running system tells where the broker is, and `BrokerUnavailable`
    where it does not answer: then the saga is stored, and the sweeper sends its command.
    """
    from .kafka.producer import Producer  # importing Quix Streams takes a second

    settings = _with_broker(settings or Settings())
    database = connect(settings.database_url(_stack_of(saga, settings).database))
    bind(database, saga_store.TABLES)
    [started] = saga_store.start(saga, [Start(str(uuid7()), message)], utcnow())
    if isinstance(started, Conflict):
        raise started
    state, commands = started
    Producer(settings).send(commands)
    return state


def _stack_of(saga: Saga, settings: Settings) -> Stack:
    """Return the stack that runs a saga; raise `ContractError` if none does."""
    for stack in read_stacks(settings.saga_stacks):
        if any(f.saga is not None and f.saga.name == saga.name for f, _ in stack.load()):
            return stack
    raise ContractError(f"no stack in {settings.saga_stacks} runs saga {saga.name!r}")


def _with_broker(settings: Settings) -> Settings:
    if settings.kafka_bootstrap_servers is not None:
        return settings
    return settings.on_broker(read_system(settings.saga_data).broker)
