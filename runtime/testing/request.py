"""What a client asked for and what it was told: what a saga is judged by."""

from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from ..errors import SagaError

COMPENSATES = ("COMPENSATING", "COMPENSATED")  # what a saga does whose cancellation is accepted
# What may be heard of a saga of which something was heard before.
MAY_FOLLOW: dict[str | None, tuple[str, ...]] = {
    None: ("RUNNING", "COMPLETED", "FAILED", *COMPENSATES),
    "RUNNING": ("RUNNING", "COMPLETED", "FAILED", *COMPENSATES),
    "COMPENSATING": ("FAILED", *COMPENSATES),
    "FAILED": ("FAILED", *COMPENSATES),
    "COMPLETED": ("COMPLETED",),
    "COMPENSATED": ("COMPENSATED",),
}


def soon_rather_than_late(chance: Random, soon: float, late: float) -> float:
    """Draw seconds between the two: as often from 0.1 to 1 as from 1 to 10."""
    return float(soon * (late / soon) ** chance.random())


@dataclass
class Request:
    """One wish of one client, with all that it has heard about it.

    `wanted` holds those fields of the start message that the client gave, as JSON has them; `told`
    the ids of the sagas that it was given, one per answer; `heard` what its saga was when an answer
    last told, `reads` how often it has read it. A cancellation is `accepted` once it was answered
    so; one that is only `asked` may have been heard or not.
    """

    wanted: dict[str, Any]
    key: str | None = None
    told: list[str] = field(default_factory=list)
    tries: int = 0
    cancel: Literal["no", "asked", "accepted"] = "no"
    heard: str | None = None
    reads: int = 0

    @property
    def saga_id(self) -> str | None:
        """The saga that the client knows of; None before the first answer."""
        return self.told[0] if self.told else None

    def hear(self, status: str) -> None:
        """Learn what the saga is now; raise `SagaError` if that contradicts what was heard.

        UNREADABLE says nothing of the saga itself.
        """
        if status == "UNREADABLE":
            return
        if status not in MAY_FOLLOW[self.heard]:
            raise SagaError(f"saga {self.saga_id} was {self.heard}, and is {status}")
        self.heard = status
