"""All that goes wrong in one run of `saga chaos`, and what of that may be seen afterwards."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Self

from saga.functions.orchestrator.place_order import place_order
from saga.functions.order.messages import CreateOrder
from saga.functions.product.messages import ReserveProduct
from saga.functions.user.store import Payment
from saga.runtime.clock import utcnow
from saga.runtime.dead_letter import SUFFIX, open_dead_letters
from saga.runtime.envelope import Record
from saga.runtime.problem import INVALID_COMMAND
from saga.runtime.saga_host import NOT_SENT
from saga.runtime.settings import Settings
from saga.runtime.system.stack import read_stacks, topics
from saga.runtime.system.state import System
from saga.runtime.testing.judgement import EXCUSES, Judgement
from saga.runtime.testing.request import Request

from . import ledger
from .bad_items import JUNK, Litterer, Spoiler
from .edited_rows import Editor
from .mishaps import Freezer, Killer, Mishap, Repeater
from .refused_sends import Refuser, is_unsent
from .traps import HANGS, Traps

ANSWERS = place_order.reply_topics
LEADS_INTO_TRAPS = (CreateOrder.topic, ReserveProduct.topic)
OF_CLIENTS = ("repeated requests", "read again", "duplicates")


class Disturbing:
    """Everything that goes wrong: it begins and ends with a `with` block.

    `settings` lead to the broker, `host` is where the adapters are; each mishap has a chance of its
    own, from the `seed`.
    """

    def __init__(self, settings: Settings, running: System, host: str, seed: int) -> None:
        data, orchestrator = settings.saga_data, (host, running.port("orchestrator"))
        commands = [t for t in topics(read_stacks(settings.saga_stacks)) if t not in ANSWERS]
        chances = (random.Random(seed + n) for n in range(1, 9))  # noqa: S311 - to be repeated
        self.traps = Traps(data, orchestrator, next(chances))
        self.killer = Killer(data, next(chances), self.traps.spared)
        self.repeater = Repeater(settings, commands, next(chances))
        self._litterer = Litterer(settings, next(chances))
        self._freezer = Freezer(data, next(chances))
        self._spoiler = Spoiler(orchestrator, next(chances))
        self._refuser = Refuser(settings, LEADS_INTO_TRAPS, orchestrator, next(chances))
        self._editor = Editor(orchestrator, next(chances))
        self._mishaps: tuple[Mishap, ...] = (
            *(self._refuser, self.killer, self.repeater, self._litterer, self._freezer),
            *(self._spoiler, self._editor, self.traps),
        )
        self._began = utcnow()
        self._together = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as begun:
            for mishap in self._mishaps:
                begun.enter_context(mishap)
            self._together = begun.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._together.close()

    @property
    def own_requests(self) -> list[Request]:
        """The orders that are there to go wrong, beside those of clients."""
        return [*self.traps.buyer.requests, *self._editor.buyer.requests]

    def missing(self, requests: Sequence[Request]) -> list[str]:
        """List what has not happened so far, or has met none of the orders."""
        missing = [kind for mishap in self._mishaps for kind in mishap.missing()]
        if not any(request.tries > 1 for request in requests):
            missing.append("repeated requests")
        return missing or ([] if self._is_refunded() else ["refunds"])

    def settle(self, wait_for_rest: Callable[[], None]) -> None:
        """Do for the sagas what an operator does, until none of them needs that."""
        self._spoiler.settle()
        wait_for_rest()
        self._editor.settle()
        self._refuser.settle()
        wait_for_rest()

    def judge(
        self, requests: Sequence[Request], before: ledger.Books, records: Sequence[Record]
    ) -> Judgement:
        """Judge all orders, and count what went wrong; `records` are answers and dead letters."""
        letters = open_dead_letters(
            record for record in records if record.topic.endswith(SUFFIX) and record.key != JUNK
        )
        unsent = [letter for letter in letters if is_unsent(letter)]
        others = [letter for letter in letters if not is_unsent(letter)]
        hit = {letter.saga_id for letter in unsent} | self._editor.edited.keys()
        hit |= {request.saga_id for request in self.traps.buyer.requests}
        asked = [*requests, *self.own_requests]
        excused = ledger.EXCUSED + len(hit) / len(asked)
        excuses = EXCUSES | {NOT_SENT, INVALID_COMMAND}
        found = ledger.judge_orders(asked, before, excuses, excused)
        found.violations += self.traps.judge(found.cases, others)
        found.violations += self._refuser.judge(found.cases, unsent)
        found.violations += self._editor.judge(found.cases)
        found.seen["duplicates"] += _repeated(records)
        for mishap in self._mishaps:
            found.seen.update(mishap.seen)
        found.seen["refused sends"] = len(unsent)
        if HANGS in self.traps.kinds:
            found.seen[HANGS] = self.traps.ended()
        return found

    def kinds(self) -> list[str]:
        """List what a run is there to see beside the ends of sagas."""
        return [*OF_CLIENTS, *(kind for mishap in self._mishaps for kind in mishap.kinds)]

    def _is_refunded(self) -> bool:
        of_this_run = Payment.select().where(Payment.refunded, Payment.created_at >= self._began)
        return bool(of_this_run.exists())


def _repeated(records: Sequence[Record]) -> int:
    """Count the answers that were given again, to duplicates."""
    answers = Counter((dict(r.headers).get("ce_id"), r.value) for r in records)
    return answers.total() - len(answers)
