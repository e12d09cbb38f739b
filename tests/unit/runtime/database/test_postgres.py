"""What counts as written on PostgreSQL, and what its server gives up by itself."""

import subprocess
import sys

import peewee
import pytest

from saga.runtime import inbox
from saga.runtime.batch_loop import LONGEST_BATCH
from saga.runtime.database.connection import LONGEST, connect, transaction
from saga.runtime.database.postgres import GRACE, LOCK_TIMEOUT, LOOK, rows_written
from saga.runtime.database.schema import bind
from saga.runtime.errors import ContractError
from saga.runtime.function import TIMEOUT
from saga.runtime.inbox import InboxRow
from saga.runtime.loop import UNAVAILABLE
from support.ports import free_port
from support.waiting import DEADLINE, wait_until

NEW = "INSERT INTO jar VALUES (%s)"


@pytest.fixture
def cursor(postgres):
    """A cursor of a connection that has written nothing, and a table with two rows."""
    with postgres.connection().cursor() as setting_up:
        setting_up.execute("CREATE TABLE jar (label TEXT)")
        setting_up.execute("INSERT INTO jar VALUES ('jam'), ('tea')")
    postgres.close()
    with postgres.connection().cursor() as cursor:
        yield cursor


def test_new_connection_has_written_nothing(cursor):
    assert rows_written(cursor.connection) == 0


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("INSERT INTO jar VALUES ('oil')", 1),
        ("INSERT INTO jar VALUES ('oil'), ('rye') RETURNING label", 2),
        ("UPDATE jar SET label = 'salt'", 2),
        ("WITH gone AS (DELETE FROM jar RETURNING label) SELECT label FROM gone", 2),
        ("UPDATE jar SET label = 'salt' WHERE label = 'none'", 0),
        ("SELECT label FROM jar", 0),
        ("\n  select label FROM jar", 0),
        ("CREATE TABLE lid (size INTEGER)", 0),
        ("", 0),
    ],
)
def test_rows_that_a_statement_changes_are_counted(cursor, statement, rows):
    cursor.execute(statement)
    assert rows_written(cursor.connection) == rows
    cursor.execute(NEW, ["one more"])
    assert rows_written(cursor.connection) == rows + 1


def test_rows_of_many_runs_are_counted_together(cursor):
    cursor.executemany(NEW, [["oil"], ["rye"], ["salt"]])
    assert rows_written(cursor.connection) == 3
    cursor.executemany("SELECT %s", [["oil"], ["rye"]])
    assert rows_written(cursor.connection) == 3


def test_cursor_is_psycopgs_in_all_else(cursor):
    assert cursor.execute("SELECT 7", binary=True).fetchone() == (7,)
    assert cursor.pgresult.fformat(0) == 1  # binary
    cursor.executemany("SELECT %s::text", [["oil"]], returning=True)
    assert cursor.fetchone() == ("oil",)


LIMITS = ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]
KEEPALIVES = [f"tcp_keepalives_{what}" for what in ("idle", "interval", "count")]
# What a session was begun with: over a socket of the machine's own, no keepalive is in force.
SETTING = "SELECT reset_val FROM pg_settings WHERE name = %s"


@pytest.fixture
def connected(postgres_url):
    """Open connections that are closed after the test."""
    opened = []

    def open_one(query="", **options):
        opened.append(connect(f"{postgres_url}{query}", **options))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


def setting(database, name):
    return int(database.execute_sql(SETTING, (name,)).fetchone()[0])


def test_session_has_limits(connected):
    database = connected()
    limits = [setting(database, name) for name in LIMITS]
    assert limits == [10_000, 35_000, 35_000]  # milliseconds


def test_handler_outlives_no_limit_but_its_own(connected):
    database = connected(longest=600.0)
    limits = [setting(database, name) for name in LIMITS]
    assert limits == [10_000, 605_000, 605_000]  # milliseconds


def test_limits_leave_room_for_a_batch_and_a_handler():
    assert LONGEST_BATCH < LOCK_TIMEOUT < TIMEOUT
    assert TIMEOUT <= LONGEST < LONGEST + GRACE


def test_host_that_has_vanished_is_noticed_in_seconds(connected):
    database = connected()
    idle, interval, count = (setting(database, name) for name in KEEPALIVES)
    assert idle + interval * count == 11  # seconds
    assert setting(database, "tcp_user_timeout") == 10_000  # milliseconds


def test_options_of_the_url_hold(connected):
    database = connected("&options=-c%20lock_timeout%3D77%20-c%20application_name%3Dmine")
    assert setting(database, "lock_timeout") == 77
    assert setting(database, "statement_timeout") == 35_000
    assert database.execute_sql("SHOW application_name").fetchone() == ("mine",)


