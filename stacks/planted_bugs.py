"""Bugs to be planted, one at a time, to see whether the simulation notices: tests of the tests.

Each is a small change of one function's source. It is put into the function itself, so that it is
there for whoever has imported it; a bug whose place is gone says so.
"""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from saga.runtime.database.statements import Prepared
from saga.runtime.errors import SagaError

ORDER = "saga.functions.order"
PRODUCT = "saga.functions.product"
USER = "saga.functions.user"
RUNTIME = "saga.runtime"


@dataclass(frozen=True)
class Bug:
    """In the function `target` of a module, `new` stands where `old` is right."""

    name: str
    module: str
    target: str
    old: str
    new: str


_BUGS = (
    # What the business may do wrong.
    Bug(
        *("charge_other_user", f"{USER}.process_payment", "process_payment"),
        "take_money(command.user_id,",
        "take_money(command.user_id % 4 + 1,",
    ),
    Bug(
        *("refund_other_user", f"{USER}.refund_payment", "refund_payment"),
        "User.id == payment.user_id",
        "User.id == payment.user_id % 4 + 1",
    ),
    Bug(
        *("double_refund", f"{USER}.refund_payment", "refund_payment"),
        "User.balance + payment.amount",
        "User.balance + payment.amount * 2",
    ),
    Bug(
        *("release_other_product", f"{PRODUCT}.release_product", "release_product"),
        "Product.id == held.product_id",
        "Product.id == held.product_id % 4 + 1",
    ),
    Bug(
        *("total_is_unit_price", f"{PRODUCT}.reserve_product", "reserve_product"),
        "total=price * command.quantity",
        "total=price",
    ),
    Bug(
        *("quantity_always_one", f"{PRODUCT}.reserve_product", "reserve_product"),
        "command.quantity",
        "1",
    ),
    Bug(
        *("oversell_guard_sign", f"{PRODUCT}.store", "take_units"),
        "Product.stock >= quantity",
        "Product.stock <= quantity",
    ),
    Bug(
        *("complete_without_guard", f"{ORDER}.store", "complete"),
        "Order.id == order_id, Order.status == PENDING",
        "Order.id == order_id",
    ),
    Bug(
        *("cancel_only_pending", f"{ORDER}.cancel_order", "cancel_order"),
        "Order.id == command.order_id",
        "Order.id == command.order_id, Order.status == 'PENDING'",
    ),
    Bug(
        *("exact_money_refused", f"{USER}.store", "take_money"),
        "User.balance >= amount",
        "User.balance > amount",
    ),
    Bug(
        *("stranger_is_poor", f"{USER}.process_payment", "_refusal"),
        '"user_not_found"',
        '"insufficient_funds"',
    ),
    # What the transition may decide wrong.
    Bug(
        *("context_of_another_user", f"{RUNTIME}.transition", "_command"),
        "model_validate(state.context)",
        'model_validate({**state.context, "user_id": 3})',
    ),
    Bug(
        *("cancel_ignored", f"{RUNTIME}.transition", "cancel"),
        "return _give_up(saga, state, index, problem, now)",
        "return state, []",
    ),
    Bug(
        *("timeouts_count_double", f"{RUNTIME}.transition", "on_due"),
        "return _send(saga, state, index, action, now)",
        "return _send(saga, _send(saga, state, index, action, now)[0], index, action, now)",
    ),
    Bug(
        *("no_deadline", f"{RUNTIME}.transition", "on_due"),
        "now >= state.deadline_at",
        "False",
    ),
    Bug(
        *("undo_order_reversed", f"{RUNTIME}.transition", "_undo_next"),
        "reversed(range(len(state.steps)))",
        "range(len(state.steps))",
    ),
    Bug(
        *("undo_failed_is_compensated", f"{RUNTIME}.transition", "_undo_failed"),
        '"FAILED", now',
        '"COMPENSATED", now',
    ),
    Bug(
        *("skip_undo_of_failed", f"{RUNTIME}.transition", "_undo_next"),
        "in MAY_HAVE_DONE",
        '== "DONE"',
    ),
    Bug(
        *("late_failure_counts", f"{RUNTIME}.transition", "on_reply"),
        " or reply.attempt != attempt",
        "",
    ),
    Bug(
        *("undo_due_at_deadline", f"{RUNTIME}.transition", "_not_after"),
        ' if state.status == "RUNNING" else due_at',
        "",
    ),
    Bug(
        *("retry_extends_deadline", f"{RUNTIME}.transition", "_fault"),
        "awaiting=False,",
        "awaiting=False, deadline_at=now + timedelta(seconds=saga.deadline),",
    ),
    # What may be forgotten on the way of a message.
    Bug(
        *("no_fence", f"{RUNTIME}.inbox", "decide"),
        "do_id if done is None else None",
        "None",
    ),
    Bug(
        *("rejection_not_kept", f"{RUNTIME}.inbox", "is_final"),
        'or (answer.outcome == "rejected" and action == "do")',
        "",
    ),
    Bug(
        *("inbox_not_saved", f"{RUNTIME}.worker", "Worker._answer_all"),
        "inbox.save(self.database, list(fresh.items()))",
        "pass",
    ),
    Bug(
        *("effect_without_savepoint", f"{RUNTIME}.worker", "Worker._attempt"),
        'run_sql("ROLLBACK TO SAVEPOINT handler")',
        "pass",
    ),
    Bug(
        *("undone_kept_with_the_batch", f"{RUNTIME}.worker", "Worker._attempt"),
        "raise _UndoneWithItsBatch(answer)",
        "return answer",
    ),
    Bug(
        *("neighbours_undone_too", f"{RUNTIME}.worker", "Worker._work"),
        "return dead + self._answer_all(commands, undone, guarded=True)",
        "return dead",
    ),
    Bug(
        *("offsets_before_send", f"{RUNTIME}.batch_loop", "BatchLoop._finish"),
        "transport.finish(out)",
        "transport.finish([]); transport.send(out)",
    ),
    Bug(
        *("no_rewind", f"{RUNTIME}.batch_loop", "BatchLoop._turn"),
        "transport.rewind()",
        "pass",
    ),
    Bug(
        *("duplicates_unanswered", f"{RUNTIME}.worker", "Worker._answer_all"),
        "out.append(self._reply(envelope, answer))",
        "out += [self._reply(envelope, answer)] if decision.answer is None else []",
    ),
    Bug(
        *("reply_is_of_attempt_one", f"{RUNTIME}.worker", "Worker._reply"),
        "1 if inbox.is_final(command, answer) else command.attempt",
        "1",
    ),
    Bug(
        *("dead_letters_lost", f"{RUNTIME}.saga_host", "SagaHost._work"),
        "return out + ",
        "return ",
    ),
    # What may go wrong with a saga's row.
    Bug(
        *("key_not_stored", f"{RUNTIME}.saga_store", "SagaStore._start"),
        "saga.name, key, request_hash)",
        "saga.name, None, None)",
    ),
    Bug(
        *("key_for_any_body", f"{RUNTIME}.saga_store", "SagaStore._start"),
        "_alike(earlier_hash, request_hash) and ",
        "",
    ),
    Bug(
        *("no_history", f"{RUNTIME}.saga_history", "recorded"),
        "(*new.history, (after, *told))",
        "new.history",
    ),
    Bug(
        *("sweeper_skips_compensating", f"{RUNTIME}.saga_rows", "select_due"),
        "SagaRow.due_at <= now",
        'SagaRow.due_at <= now, SagaRow.status == "RUNNING"',
    ),
    Bug(
        *("start_sent_before_stored", f"{RUNTIME}.client", "SagaClient.start"),
        "[started] = self._store.start(saga, [request], utcnow())",
        "from .transition import start; "
        "self._send(start(saga, request.saga_id, message, utcnow())); "
        "[started] = self._store.start(saga, [request], utcnow())",
    ),
)

