"""When a batch is worked off with savepoints: not before a handler's writes have to be undone."""

import json

import peewee
import psycopg
import pytest

from saga.runtime import Rejected
from saga.runtime.database.connection import WENT_ON, is_over
from saga.runtime.database.kept import NOT_YOURS
from saga.runtime.worker import GUARDED_BATCHES

WHY = f"ContractError: bakery.bake {WENT_ON}"
TOLD = {"code": "ContractError", "message": WHY}
OF_FOUR = {"rye": "done", "oat": "failed", "nut": "done", "fig": "failed"}
TWO = [("s/bake/do/reply", "done"), ("t/bake/do/reply", "done")]


@pytest.fixture
def savepoints(bakery, monkeypatch):
    """What is said of savepoints to the database."""
    said, run = [], bakery.database.execute_sql

    def execute_sql(sql, *more):
        if "SAVEPOINT" in sql:
            said.append(sql)
        return run(sql, *more)

    monkeypatch.setattr(bakery.database, "execute_sql", execute_sql)
    return said


def bake_two(bakery):
    return bakery.baker.process([bakery.bake_record(), bakery.bake_record("oat", "t")])


def raises(error):
    def fail():
        raise error

    return fail


def nothing():
    """Let a handler do what it does."""


def test_no_savepoint_where_nothing_has_to_be_undone(bakery, outcomes, savepoints):
    assert outcomes(bake_two(bakery)) == TWO
    assert savepoints == []


def test_rejection_before_any_write_needs_none(bakery, outcomes, savepoints):
    bakery.before = [nothing, raises(Rejected("no_flour", "the mill is closed"))]
    assert outcomes(bake_two(bakery)) == [TWO[0], ("t/bake/do/reply", "rejected")]
    assert bakery.calls == ["bake rye", "bake oat"]
    assert bakery.loaves == ["rye"]
    assert savepoints == []


@pytest.mark.parametrize(
    ("error", "outcome"), [(Rejected("burnt", "black"), "rejected"), (KeyError("oven"), "failed")]
)
def test_undone_handler_takes_its_batch_along_and_is_not_run_again(
    bakery, outcomes, savepoints, error, outcome
):
    bakery.after = [nothing, raises(error)]
    assert outcomes(bake_two(bakery)) == [TWO[0], ("t/bake/do/reply", outcome)]
    assert bakery.calls == ["bake rye", "bake oat", "bake rye"]
    assert bakery.loaves == ["rye"]
    assert savepoints == ["SAVEPOINT handler", "RELEASE SAVEPOINT handler"]


def test_more_than_one_may_have_to_be_undone(bakery, outcomes):
    bakery.after = [raises(KeyError("oven")), raises(Rejected("burnt", "black"))]
    batch = [bakery.bake_record(name, name) for name in ("rye", "oat", "corn")]
    told = [outcome for _, outcome in outcomes(bakery.baker.process(batch))]
    assert told == ["failed", "rejected", "done"]
    assert bakery.calls == ["bake rye", "bake oat", "bake corn"]
    assert bakery.loaves == ["corn"]


def test_batches_after_an_undone_handler_are_guarded_for_a_while(bakery, savepoints):
    bakery.after = [raises(KeyError("oven"))]
    bakery.baker.process([bakery.bake_record()])
    savepoints.clear()
    for number in range(GUARDED_BATCHES + 5):
        bakery.baker.process([bakery.bake_record(f"loaf {number}", f"saga {number}")])
    left = GUARDED_BATCHES - 1  # the first one was the batch itself, without its handler
    assert savepoints == ["SAVEPOINT handler", "RELEASE SAVEPOINT handler"] * left


def test_no_savepoint_is_left_behind(bakery, savepoints):
    """Each one that is would slow down what comes after it in the transaction."""
    for kind, error in (("rye", KeyError("oven")), ("oat", Rejected("burnt", "black"))):
        bakery.after = [nothing, raises(error)]
        names = (f"first {kind}", f"second {kind}")
        bakery.baker.process([bakery.bake_record(name, name) for name in names])
    bakery.before = [nothing, raises(Rejected("no_flour", "the mill is closed"))]
    bake_two(bakery)
    assert savepoints.count("SAVEPOINT handler") == savepoints.count("RELEASE SAVEPOINT handler")


