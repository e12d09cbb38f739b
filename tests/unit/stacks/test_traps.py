"""A trap catches what is ordered of its product, on either database, and nothing else."""

import json
import os
import random
import signal
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import peewee
import pytest

from saga.functions.product.store import Product, Reservation, hold_units
from saga.functions.user.store import User
from saga.runtime import utcnow
from saga.runtime.database.connection import CommitRefused, batch_transaction, connect
from saga.runtime.database.schema import bind
from saga.runtime.dead_letter import DeadLetter
from saga.runtime.envelope import Record
from saga.runtime.system.process import ProcessInfo
from saga.runtime.testing.request import Request
from saga.stacks import traps as traps_module
from saga.stacks.calls import Answer
from saga.stacks.traps import FAILS, HANGS, IS_REFUSED, SET_ASIDE, Traps

MANY = 1_000_000  # instructions of SQLite's; a statement that ends takes hundreds


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty database that is still there when its connection is closed."""
    if request.param == "sqlite":
        return connect(f"sqlite:///{tmp_path}/product.db")
    return request.getfixturevalue("postgres")


@pytest.fixture
def traps(database: peewee.Database, tmp_path: Path) -> Any:
    bind(database, [Product, Reservation, User])
    (tmp_path / "logs").mkdir()
    made = Traps(tmp_path, ("127.0.0.1", 1), random.Random(1))
    with closing(database):
        yield made


def hold(database: peewee.Database, product: int) -> None:
    with batch_transaction(database):
        hold_units(uuid4(), product, 1, utcnow())


def held() -> int:
    return int(Reservation.select().count())


def product_of(traps: Traps, kind: str) -> int:
    return traps._products[kind]


def test_handler_fails_in_its_trap_alone(traps: Traps, database: peewee.Database) -> None:
    with traps.laid():
        with pytest.raises(peewee.DatabaseError, match="a trap"):
            hold(database, product_of(traps, FAILS))
        hold(database, 10**6)
    hold(database, product_of(traps, FAILS))
    assert held() == 2


def test_handler_hangs_in_its_trap(traps: Traps, database: peewee.Database) -> None:
    """It ends when somebody else ends it."""
    with traps.laid():
        if isinstance(database, peewee.SqliteDatabase):
            database.connection().set_progress_handler(lambda: 1, MANY)
        else:
            database.execute_sql("SET statement_timeout = '1s'")
        with pytest.raises(peewee.OperationalError):
            hold(database, product_of(traps, HANGS))
    hold(database, product_of(traps, HANGS))
    assert held() == 1


def test_commit_is_refused_in_its_trap(postgres: peewee.Database, tmp_path: Path) -> None:
    bind(postgres, [Product, Reservation, User])
    made = Traps(tmp_path, ("127.0.0.1", 1), random.Random(1))
    with made.laid(), pytest.raises(CommitRefused, match="a trap"):
        hold(postgres, product_of(made, IS_REFUSED))
    hold(postgres, product_of(made, IS_REFUSED))
    assert held() == 1


def test_traps_of_a_run_that_was_killed_are_taken_away(
    traps: Traps, database: peewee.Database
) -> None:
    for kind, product in traps._products.items():
        traps._run(traps._laying(kind, product))
    later = Traps(traps._data, ("127.0.0.1", 1), random.Random(1))
    with later.laid():
        hold(database, product_of(traps, FAILS))
        with pytest.raises(peewee.DatabaseError, match="a trap"):
            hold(database, product_of(later, FAILS))
    assert held() == 1


def test_each_trap_is_led_into_once_and_what_hangs_comes_last(
    traps: Traps, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[Request] = []
    spared: list[Collection[str]] = []

    def place(request: Request) -> None:
        placed.append(request)
        spared.append(traps.spared())

    monkeypatch.setattr(traps.buyer._client, "place", place)
    monkeypatch.setattr(traps, "_end_what_hangs", place)
    assert traps.missing() == [*traps._products]
    for _ in range(9):
        traps.happen()
    assert placed == [*traps.buyer.requests, traps.buyer.requests[-1]]
    kinds = [traps._kind(request) for request in traps.buyer.requests]
    assert sorted(kinds[:-1]) == sorted({*traps._products} - {HANGS})
    assert kinds[-1] == HANGS
    caught = ("product.reserve_product",)
    assert spared == [*[()] * len(kinds[:-1]), caught, caught]
    assert traps.missing() == []
    assert traps.spared() == ()


def test_what_hangs_is_ended_until_its_saga_has_heard_of_it(
    traps: Traps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who goes on is left alone."""
    stuck = [True, False, True, True]
    signals: list[tuple[str, int]] = []
    hanging = ProcessInfo(name="a", kind="function", deployed="product.reserve_product")
    other = ProcessInfo(name="b", kind="function", deployed="product.release_product")
    running = SimpleNamespace(processes=[hanging, other])
    monkeypatch.setattr(traps_module, "HANGS_AFTER", 0.0)
    monkeypatch.setattr(traps_module, "read_system", lambda _: running)
    monkeypatch.setattr(ProcessInfo, "signal", lambda it, n: signals.append((it.name, n)))
    monkeypatch.setattr(traps, "_is_stuck", lambda: stuck.pop(0))
    monkeypatch.setattr(traps, "_is_unanswered", lambda _: bool(stuck))
    monkeypatch.setattr(traps.done, "wait", lambda _: False)
    traps._end_what_hangs(Request({}))
    assert signals == [("a", signal.SIGALRM)] * 3


