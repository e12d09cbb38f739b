"""The program `saga`: its imports take a while, in which it has to end as well as later."""

import gc
import os
import signal
import sys

COLLECTED_TOGETHER = 20_000  # objects; with Python's 700, a command takes a fifth longer


def main() -> None:
    """Run the command; Ctrl-C ends it without a word, with exit code 130, at any moment."""
    gc.set_threshold(COLLECTED_TOGETHER)
    if os.getpid() == 1:  # a container's first process hears of no signal that nobody handles
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        from .cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.freeze()  # the end of the process frees all of it without a look


if __name__ == "__main__":
    main()
