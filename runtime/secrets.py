"""Secrets: values that no stack file, image, artifact, listing or log holds.

A secret is an environment variable, or else a file of its name in one folder, which is how Docker
and Kubernetes hand secrets to a container.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from .errors import ContractError, StackError

UNREAD = "database URL postgresql://… can't be read: in a password, @ is %40, / is %2F and % is %25"


def secrets_folder() -> Path:
    """Return the folder of secret files, which need not exist: SAGA_SECRETS."""
    return Path(os.environ.get("SAGA_SECRETS") or "/run/secrets")


def read_secret(name: str) -> str | None:
    """Return a secret's value, None if there is none; a file's last line break is no part of it."""
    if (value := os.environ.get(name)) is not None:
        return value
    try:
        return (secrets_folder() / name).read_text().removesuffix("\n")
    except (OSError, UnicodeDecodeError):
        return None


def read_secrets(names: Iterable[str]) -> dict[str, str]:
    """Return the secrets' values; raise `StackError`, which names those that are missing."""
    found = {name: read_secret(name) for name in names}
    missing = [name for name, value in found.items() if value is None]
    if missing:
        raise StackError(
            f"no secret {', '.join(missing)}: set the environment variable, "
            f"or put a file of that name into {secrets_folder()}"
        )
    return {name: value for name, value in found.items() if value is not None}


def check_url(url: str) -> None:
    """Raise `ContractError` where a password holds what would end it.

    libpq would take the rest of it for a host, and tell that in its error.
    """
    login = url.partition("://")[2].rpartition("@")[0]
    if "@" in login or "/" in login:
        raise ContractError(UNREAD)


def without_logins(text: str) -> str:
    """Leave out of a text who logs in where, and with which password, as URLs may have it."""
    # Whole words at once: where none has a login, none is looked through again and again.
    return re.sub(r"://(\S*@)?(\S*)", lambda it: f"://{'…@' if it[1] else ''}{it[2]}", text)


def database_password(service: str) -> str:
    """Return the password of a service's database role; the service's name if none is set."""
    return read_secret(f"{service.upper()}_DATABASE_PASSWORD") or service
