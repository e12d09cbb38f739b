"""How often something is tried again, and after what pause."""

import math
import zlib
from dataclasses import dataclass

from .clock import check_seconds
from .errors import ContractError


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a command is sent, and how long to wait between the sendings.

    The wait before sending n+1 is `first * factor ** (n - 1)` seconds, at most `longest`, of which
    up to half is taken off at random, so that sagas that failed together don't return together.
    A `first` of 0 is for faults that another try may cure at once. Raises `ContractError` for a
    number that is none of its kind.
    """

    attempts: int = 5
    first: float = 0.2  # seconds
    factor: float = 2.0
    longest: float = 30.0  # seconds

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            raise ContractError(f"Retry: attempts is {self.attempts!r}, not 1, 2, 3, …")
        if not (isinstance(self.factor, (int, float)) and 1 <= self.factor < math.inf):
            raise ContractError(f"Retry: factor is {self.factor!r}, not a number from 1 on")
        if self.first != 0:
            check_seconds("Retry: first", self.first)
        check_seconds("Retry: longest", self.longest)

    def delay(self, attempt: int, seed: str) -> float:
        """Return the seconds to wait after a failed `attempt`, the same for the same seed."""
        try:
            whole = min(self.longest, self.first * self.factor ** (attempt - 1))
        except OverflowError:  # far beyond `longest`
            whole = self.longest
        jitter = zlib.crc32(f"{seed}/{attempt}".encode()) / 0xFFFF_FFFF
        return whole * (1 - jitter / 2)

    def exhausted(self, attempt: int) -> bool:
        """Tell whether `attempt`, counted from 1, was the last one of its round."""
        return attempt >= self.attempts
