"""What a client asked for and what it was told: what a saga is judged by."""

from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

COMPENSATES = ("COMPENSATING", "COMPENSATED")  # what a saga does whose cancellation is accepted


def soon_rather_than_late(chance: Random, soon: float, late: float) -> float:
    """Draw seconds between the two: as often from 0.1 to 1 as from 1 to 10."""
    return float(soon * (late / soon) ** chance.random())


@dataclass
class Request:
    """One wish of one client, with all that it has heard about it.

    `wanted` holds those fields of the start message that the client gave, as JSON has them; `told`
    the ids of the sagas that it was given, one per answer. A cancellation is `accepted` once it was
    answered so; one that is only `asked` may have been heard or not.
    """

    wanted: dict[str, Any]
    key: str | None = None
    told: list[str] = field(default_factory=list)
    tries: int = 0
    cancel: Literal["no", "asked", "accepted"] = "no"

    @property
    def saga_id(self) -> str | None:
        """The saga that the client knows of; None before the first answer."""
        return self.told[0] if self.told else None
