"""The rules of a participant: undo of nothing, undo before do, do after undo."""

from saga.runtime import Rejected
from saga.runtime.envelope import decode

UNDONE = ("s/bake/undo/reply", "done")


def test_undo_undoes_what_was_done(bakery, outcomes):
    bakery.baker.process([bakery.bake_record()])
    assert outcomes(bakery.eater.process([bakery.eat_record()])) == [UNDONE]
    assert bakery.calls == ["bake rye", "eat rye"]
    assert bakery.loaves == []


def test_undo_told_twice_is_done_once(bakery):
    bakery.baker.process([bakery.bake_record()])
    first = bakery.eater.process([bakery.eat_record()])
    assert bakery.eater.process([bakery.eat_record()] * 2) == first * 2
    assert bakery.calls == ["bake rye", "eat rye"]


def test_undo_of_nothing_is_done(bakery, outcomes):
    replies = bakery.eater.process([bakery.eat_record()])
    assert outcomes(replies) == [UNDONE]
    assert decode(replies[0]).type == "Eat.Skipped"
    assert bakery.calls == []


def test_undo_before_its_do_fences_the_late_do(bakery, outcomes):
    bakery.eater.process([bakery.eat_record()])
    replies = bakery.baker.process([bakery.bake_record()])
    assert outcomes(replies) == [("s/bake/do/reply", "rejected")]
    assert bakery.calls == []
    assert bakery.loaves == []
    assert bakery.inbox == {"s/bake/do": "rejected", "s/bake/undo": "done"}


def test_fence_holds_for_its_saga_alone(bakery, outcomes):
    bakery.eater.process([bakery.eat_record()])
    replies = bakery.baker.process([bakery.bake_record(saga_id="t")])
    assert outcomes(replies) == [("t/bake/do/reply", "done")]


def test_undo_after_a_rejected_do_is_skipped(bakery, outcomes):
    bakery.fails_next(Rejected("no_flour", "closed"))
    bakery.baker.process([bakery.bake_record()])
    assert outcomes(bakery.eater.process([bakery.eat_record()])) == [UNDONE]
    assert bakery.calls == ["bake rye"]
    assert bakery.inbox == {"s/bake/do": "rejected", "s/bake/undo": "done"}


def test_undo_after_a_failed_do_fences_its_next_attempt(bakery, outcomes):
    bakery.fails_next(ZeroDivisionError())
    bakery.baker.process([bakery.bake_record()])
    bakery.eater.process([bakery.eat_record()])
    replies = bakery.baker.process([bakery.bake_record(attempt=2)])
    assert outcomes(replies) == [("s/bake/do/reply", "rejected")]
    assert bakery.loaves == []


def test_failed_undo_is_run_again(bakery, outcomes):
    bakery.baker.process([bakery.bake_record()])
    failing = bakery.worker("bakery.eat", bakery.eater.function.command, lambda _: 1 / 0)
    assert outcomes(failing.process([bakery.eat_record()])) == [("s/bake/undo/reply", "failed")]
    assert bakery.loaves == ["rye"]
    assert outcomes(bakery.eater.process([bakery.eat_record()])) == [UNDONE]
    assert bakery.loaves == []


def test_rejected_undo_is_run_again_when_an_operator_retries(bakery, outcomes):
    bakery.baker.process([bakery.bake_record()])

    def refuse(command):
        raise Rejected("not_hungry", "come back later")

    refusing = bakery.worker("bakery.eat", bakery.eater.function.command, refuse)
    refusing.process([bakery.eat_record()])
    assert outcomes(bakery.eater.process([bakery.eat_record(attempt=2)])) == [UNDONE]


def test_do_and_undo_answered_by_two_processes_agree(postgres, open_bakery, outcomes):
    """The undo commits its fence while the do is at work; the do looks again and is refused."""
    bakery = open_bakery(postgres)
    other = type(postgres)(postgres.database, prefer_psycopg3=True)

    def undo_elsewhere():
        fence = "INSERT INTO inbox VALUES ('s/bake/do', 'Fenced', 'rejected', 'now', '{}')"
        with other.connection_context():
            other.execute_sql(fence)

    bakery.before.append(undo_elsewhere)
    replies = bakery.baker.process([bakery.bake_record()])
    assert outcomes(replies) == [("s/bake/do/reply", "rejected")]
    assert bakery.calls == ["bake rye"]
    assert bakery.loaves == []
