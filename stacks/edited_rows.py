"""Rows of sagas that `saga chaos` edits by hand, as a person may by mistake, and mends.

What such a saga has to send next can't be made. It is one of chaos' own: a client would be told of
what it has not asked for.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import peewee
from pydantic import ValidationError

from saga.runtime.polling import wait_until
from saga.runtime.problem import INVALID_COMMAND
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import SagaState, altered, from_json, to_json
from saga.runtime.testing.judgement import EXCUSES, Case

from . import ledger
from .bad_items import replaced
from .buyer import Buyer
from .mishaps import Mishap

EDIT_EVERY = (2.0, 5.0)  # seconds
MEND_TIMEOUT = 120.0  # seconds
UNMADE, NOT_UNDONE = "unmade commands", "unmade undos"
# What is edited of the start message: undos want nothing of it but the order.
FIELDS = {UNMADE: "product_id", NOT_UNDONE: "order_id"}
NONSENSE = "none"

Found = tuple[str, SagaState]  # a row's text, and what it says


class Editor(Mishap):
    """Edits rows of sagas that wait for their first reply, each of which it has started itself.

    `address` is that of the adapter at which its `buyer` orders and sagas are retried, and `edited`
    has kinds by the ids of the sagas that they have met.
    """

    every = EDIT_EVERY
    kinds = FIELDS.keys()

    def __init__(self, address: tuple[str, int], chance: random.Random) -> None:
        super().__init__(chance)
        self.buyer = Buyer(address, "edited")
        self.edited: dict[str, str] = {}
        self._right: dict[str, Any] = {}  # what was there
        self._product = self.buyer.product()

    def happen(self) -> None:
        """Start a saga and edit its row, unless its first reply is quicker."""
        kind = next(iter(self.missing()), UNMADE)
        saga_id, field = self.buyer.place(self._product).told[0], FIELDS[kind]
        with ledger.sagas().connection_context():
            found = _read(saga_id)
            waits = found is not None and found[1].steps[0].status == "RUNNING"
            if found and waits and _edited(found, field, NONSENSE):
                self.edited[saga_id] = kind
                self._right[saga_id] = found[1].input[field]
                self.seen[kind] += 1

    def settle(self) -> None:
        """Mend what was edited, now that it is at rest, and retry what has failed by it."""
        for saga_id in self.edited:
            mended = partial(self._mended, saga_id)
            wait_until(mended, f"the row of saga {saga_id} can't be mended", MEND_TIMEOUT)
            self.buyer.calls.last("POST", f"/sagas/{saga_id}/retry", (202, 409))
        self.buyer.calls.close()

    def judge(self, cases: Iterable[Case]) -> Iterator[str]:
        """See that each saga that was edited has given up, and no other; count those anew."""
        self.seen = Counter()
        for case in cases:
            kind, gave_up = self.edited.get(case.state.id), case.code == INVALID_COMMAND
            if gave_up and kind is None:
                yield f"{case}: gave up for {case.code}, and nobody has edited it"
            elif kind and not gave_up and case.code not in EXCUSES:
                yield f"{case}: one of {kind}, and gave up for {case.code or 'nothing'}"
            elif kind and gave_up:
                self.seen[kind] += 1
                failed = any(moment.status == "FAILED" for moment in case.path)
                if kind == NOT_UNDONE and not failed:
                    yield f"{case}: one of {kind}, and was never FAILED"

    def _mended(self, saga_id: str) -> bool:
        found = _read(saga_id)
        kind, right = FIELDS[self.edited[saga_id]], self._right[saga_id]
        return found is not None and found[1].ended and _edited(found, kind, right)


def _read(saga_id: str) -> Found | None:
    """Read a row; None where it is one that can't be read now."""
    try:
        text = SagaRow.select(SagaRow.state).where(SagaRow.id == saga_id).scalar()
        return text, from_json(text)
    except (peewee.OperationalError, ValidationError):
        return None


def _edited(found: Found, field: str, value: Any) -> bool:
    """Put another value into a start message; False where its saga has gone on meanwhile."""
    text, state = found
    other = to_json(altered(state, input={**state.input, field: value}))
    return replaced(state.id, text, other)