BUGS = {bug.name: bug for bug in _BUGS}


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Let a function have a bug meanwhile; raise `SagaError` if its place is not there any more."""
    found: Any = importlib.import_module(bug.module)
    for name in bug.target.split("."):
        found = getattr(found, name, None)
    function = found.build if isinstance(found, Prepared) else found
    if not isinstance(function, FunctionType):
        raise SagaError(f"{bug.name}: {bug.module} has no function {bug.target} any more")
    whole, function.__code__ = function.__code__, _changed(bug, function)
    try:
        with found.built_anew() if isinstance(found, Prepared) else nullcontext():
            yield
    finally:
        function.__code__ = whole


def _changed(bug: Bug, function: FunctionType) -> CodeType:
    source = textwrap.dedent(inspect.getsource(function))
    if bug.old not in source:
        raise SagaError(f"{bug.name}: {bug.module}.{bug.target} has no {bug.old!r} any more")
    tree = ast.parse(source.replace(bug.old, bug.new))
    definition: Any = tree.body[0]
    definition.decorator_list = []  # it is declared already
    names: dict[str, Any] = {}
    code = compile(tree, function.__code__.co_filename, "exec")
    exec(code, function.__globals__, names)  # noqa: S102 - the source is our own
    changed: CodeType = names[definition.name].__code__
    return changed
