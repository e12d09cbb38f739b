"""The program `saga`: its imports take a while, in which Ctrl-C has to be as quiet as later."""

import sys


def main() -> None:
    """Run the command; Ctrl-C ends it without a word, with exit code 130, at any moment."""
    try:
        from .cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