def test_an_error_of_the_database_that_a_handler_passes_over_undoes_it(bakery, outcomes):
    """SQLite undoes the statement alone, PostgreSQL gives the transaction up."""

    def go_on():
        with pytest.raises(peewee.DatabaseError):
            bakery.database.execute_sql("SELECT * FROM no_such_table")

    bakery.before = [go_on]
    told = outcomes(bake_two(bakery))
    is_sqlite = isinstance(bakery.database, peewee.SqliteDatabase)
    assert told == [("s/bake/do/reply", "done" if is_sqlite else "failed"), TWO[1]]
    assert bakery.loaves == (["oat", "rye"] if is_sqlite else ["oat"])


def test_handler_that_ends_after_such_an_error_is_told_so(open_bakery, postgres):
    bakery = open_bakery(postgres)

    def end():
        with pytest.raises(peewee.DatabaseError):
            postgres.execute_sql("SELECT * FROM no_such_table")

    bakery.after = [end]
    (reply,) = bakery.baker.process([bakery.bake_record()])
    assert json.loads(reply.value) == TOLD


@pytest.mark.parametrize("guarded", [0, 1])
@pytest.mark.parametrize("then", ["SELECT 1", None])
def test_handler_that_catches_a_duplicate_is_told_what_to_write(
    open_bakery, postgres, guarded, then
):
    """On SQLite it may go on."""
    bakery = open_bakery(postgres)
    bakery.Loaf.insert(name="rye").execute()

    def bake(command):
        with pytest.raises(peewee.IntegrityError):
            bakery.Loaf.insert(name="rye").execute()
        if then:
            postgres.execute_sql(then)
        return bakery.Baked(name="rye")

    baker = bakery.worker("bakery.bake", bakery.baker.function.command, bake)
    baker._guarded = guarded
    (reply,) = baker.process([bakery.bake_record()])
    assert json.loads(reply.value) == TOLD


@pytest.mark.parametrize("way", ["on conflict", "atomic"])
def test_handler_that_does_as_it_is_told_goes_on_after_a_duplicate(bakery, outcomes, way):
    bakery.Loaf.insert(name="rye").execute()

    def bake(command):
        if way == "on conflict":
            bakery.Loaf.insert(name="rye").on_conflict_ignore().execute()
        else:
            with pytest.raises(peewee.IntegrityError), bakery.database.atomic():
                bakery.Loaf.insert(name="rye").execute()
        bakery.Loaf.insert(name="oat").execute()
        return bakery.Baked(name="oat")

    baker = bakery.worker("bakery.bake", bakery.baker.function.command, bake)
    assert outcomes(baker.process([bakery.bake_record()])) == [TWO[0]]
    assert bakery.loaves == ["oat", "rye"]


def test_rejection_after_an_error_of_the_database_undoes_the_batch(bakery, outcomes):
    def refuse():
        with pytest.raises(peewee.DatabaseError):
            bakery.database.execute_sql("SELECT * FROM no_such_table")
        raise Rejected("no_flour", "the mill is closed")

    bakery.before = [nothing, refuse]
    assert outcomes(bake_two(bakery)) == [TWO[0], ("t/bake/do/reply", "rejected")]
    assert bakery.loaves == ["rye"]


ENDS = ["COMMIT", " commit;", "END", "ROLLBACK", "rollback work", "\nROLLBACK TRANSACTION"]


def ways_to_end(database):
    """Return calls that end a transaction; of the last of each, the driver hears alone."""
    return {
        **{sql: lambda sql=sql: database.execute_sql(sql) for sql in ENDS},
        "commit": database.commit,
        "rollback": database.rollback,
        "the batch's own": lambda: database.top_transaction().rollback(),
        "one of its own": lambda: database.transaction().__enter__().commit(),
        "session": lambda: database.session_commit() or database.commit(),
        "the driver's": lambda: database.connection().rollback(),
        "the driver's word": lambda: database.connection().execute("ROLLBACK"),
    }


