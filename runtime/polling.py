"""Wait for a condition by asking again and again."""

from collections.abc import Callable

import tenacity

from .errors import SagaError


def poll_until(condition: Callable[[], bool], timeout: float, every: float = 0.05) -> bool:
    """Ask `every` so many seconds until the condition holds; tell if it did within `timeout`.

    What the condition raises ends the waiting.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda holds: not holds),
        stop=tenacity.stop_after_delay(timeout),
        wait=tenacity.wait_fixed(every),
        retry_error_callback=lambda _: False,
    )
    return retrying(condition)


def wait_until(condition: Callable[[], bool], failure: str, timeout: float) -> None:
    """Wait until the condition holds; raise `SagaError`, which begins with `failure`, if it won't.

    For what the processes of a system do: the text says where to look.
    """
    if not poll_until(condition, timeout):
        raise SagaError(f"{failure} within {timeout:g} s: see `saga ps` and `saga logs`")
