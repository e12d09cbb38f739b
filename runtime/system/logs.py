"""How the processes log: a line a fact, as text for people or as JSON for programs.

Whatever is logged, nobody can forge a line with it: in a message, line breaks and what else would
steer a terminal are escaped; a traceback's lines are indented. What is known to be secret is left
out. What a function prints passes by all of this.
"""

import json
import logging
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import said
from ..log_fields import Fields, known_fields
from ..secrets import read_secret
from ..settings import Settings

INDENTED = "    "
HIDDEN = "***"
# Characters: a fault's text of a megabyte, logged at each attempt, would rotate all else away.
LONGEST = 100_000  # of a message, a traceback, or what is given along with them
LONGEST_BELOW = 5_000  # of each line of a traceback
SHORTEST_SECRET = 6  # characters: hiding less would spoil words, and hide nothing
OWN = ("time", "level", "logger", "message", "function", "version", "exception")
# What every record has; all else was given by whoever has logged it.
USUAL = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}

# Control characters, what turns the direction of writing, and what some take for a line break.
_ODD = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F)]
_ODD += [*range(0x2066, 0x206A), *range(0xD800, 0xE000)]
_ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _ODD}
_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\t"}
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in _ODD}

_encode = json.JSONEncoder(ensure_ascii=False).encode
_secrets: list[str] = []


def configure_logging(settings: Settings, function: str | None = None) -> None:
    """Log to standard error; `function` says which one, or which saga or adapter, does so."""
    names = {"function": function, "version": settings.hosted_version}
    process = {name: value for name, value in names.items() if value}
    kinds = {"text": TextFormatter, "json": JsonFormatter}
    handler = logging.StreamHandler()
    formatter = kinds[settings.saga_log_format]()
    formatter.process = process
    handler.setFormatter(formatter)
    level = settings.saga_log_level.upper()
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # No record has what no line tells: see "Optimization" in Python's Logging HOWTO.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("quixstreams").setLevel(logging.WARNING)
    hide_secrets(_secrets_of(settings))


def hide_secrets(values: Iterable[str | None]) -> None:
    """Leave out of all that this process logs what is secret, and six characters long or longer."""
    new = {value for value in values if value and len(value) >= SHORTEST_SECRET}
    _secrets[:] = sorted({*_secrets, *new}, key=len, reverse=True)


def hide_password(database: str) -> None:
    """Leave the password of a database out of all that this process logs, if it has one.

    One that is the database's name, as in docker-compose.yml where none is given, is no secret, and
    a part of what most lines tell.
    """
    password = read_secret(f"{database.upper()}_DATABASE_PASSWORD")
    hide_secrets([password] if password != database else [])


def _secrets_of(settings: Settings) -> list[str | None]:
    url = settings.saga_database_url.get_secret_value()
    try:
        parts = urlsplit(url)
        password = parts.password if parts.password != parts.username else None
    except ValueError:  # told where the database is opened
        password = None
    given = [password, unquote(password)] if password and "{" not in password else []
    kafka = settings.kafka_sasl_password
    return [*given, kafka.get_secret_value() if kafka else None]


class TextFormatter(logging.Formatter):
    """One line for each record, which carries the saga's id, and a traceback indented below."""

    process: Mapping[str, str] = MappingProxyType({})  # what JSON tells of it

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        given, message = vars(record), _message(record)
        saga_id = given["saga_id"] if "saga_id" in given else known_fields().get("saga_id")
        where = f" [{saga_id}]" if saga_id and saga_id not in message else ""
        line = f"{_time(record)} {record.levelname:<7} {record.name}{where}: {message}"
        if not (record.exc_info or record.exc_text or record.stack_info):
            return escaped(line)
        below = [INDENTED + escaped(one) for one in self._traceback(record).splitlines()]
        return "\n".join([escaped(line), *below])

    def _traceback(self, record: logging.LogRecord) -> str:
        traceback = record.exc_text
        if record.exc_info and not traceback:
            traceback = self.formatException(record.exc_info)
        lines = hidden("\n".join(filter(None, [traceback, record.stack_info]))).split("\n")
        return cut("\n".join(cut(line, LONGEST_BELOW) for line in lines), LONGEST)


class JsonFormatter(TextFormatter):
    """One JSON object for each record, in a line; what is not known of it is not there."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        line = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            **self.process,
        }
        for name, value in fields(record).items():
            if name not in OWN:
                line[name] = _plain(value)
        if traceback := self._traceback(record):
            line["exception"] = traceback
        text = _encode(line)
        return text if text.isprintable() else text.translate(_JSON_ESCAPES)


def fields(record: logging.LogRecord) -> Fields:
    """Return what is known where a record is logged, and what was given along with it."""
    given = {name: value for name, value in vars(record).items() if name not in USUAL}
    return {**known_fields(), **given}


def escaped(text: str) -> str:
    """Write line breaks and what else would steer a terminal as Python writes them in a string."""
    return text if text.isprintable() else text.translate(_ESCAPES)


def hidden(text: str) -> str:
    """Leave out of a text what this process knows to be secret."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def cut(text: str, most: int) -> str:
    """Return the first `most` characters of a longer text, and how many more it had."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} characters more)"


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _message(record: logging.LogRecord) -> str:
    return cut(hidden(record.getMessage()), LONGEST)


def _plain(value: object) -> Any:
    """Return what JSON has, or else how Python writes it."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return cut(hidden(said(value)), LONGEST)