def test_what_hangs_on_postgresql_is_known(
    postgres: peewee.Database, postgres_url: str, tmp_path: Path, until: Callable[..., Any]
) -> None:
    bind(postgres, [Product, Reservation, User])
    made = Traps(tmp_path, ("127.0.0.1", 1), random.Random(1))
    assert not made._is_stuck()
    with ThreadPoolExecutor(1) as pool, closing(connect(postgres_url, shared=True)) as other:
        asleep = pool.submit(other.execute_sql, "SELECT pg_sleep(3600)")
        until(made._is_stuck, "it is known")
        made._ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        )
        with pytest.raises(peewee.OperationalError):
            asleep.result()
    until(lambda: not made._is_stuck(), "it has ended")


def test_who_writes_to_sqlite_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = connect(f"sqlite:///{tmp_path}/product.db")
    bind(database, [Product, Reservation, User])
    made = Traps(tmp_path, ("127.0.0.1", 1), random.Random(1))
    us = ProcessInfo(name="a", kind="function", deployed="product.reserve_product", pid=os.getpid())
    monkeypatch.setattr(made, "_caught", lambda: [us])
    with closing(database):
        assert not made._is_stuck()
        with database.atomic("IMMEDIATE"):
            assert made._is_stuck()
            us.pid = os.getppid()
            assert not made._is_stuck()


@pytest.mark.parametrize(
    ("status", "attempts", "unanswered"),
    [
        ("RUNNING", [0], True),
        ("RUNNING", [1], True),
        ("UNREADABLE", [], True),
        ("RUNNING", [2], False),
        ("COMPENSATED", [1], False),
    ],
)
def test_saga_of_what_hangs_tells_whether_that_was_answered(
    traps: Traps,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    attempts: list[int],
    unanswered: bool,
) -> None:
    steps = [{"name": "reserve_product", "attempts": n} for n in attempts]
    saga = {"status": status, "steps": [{"name": "create_order", "attempts": 9}, *steps]}
    monkeypatch.setattr(
        traps.buyer.calls,
        "answers",
        lambda *_: [Answer(None), Answer(200, json.dumps(saga).encode())],
    )
    assert traps._is_unanswered(Request({}, told=["s"])) is unanswered


def case(traps: Traps, saga_id: str, kind: str | None, code: str) -> Any:
    product = product_of(traps, kind) if kind else 10**6
    request = Request({"product_id": product})
    return SimpleNamespace(request=request, state=SimpleNamespace(id=saga_id), code=code)


def letter(saga_id: str, reason: str) -> DeadLetter:
    record = Record("product.reserve", saga_id.encode(), b"", [])
    return DeadLetter("product.reserve/0/1", record, reason, "", "", 0)


@pytest.mark.parametrize("used_up", ["attempts_exhausted", "deadline_exceeded"])
def test_trap_has_to_catch_its_order(traps: Traps, used_up: str) -> None:
    caught = [case(traps, "f", FAILS, used_up), case(traps, "n", None, "")]
    hung = [case(traps, "h", HANGS, used_up)]
    set_aside = letter("h", f"3 {SET_ASIDE}")
    assert list(traps.judge([*caught, *hung], [set_aside])) == []
    assert len(list(traps.judge([*caught, *hung], []))) == 1
    for other in ("", "insufficient_stock"):
        assert len(list(traps.judge([case(traps, "f", FAILS, other)], []))) == 1
    assert len(list(traps.judge(hung, [set_aside, letter("n", f"3 {SET_ASIDE}")]))) == 1
    assert len(list(traps.judge(hung, [set_aside, letter("h", "can't be read")]))) == 1


def test_processes_that_a_watchdog_has_ended_are_counted_from_their_logs(traps: Traps) -> None:
    log = traps._data / "logs" / "product.reserve_product.log"
    log.write_text(
        '  File "reserve_product.py", line 18, in reserve_product\n'  # an exception's traceback
        '  File "reserve_product.py", line 18 in reserve_product\n'
        '  File "worker.py", line 9 in _call\n'
    )
    assert traps.ended() == 1
