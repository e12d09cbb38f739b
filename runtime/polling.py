"""Wait for a condition by asking again and again."""

from collections.abc import Callable

import tenacity


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