@pytest.mark.parametrize("guarded", [0, 1])
@pytest.mark.parametrize("then", [nothing, raises(RuntimeError("no salt"))])
@pytest.mark.parametrize("way", [*ways_to_end(peewee.SqliteDatabase(None))])
def test_handler_that_ends_its_transaction_takes_no_other_along(
    bakery, outcomes, way, then, guarded
):
    """Nothing is lost that was answered, and nothing is done twice."""

    def end():
        if OF_FOUR[bakery.calls[-1].split()[1]] == "failed":
            ways_to_end(bakery.database)[way]()
            then()

    bakery.after = [end] * 99
    bakery.baker._guarded = guarded
    records = [bakery.bake_record(name, name) for name in OF_FOUR]
    told = outcomes(bakery.baker.process(records))
    assert told == [(f"{name}/bake/do/reply", to) for name, to in OF_FOUR.items()]
    assert bakery.loaves == ["nut", "rye"]
    assert is_over(bakery.database)
    assert not bakery.database.in_transaction()


def test_rejection_that_ends_its_transaction_takes_no_other_along(bakery, outcomes):
    def refuse():
        bakery.database.connection().rollback()
        raise Rejected("no_flour", "the mill is closed")

    bakery.before = [nothing, refuse] * 2
    assert outcomes(bake_two(bakery)) == [TWO[0], ("t/bake/do/reply", "rejected")]
    assert bakery.loaves == ["rye"]


def test_all_of_a_batch_may_end_their_transaction(bakery, outcomes, caplog):
    bakery.after = [lambda: bakery.database.connection().rollback()] * 99
    told = [(name, "failed") for name, _ in TWO]
    assert outcomes(bake_two(bakery)) == told
    assert f"taken one by one, as their commit was refused: {WENT_ON}" in caplog.messages


def test_handlers_share_no_transaction_from_when_one_has_ended_it(bakery):
    """What others have written with the first one was done twice; there is no second time."""
    bakery.after = [lambda: bakery.database.connection().commit()]
    bakery.baker.process([bakery.bake_record()])
    bakery.after = [nothing, lambda: bakery.database.connection().commit()]
    bakery.calls.clear()
    bakery.baker.process([bakery.bake_record(name, name) for name in ("oat", "nut", "fig")])
    assert bakery.calls == ["bake oat", "bake nut", "bake fig"]


def test_handler_that_ends_its_transaction_is_told_whose_that_is(bakery):
    bakery.after = [bakery.database.commit]
    (reply,) = bakery.baker.process([bakery.bake_record()])
    assert json.loads(reply.value)["message"] == f"ContractError: {NOT_YOURS}"
    bakery.after = [lambda: bakery.database.connection().commit()]
    (reply,) = bakery.baker.process([bakery.bake_record("oat", "t")])
    assert json.loads(reply.value) == TOLD


def test_handler_that_closes_its_connection_is_told_so(open_bakery, postgres, outcomes):
    """As the driver's own `with` does at its end; SQLite's can't be told from a database's end."""
    bakery = open_bakery(postgres)

    def close():
        if bakery.calls[-1] == "bake oat":
            postgres.connection().close()

    bakery.after = [close] * 9
    assert outcomes(bake_two(bakery)) == [TWO[0], ("t/bake/do/reply", "failed")]
    assert bakery.loaves == ["rye"]


def test_handler_may_run_what_psycopg_has_composed(open_bakery, postgres, outcomes):
    bakery = open_bakery(postgres)
    bakery.after = [lambda: postgres.execute_sql(psycopg.sql.SQL("SELECT 1")) and None]
    assert outcomes(bake_two(bakery)) == TWO


def test_handler_may_begin_what_it_does_not_end(bakery, outcomes):
    bakery.after = [lambda: bakery.database.session_start() and None, nothing]
    assert outcomes(bake_two(bakery)) == TWO
    assert is_over(bakery.database)
    assert not bakery.database.in_transaction()
