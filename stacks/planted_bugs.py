"""Bugs to be planted, one at a time, to see whether the simulation notices: tests of the tests.

Each is a small change of one function's source. It is put into the function itself, so that it is
there for whoever has imported it; a bug whose place is gone says so.

What no run would show is a matter of unit tests: money of three decimal places, which nobody here
asks for, or a second round of an undo that is too short, for which a run is.
"""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from saga.runtime.database.statements import Prepared
from saga.runtime.errors import SagaError


@dataclass(frozen=True)
class Bug:
    """In the function `target` of a module, `new` stands where `old` is right."""

    name: str
    module: str
    target: str
    old: str
    new: str


# A bug's name and its function, what is right there, and what stands there instead.
_BUGS = """
# What the business may do wrong.

charge_other_user in functions.user.process_payment:process_payment
- take_money(command.user_id,
+ take_money(command.user_id % 4 + 1,

refund_other_user in functions.user.refund_payment:refund_payment
- give_money(payment.user_id,
+ give_money(payment.user_id % 4 + 1,

double_refund in functions.user.refund_payment:refund_payment
- payment.amount):
+ payment.amount * 2):

release_other_product in functions.product.release_product:release_product
- give_units(held.product_id,
+ give_units(held.product_id % 4 + 1,

total_is_unit_price in functions.product.reserve_product:reserve_product
- total=price * command.quantity
+ total=price

quantity_always_one in functions.product.reserve_product:reserve_product
- command.quantity
+ 1

oversell_guard_sign in functions.product.store:take_units
- Product.stock >= quantity
+ Product.stock <= quantity

complete_without_guard in functions.order.store:complete
- Order.id == order_id, Order.status == PENDING
+ Order.id == order_id

cancel_only_pending in functions.order.cancel_order:cancel_order
- Order.id == command.order_id
+ Order.id == command.order_id, Order.status == 'PENDING'

exact_money_refused in functions.user.store:take_money
- User.balance >= amount
+ User.balance > amount

stranger_is_poor in functions.user.process_payment:_refusal
- "user_not_found"
+ "insufficient_funds"

# What the transition may decide wrong.

context_of_another_user in runtime.sending:make_body
- saga.sources.values(state, step, action)
+ {**saga.sources.values(state, step, action), "user_id": 3}

cancel_ignored in runtime.intervention:cancel
- return give_up(saga, state, index, problem, now)
+ return state, []

silence_uses_up_an_attempt in runtime.transition:_send_again
- silences=silences + 1,
+ attempts=state.steps[index].attempts + 1,

silence_gives_up in runtime.transition:_send_again
- return _ask(
+ return give_up(saga, state, index, error, now) if silences else _ask(

no_deadline in runtime.transition:on_due
- now >= state.deadline_at
+ False

copy_of_a_reply_sends_again in runtime.transition:_was_applied
- state.answered in (_answered(reply), f"{reply.step}/{reply.action}")
+ str(state.answered).startswith(f"{reply.step}/{reply.action} ")

body_made_anew in runtime.sending:command
- data=data
+ data=data.replace("{", "{ ") if step.silences else data

command_sent_twice in runtime.saga_host:SagaHost._to_send
- (*once.values(), *told)
+ (*commands, *commands, *told)

undo_order_reversed in runtime.transition:_undo_next
- reversed(range(before))
+ range(before)

undo_failed_is_compensated in runtime.transition:_undo_next
- "FAILED" if left else
+

failed_undo_holds_up_others in runtime.transition:_undo_failed
- return _undo_next(saga, altered(state, steps=steps), index, now)
+ return _end(altered(state, steps=steps), "FAILED", now), []

skip_undo_of_failed in runtime.transition:_undo_next
- in MAY_HAVE_DONE
+ == "DONE"

late_failure_counts in runtime.transition:on_reply
-  or reply.attempt != attempt
+

undo_due_at_deadline in runtime.transition:_not_after
-  if state.status == "RUNNING" else due_at
+

retry_extends_deadline in runtime.transition:_fault
- awaiting=False,
+ awaiting=False, deadline_at=now + timedelta(seconds=saga.deadline),

backoff_forgotten in runtime.transition:_fault
- due_at = now + timedelta(seconds=rule.delay(attempt, f"{state.id}/{step.name}"))
+ due_at = now

backoff_flat in runtime.retry:Retry.delay
- self.factor ** (attempt - 1)
+ 1

timeout_not_doubled in runtime.sending:time_to_answer
- min(step.timeout * 2.0 ** min(silences, 16), max(LONGEST_WAIT, step.timeout))
+ step.timeout

undo_round_too_short in runtime.transition:_fault
- policy.undo_retry, step.undo_attempts
+ policy.retry, step.undo_attempts

# What may be forgotten on the way of a message.

no_fence in runtime.inbox:decide
- do_id if done is None else None
+ None

rejection_not_kept in runtime.inbox:is_final
- or (answer.outcome == "rejected" and action == "do")
+

inbox_not_saved in runtime.worker:Worker._answer_all
- inbox.save(self.database, list(fresh.items()))
+ pass

effect_without_savepoint in runtime.worker:Worker._attempt
- run_sql("ROLLBACK TO SAVEPOINT handler")
+ pass

undone_kept_with_the_batch in runtime.worker:Worker._attempt
- raise _UndoneWithItsBatch(answer)
+ return answer

neighbours_undone_too in runtime.worker:Worker._work
- out, worked = self._answer_all(found, undone, guarded=True)
+ out, worked = [], len(records)

offsets_before_send in runtime.batch_loop:BatchLoop._finish
- transport.finish(out)
+ transport.finish([]); transport.send(out)

rest_of_a_batch_lost in runtime.batch_loop:BatchLoop._finish
- transport.put_back(self.unworked)
+ pass

no_rewind in runtime.batch_loop:BatchLoop._turn
- transport.rewind()
+ pass

duplicates_unanswered in runtime.worker:Worker._answer_all
- out.append(self._reply(envelope, answer))
+ out += [self._reply(envelope, answer)] if decision.answer is None else []

reply_is_of_attempt_one in runtime.worker:Worker._reply
- 1 if inbox.is_final(command, answer) else command.attempt
+ 1

unreadable_command_unanswered in runtime.worker:Worker._unreadable
- return envelope, self._refusal("rejected", problem_of(INVALID_COMMAND, reason))
+ return None

dead_letters_lost in runtime.saga_host:SagaHost._work
- return letters +
+ return

# What one bad item may do to the others.

unreadable_row_ends_the_host in runtime.saga_guard:read
- except ValidationError as error:
+ except TypeError as error:

foreign_row_is_changed in runtime.saga_guard:read
- (state.id, state.name) != (saga_id, name)
+ state.name != name

never_taken_up_again in runtime.saga_guard:take_up
- now if state.due_at else None
+ None

exit_ends_the_process in runtime.errors:Tame.__exit__
- not isinstance(ending, (Exception, KeyboardInterrupt))
+ False

endless_text_is_not_cut in runtime.envelope:problem_of
- _text(message)[:MESSAGE_LIMIT]
+ _text(message)

never_guilty in runtime.poison:_alone
- was_alone and note.begun >= DEATHS
+ False

guilty_too_soon in runtime.poison:_alone
- note.begun >= DEATHS
+ note.begun > 0

guilty_is_asked_again in runtime.inbox:is_kept
- or (guilty and action == "do")
+

refused_commit_ends_the_process in runtime.worker:Worker._work
- len(found) > 1 or command is None
+ True

# What may go wrong with a saga's row.

key_not_stored in runtime.saga_store:SagaStore._start
- saga.name, key, request_hash)
+ saga.name, None, None)

key_for_any_body in runtime.saga_store:SagaStore._start
- _alike(earlier_hash, request_hash) and
+

pages_overlap in runtime.saga_queries:_select_oldest
- _select(name, status, after)
+ SagaRow.select(SagaRow.id)
+ .where(SagaRow.name == name, SagaRow.status == status, SagaRow.id >= after)

pages_miss_one in runtime.saga_queries:page
- [:limit]
+ [0 if after is None else 1 :][:limit]

no_history in runtime.saga_history:recorded
- (*new.history, (after, *told))
+ new.history

sweep_of_what_was_read_before in runtime.saga_store:SagaStore.sweep
- saga_rows.select_due.on(self.database, saga.name, now, SWEEP_LIMIT)
+ [(i, self.__dict__.setdefault(i, text)) for i, text in
+ saga_rows.select_due.on(self.database, saga.name, now, SWEEP_LIMIT)]

sweeper_skips_compensating in runtime.saga_rows:select_due
- SagaRow.due_at <= now
+ SagaRow.due_at <= now, SagaRow.status == "RUNNING"

start_sent_before_stored in runtime.client:SagaClient.start
- [started] = self._store.start(saga, [request], utcnow())
+ from .transition import start; self._send(start(saga, request.saga_id, message, utcnow()));
+ [started] = self._store.start(saga, [request], utcnow())
"""


def _read(text: str) -> Iterator[Bug]:
    for paragraph in text.strip().split("\n\n"):
        if not paragraph.startswith("#"):
            head, right, *wrong = paragraph.splitlines()
            name, module, target = re.split(" in |:", head)
            instead = " ".join(line[2:] for line in wrong)
            yield Bug(name, f"saga.{module}", target, right[2:], instead)


BUGS = {bug.name: bug for bug in _read(_BUGS)}


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
