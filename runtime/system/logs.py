"""How the processes log."""

import logging
import sys

from ..settings import Settings

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure_logging(settings: Settings) -> None:
    """Log to standard error, a line a fact."""
    level = settings.saga_log_level.upper()
    logging.basicConfig(level=level, format=LOG_FORMAT, stream=sys.stderr, force=True)
    logging.getLogger("quixstreams").setLevel(logging.WARNING)
