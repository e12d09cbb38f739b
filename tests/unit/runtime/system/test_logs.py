"""What a log line is, as text and as JSON, whatever is logged."""

import io
import json
import logging
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.runtime.log_fields import Known
from saga.runtime.settings import Settings
from saga.runtime.system import logs
from saga.runtime.system.logs import configure_logging, hide_password, hide_secrets

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
ODD = "a\nb\r\x1b[31m\x9b\u2028\u202e"
ODD_KINDS = {"Cc", "Cs", "Zl", "Zp"}  # of letters: controls, surrogates, separators
log = logging.getLogger("oven")

Configure = Callable[..., io.StringIO]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    root, quix = logging.getLogger(), logging.getLogger("quixstreams")
    before = [*root.handlers], root.level, quix.level
    monkeypatch.setattr(logs, "_secrets", [])
    monkeypatch.setattr(root, "handlers", [])

    def configure(**settings: Any) -> io.StringIO:
        out = io.StringIO()
        monkeypatch.setattr(sys, "stderr", out)
        configure_logging(Settings(**settings), "shop.bake")
        return out

    yield configure
    root.handlers[:], root.level = before[:2]
    root.setLevel(before[1])
    quix.setLevel(before[2])


@pytest.fixture
def text(configure: Configure) -> io.StringIO:
    return configure()


@pytest.fixture
def as_json(configure: Configure) -> io.StringIO:
    return configure(saga_log_format="json", saga_version="v1")


