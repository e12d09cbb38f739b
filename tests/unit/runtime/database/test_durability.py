"""What was committed survives a power cut, and no silent server holds anybody for ever.

Asked of the connections that processes really use: those of functions and sagas, of adapters, of
clients; of each connection that is opened, and of one that takes the place of a broken one.
"""

import signal
from threading import Barrier

import peewee
import pytest
from pydantic import SecretStr

from saga.runtime import SagaClient
from saga.runtime.system import host
from saga.runtime.system.stack import read_stack
from saga.runtime.web.app import new_app
from saga.runtime.web.threads import THREADS
from support.waiting import DEADLINE

SQLITE = {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 5_000}  # 2 is FULL
POSTGRES = {"synchronous_commit": "on", "transaction_isolation": "read committed"}
KEEPALIVES = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}
PATIENCE = {"connect_timeout": "5", "tcp_user_timeout": "10000", **KEEPALIVES}


def kept(database):
    """Tell how a connection keeps what is committed, and how long it waits for its server."""
    if isinstance(database, peewee.SqliteDatabase):
        return {name: database.pragma(name) for name in SQLITE}
    shown = {name: database.execute_sql(f"SHOW {name}").fetchone()[0] for name in POSTGRES}
    parameters = database.connection().info.get_parameters()
    return shown | {name: parameters.get(name) for name in PATIENCE}


def kept_always(database):
    """Tell it of this connection and of the one that is opened after it."""
    first = kept(database)
    database.close()
    return [first, kept(database)]


@pytest.fixture(params=["sqlite", "postgres"])
def promise(request, settings):
    """Settings that lead to a database, and what is promised of a connection to it."""
    if request.param == "sqlite":
        return settings, SQLITE
    request.getfixturevalue("postgres")
    url = SecretStr(request.getfixturevalue("postgres_url"))
    return settings.model_copy(update={"saga_database_url": url}), POSTGRES | PATIENCE


@pytest.mark.parametrize(
    ("service", "entry"), [("order", "create_order"), ("orchestrator", "place_order")]
)
def test_functions_and_sagas_keep_what_they_commit(promise, monkeypatch, service, entry):
    settings, promised = promise
    found = []
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(host, "create_topics", lambda *_: None)
    monkeypatch.setattr(host, "_run", lambda _, database, *__: found.extend(kept_always(database)))
    host.run_entry(read_stack(settings.saga_stacks / f"{service}.toml"), entry, settings)
    assert found == [promised, promised]


def test_adapters_keep_what_they_commit_in_every_thread(promise, start):
    settings, promised = promise
    threads = start(new_app("order", settings, [])).app.ctx.threads
    everybody = Barrier(THREADS)

    def kept_here(_):
        everybody.wait(DEADLINE)
        return kept(threads.database)

    assert list(threads._pool.map(kept_here, range(THREADS))) == [promised] * THREADS


def test_clients_keep_what_they_commit(promise):
    settings, promised = promise
    somewhere = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    with SagaClient(somewhere) as client:
        assert kept_always(client._database) == [promised, promised]
