"""Rows of sagas that can't be read for a while, as after a rollback or an edit by hand."""

from functools import partial
from typing import Any

from ..saga_rows import SagaRow
from ..saga_state import IN_FLIGHT
from .world import World

SPOILT_FOR = 30.0  # seconds, at most


class SpoiltRows:
    """Spoils rows of sagas in flight, past whatever disturbs the database, and mends them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def spoil(self) -> None:
        """Spoil the row of a saga in flight, if there is one, and mend it later."""
        marks = ", ".join("?" * len(IN_FLIGHT))
        query = f"SELECT id, state FROM saga WHERE status IN ({marks}) ORDER BY id"  # noqa: S608
        rows = [row for row in self._run(query, *IN_FLIGHT) if row[0] not in self._world.spoilt]
        if not rows:
            return
        saga_id, whole = self._world.chance.choice(rows)
        spoilt = self._spoilt(saga_id, whole)
        self._world.spoilt[saga_id] = whole, spoilt
        self._world.tell("nemesis", f"spoils the row of {saga_id}")
        self._run("UPDATE saga SET state = ? WHERE id = ?", spoilt, saga_id)
        later = self._world.chance.uniform(0, SPOILT_FOR)
        self._world.after(later, partial(self._mend, saga_id))

    def mend_all(self) -> None:
        """Mend what is spoilt still."""
        for saga_id in list(self._world.spoilt):
            self._mend(saga_id)

    def _spoilt(self, saga_id: str, whole: str) -> str:
        newer = whole.replace('"status":"', '"status":"NEWLY_', 1)
        foreign = whole.replace(saga_id, str(self._world.uuid()), 1)
        cut = whole[: self._world.chance.randrange(len(whole))]
        return self._world.chance.choice((newer, foreign, cut, "", "[]", "null"))

    def _mend(self, saga_id: str) -> None:
        if saga_id not in self._world.spoilt:
            return
        whole, spoilt = self._world.spoilt.pop(saga_id)
        [(state,)] = self._run("SELECT state FROM saga WHERE id = ?", saga_id)
        if state != spoilt:
            found = f"saga {saga_id}: its row was written over, though it can't be read"
            self._world.invariants.violations.append(found)
        self._run("UPDATE saga SET state = ? WHERE id = ?", whole, saga_id)
        self._world.tell("nemesis", f"mends the row of {saga_id}")

    def _run(self, query: str, *values: str) -> list[Any]:
        return SagaRow._meta.database.connection().execute(query, values).fetchall()  # type: ignore[no-any-return]
