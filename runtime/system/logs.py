"""How the processes log."""

import logging
import sys
import time

from ..settings import Settings

LOG_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"  # in UTC, and so as RFC 3339 has it


def configure_logging(settings: Settings) -> None:
    """Log to standard error, a line a fact."""
    level = settings.saga_log_level.upper()
    formatter = logging.Formatter(LOG_FORMAT, TIME_FORMAT)
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("quixstreams").setLevel(logging.WARNING)
