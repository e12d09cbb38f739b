"""The program `saga`: its imports take a while, in which Ctrl-C has to be as quiet as later."""

import gc
import sys

COLLECTED_TOGETHER = 20_000  # objects; with Python's 700, a command takes a fifth longer


def main() -> None:
    """Run the command; Ctrl-C ends it without a word, with exit code 130, at any moment."""
    gc.set_threshold(COLLECTED_TOGETHER)
    try:
        from .cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.freeze()  # the end of the process frees all of it without a look


if __name__ == "__main__":
    main()
