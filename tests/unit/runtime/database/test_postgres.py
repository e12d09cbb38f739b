"""What counts as written on PostgreSQL."""

import pytest

from saga.runtime.database.postgres import rows_written

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
