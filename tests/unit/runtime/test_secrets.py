"""A secret is an environment variable, or a file of its name in one folder."""

from pathlib import Path

import pytest

from saga.runtime.errors import StackError
from saga.runtime.secrets import (
    database_password,
    read_secret,
    read_secrets,
    secrets_folder,
    without_logins,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SAGA_SECRETS", str(tmp_path / "secrets"))
    monkeypatch.delenv("API_KEY", raising=False)
    (tmp_path / "secrets").mkdir()
    return tmp_path / "secrets"


def test_variable_is_a_secret(folder, monkeypatch):
    monkeypatch.setenv("API_KEY", "s3cr3t")
    assert read_secret("API_KEY") == "s3cr3t"


def test_file_is_a_secret_without_its_last_line_break(folder):
    (folder / "API_KEY").write_text("two\nlines \n\n")
    assert read_secret("API_KEY") == "two\nlines \n"


def test_variable_goes_before_the_file_even_if_it_is_empty(folder, monkeypatch):
    (folder / "API_KEY").write_text("file")
    monkeypatch.setenv("API_KEY", "")
    assert read_secret("API_KEY") == ""


def test_folder_is_that_of_docker_unless_another_is_set(monkeypatch):
    monkeypatch.delenv("SAGA_SECRETS", raising=False)
    assert secrets_folder() == Path("/run/secrets")


@pytest.mark.parametrize("what", ["nothing", "a folder", "no text", "no folder around it"])
def test_what_can_not_be_read_is_no_secret(folder, what):
    if what == "a folder":
        (folder / "API_KEY").mkdir()
    elif what == "no text":
        (folder / "API_KEY").write_bytes(b"\xff\xfe")
    elif what == "no folder around it":
        folder.rmdir()
    assert read_secret("API_KEY") is None


def test_missing_secrets_are_named_in_one_line_and_no_value_is(folder):
    (folder / "API_KEY").write_text("s3cr3t")
    with pytest.raises(StackError) as error:
        read_secrets(["TOKEN", "API_KEY", "PIN"])
    assert str(error.value) == (
        "no secret TOKEN, PIN: set the environment variable, "
        f"or put a file of that name into {folder}"
    )


def test_empty_secret_is_not_missing(folder):
    (folder / "API_KEY").write_text("\n")
    assert read_secrets(["API_KEY"]) == {"API_KEY": ""}


def test_database_password_is_the_services_own_or_its_name(folder):
    assert database_password("order") == "order"
    (folder / "ORDER_DATABASE_PASSWORD").write_text("s3cr3t\n")
    assert database_password("order") == "s3cr3t"
    assert database_password("user") == "user"


@pytest.mark.parametrize("login", ["ann:secret@", "ann:se@cr/et@", "secret@", ""])
def test_login_is_left_out_of_a_text(login):
    text = f"401 for http://{login}host/a, ask ann@host"
    left = "http://…@host/a" if login else "http://host/a"
    assert without_logins(text) == f"401 for {left}, ask ann@host"


def test_long_word_without_a_login_is_looked_through_once():
    text = "://" * 1_000_000  # hours, where it is for each of them
    assert without_logins(text) == text