def objects(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def raise_and_log(error: Exception, told: str = "failed") -> None:
    try:
        raise error
    except Exception:
        log.exception(told)


def test_text_is_a_time_a_level_a_name_and_a_message(text):
    log.warning("too %s", "hot")
    assert re.fullmatch(rf"{TIME} WARNING oven: too hot\n", text.getvalue())


def test_the_level_is_that_of_the_settings_and_libraries_say_less(configure):
    out = configure(saga_log_level="warning")
    log.info("quiet")
    configure(saga_log_level="info")
    logging.getLogger("quixstreams.app").info("chat")
    assert out.getvalue() == ""
    assert not logging.getLogger("quixstreams.app").isEnabledFor(logging.INFO)


def test_text_carries_the_sagas_id_once(text):
    with Known(lambda: {"saga_id": "s-1", "attempt": 2}):
        log.info("baked")
        log.info("saga s-1 goes on")
    first, second = text.getvalue().splitlines()
    assert first.endswith(" oven [s-1]: baked")
    assert second.endswith(" oven: saga s-1 goes on")


def test_json_has_what_is_known_of_a_line(as_json):
    told = {"saga_id": "s", "command_id": "s/x/do", "attempt": 2, "trace_id": "t"}
    with Known(lambda: told):
        log.info("baked %d", 3, extra={"trays": 2, "oven": "left"})
    [line] = objects(as_json)
    assert re.fullmatch(TIME, line.pop("time"))
    assert line == {
        "level": "INFO",
        "logger": "oven",
        "message": "baked 3",
        "function": "shop.bake",
        "version": "v1",
        "saga_id": "s",
        "command_id": "s/x/do",
        "attempt": 2,
        "trace_id": "t",
        "trays": 2,
        "oven": "left",
    }


def test_what_is_given_along_never_replaces_what_a_line_is(as_json):
    log.info("baked", extra={"level": "x", "time": "y", "function": "z", "version": "w"})
    [line] = objects(as_json)
    assert (line["level"], line["function"], line["version"]) == ("INFO", "shop.bake", "v1")


class Unsayable:
    def __str__(self) -> str:
        raise RuntimeError


def test_what_json_has_not_is_written_as_words(as_json):
    log.info("", extra={"a": float("nan"), "b": [1], "c": Unsayable(), "d": 1.5, "e": None})
    [line] = objects(as_json)
    assert [line[name] for name in "abcde"] == ["nan", "[1]", "<Unsayable>", 1.5, None]


def test_an_exception_is_below_its_line_indented(text):
    raise_and_log(ValueError("too hot\n2026-01-01T00:00:00.000000Z INFO    oven: forged"))
    line, *below = text.getvalue().splitlines()
    assert line.endswith("ERROR   oven: failed")
    assert below[0] == "    Traceback (most recent call last):"
    assert below[-2:] == [
        "    ValueError: too hot",
        "    2026-01-01T00:00:00.000000Z INFO    oven: forged",
    ]
    assert all(line.startswith("    ") for line in below)


def test_an_exception_is_a_field_of_its_line(as_json):
    raise_and_log(ValueError("too\nhot"))
    [line] = objects(as_json)
    assert line["message"] == "failed"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: too\nhot")


@pytest.mark.parametrize("kind", ["text", "json"])
def test_what_is_far_too_long_is_cut(configure, kind):
    out = configure(saga_log_format=kind)
    raise_and_log(ValueError("b" * 1_000_000), "a" * 1_000_000)
    assert "a" * 100_000 + "… (900000 characters more)" in out.getvalue()
    assert "b… (995012 characters more)" in out.getvalue()
    assert len(out.getvalue()) < 120_000


@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_traceback_of_far_too_many_lines_is_cut(configure, kind):
    out = configure(saga_log_format=kind)
    raise_and_log(ValueError("b\n" * 1_000_000))
    assert len(out.getvalue()) < 350_000
    assert out.getvalue().rstrip('"}\n').endswith(" characters more)")


def test_what_is_given_along_is_cut(as_json):
    log.info("here", extra={"oven": "c" * 1_000_000})
    log.info("here", extra={"oven": "c" * 100_000})
    whole = "c" * 100_000
    ovens = [line["oven"] for line in objects(as_json)]
    assert ovens == [whole + "… (900000 characters more)", whole]


def test_a_traceback_that_is_there_already_is_told_as_it_is(as_json):
    """A secret was taken out of it, perhaps."""
    error = ValueError("yeast")
    record = log.makeRecord(log.name, logging.ERROR, "", 0, "x", (), (ValueError, error, None))
    record.exc_text = "ValueError: ***"
    log.handle(record)
    assert objects(as_json)[0]["exception"] == "ValueError: ***"


def test_a_stack_is_told_as_an_exception_is(as_json):
    log.info("here", stack_info=True)
    assert objects(as_json)[0]["exception"].startswith("Stack (most recent call last):")
    log.info("here", exc_info=ValueError("x"), stack_info=True)
    assert "ValueError: x\nStack (most recent call last):\n" in objects(as_json)[1]["exception"]


def test_what_would_begin_a_line_or_steer_a_terminal_is_escaped(text):
    log.info(ODD)
    assert text.getvalue().endswith(
        "oven: a\\nb\\r\\x1b[31m\\x9b\\u2028\\u202e\n",
    )


def test_the_same_in_json_is_read_back_as_it_was(as_json):
    log.info(ODD)
    assert as_json.getvalue().isascii()
    assert objects(as_json)[0]["message"] == ODD


def test_half_a_letter_can_be_written():
    record = logging.makeLogRecord({"msg": "\ud800"})
    assert logs.TextFormatter().format(record).endswith(": \\ud800")
    assert json.loads(logs.JsonFormatter().format(record))["message"] == "\ud800"


@given(st.text(), st.text())
def test_a_record_is_one_line_whatever_its_words_are(message, value):
    record = logging.makeLogRecord({"msg": message, "name": value, "saga_id": value})
    for formatter in (logs.TextFormatter(), logs.JsonFormatter()):
        line = formatter.format(record)
        assert len(line.splitlines()) == 1
        assert {unicodedata.category(letter) for letter in line.replace("\t", "")}.isdisjoint(
            ODD_KINDS
        )
    assert json.loads(line)["message"] == message


@pytest.mark.parametrize("kind", ["text", "json"])
def test_secrets_are_left_out_of_messages_exceptions_and_fields(configure, kind):
    out = configure(
        saga_log_format=kind,
        saga_database_url="postgresql://ann:p%40ssword@db/shop",
        kafka_sasl_password='qu"oted\\',
    )
    hide_secrets(["s3cret-pin", None, "", "short"])
    for secret in ("s3cret-pin", 'qu"oted\\', "p@ssword", "p%40ssword"):
        log.info("the secret is %s, which is short", secret, extra={"given": secret})
        raise_and_log(ValueError(f"{secret} is wrong"))
    assert not re.search(r"s3cret|oted|ssword", out.getvalue())
    assert "which is short" in out.getvalue()
    assert out.getvalue().count("***") >= 8


def test_of_two_secrets_that_begin_alike_the_longer_one_is_left_out_whole(text):
    hide_secrets(["ghijkl"])
    hide_secrets(["abcdef-ghijkl"])
    log.info("abcdef-ghijkl ghijkl")
    assert text.getvalue().endswith(": *** ***\n")


def test_times_are_in_utc_whatever_the_machines_time_is(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        line = logs.TextFormatter().format(logging.makeLogRecord({"created": 0.0}))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert line.startswith("1970-01-01T00:00:00.000000Z ")


def test_a_databases_own_password_is_a_secret_and_its_name_is_none(text, monkeypatch):
    monkeypatch.setenv("PANTRY_DATABASE_PASSWORD", "hunter2-db")
    hide_password("pantry")
    hide_password("kitchen")
    log.info("kitchen hunter2-db")
    assert text.getvalue().endswith("kitchen ***\n")


def test_password_that_is_the_databases_name_is_none(text, monkeypatch):
    """It would be left out of the name of each function, and all that is told of it."""
    monkeypatch.setenv("PRODUCT_DATABASE_PASSWORD", "product")
    hide_password("product")
    log.info("product.reserve_product starts")
    assert text.getvalue().endswith(": product.reserve_product starts\n")


def test_password_that_is_the_users_name_is_none(configure):
    out = configure(saga_database_url="postgresql://postgres:postgres@db/shop")
    log.info("postgres is away")
    assert out.getvalue().endswith(": postgres is away\n")


def test_a_url_without_a_password_of_its_own_hides_nothing(configure):
    configure(saga_database_url="postgresql://{service}:{password}@db/{service}")
    configure(saga_database_url="postgresql://[")
    configure()
    assert logs._secrets == []