def test_plan_for_the_first_rows_of_a_table_is_not_kept(connected):
    database = connected()
    bind(database, [InboxRow])

    def command_comes(*numbers):
        with transaction(database, alone=True):
            inbox.load(database, [f"{numbers[0]}/bake/do"])
            answer = inbox.Answer("Baked", "done", "2026-01-01", "{}")
            inbox.save(database, [(f"{number}/bake/do", answer) for number in numbers])

    for number in range(20):
        command_comes(number)
    command_comes(*range(100, 2100))
    named = "SELECT name FROM pg_prepared_statements WHERE statement ~ 'SELECT.+inbox'"
    [(name,)] = database.execute_sql(named).fetchall()
    plan = database.execute_sql(f"EXPLAIN EXECUTE {name}('{{100/bake/do}}')").fetchall()
    assert "inbox_pkey" in str(plan)


def test_server_looks_after_its_client(connected):
    shown = "SHOW client_connection_check_interval"
    assert connected().execute_sql(shown).fetchone() == ("1s",)
    own = "&options=-c%20client_connection_check_interval%3D0"
    assert connected(own).execute_sql(shown).fetchone() == ("0",)


@pytest.mark.parametrize(
    "look",
    [
        pytest.param("SELECT set_config('lock_timeout', 'never', false)", id="it can't"),
        pytest.param(LOOK.replace("name = 'client", "name = 'no client"), id="it is older"),
    ],
)
def test_server_that_cant_look_is_taken_as_it_is(connected, monkeypatch, look):
    monkeypatch.setattr("saga.runtime.database.postgres.LOOK", look)
    assert connected().execute_sql("SELECT 7").fetchone() == (7,)


def test_locks_of_a_process_that_was_killed_amid_a_statement_are_free(connected, postgres_url):
    sleeps = "\n".join(
        [
            "from saga.runtime.database.connection import connect, transaction",
            f"database = connect({postgres_url!r}, longest=3600.0)",
            "with transaction(database, alone=True):",
            "    database.execute_sql('SELECT pg_sleep(3600)')",
        ]
    )
    other = connected(f"&options=-c%20lock_timeout%3D{DEADLINE}s", longest=DEADLINE)
    asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    with subprocess.Popen([sys.executable, "-c", sleeps]) as process:
        wait_until(lambda: other.execute_sql(asleep).fetchone(), "it sleeps")
        process.kill()
    with transaction(other, alone=True):
        assert other.execute_sql(asleep).fetchone() is None


def test_transaction_that_stands_still_frees_its_locks(connected, monkeypatch):
    monkeypatch.setattr("saga.runtime.database.postgres.GRACE", 0.0)
    still, other = connected(longest=0.05), connected()

    def stand_still():
        with transaction(still, alone=True), transaction(other, alone=True):
            still.execute_sql("SELECT 1")

    with pytest.raises(UNAVAILABLE):
        stand_still()


def test_statement_that_takes_too_long_is_given_up(connected, monkeypatch):
    monkeypatch.setattr("saga.runtime.database.postgres.GRACE", 0.0)
    with pytest.raises(peewee.OperationalError, match="statement timeout"):
        connected(longest=0.05).execute_sql("SELECT pg_sleep(60)")


def test_url_that_cannot_be_read_is_refused_and_keeps_its_password():
    with pytest.raises(ContractError, match="can't be read") as refusal:
        connect("postgresql://ann:secret@host/db?no_such_word=1")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("password", ["se@cret", "se/cret", "se?cr@et", "s@e:c/r%et", "se%cret"])
def test_password_that_is_not_coded_is_told_to_nobody(password):
    with pytest.raises(ContractError, match="can't be read: in a password, @ is %40") as refusal:
        connect(f"postgresql://ann:{password}@host.invalid/db")
    assert "cret" not in str(refusal.value)


@pytest.mark.parametrize("password", ["se:cret", "se%40cret", "[secret", "se#cret", "se?cret"])
def test_any_other_password_is_used_as_it_is(password):
    with pytest.raises(peewee.OperationalError, match="refused") as away:
        connect(f"postgresql://ann:{password}@127.0.0.1:{free_port()}/db").connect()
    assert "cret" not in str(away.value)


def test_making_an_index_may_take_long(postgres, monkeypatch):
    said, run = [], postgres.execute_sql

    def execute_sql(sql, *more):
        said.append(sql)
        return run(sql, *more)

    monkeypatch.setattr(postgres, "execute_sql", execute_sql)
    bind(postgres, [InboxRow])
    assert "SET LOCAL statement_timeout = 0" in said
    assert setting(postgres, "statement_timeout") == 35_000
