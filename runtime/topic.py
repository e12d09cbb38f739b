"""What Kafka takes as a topic's name, told where the name is written."""

import re

from .dead_letter import SUFFIX
from .errors import ContractError

NAME_LIMIT = 249  # characters
LIMIT = NAME_LIMIT - len(SUFFIX)  # characters; the topic of its dead letters has a name, too


def check_topic(whose: str, name: object) -> None:
    """Raise `ContractError` unless each broker takes the name of a topic."""
    if not (isinstance(name, str) and re.fullmatch(rf"[a-zA-Z0-9._-]{{1,{LIMIT}}}", name)):
        raise ContractError(
            f"{whose}: {name!r} can't be a topic: take 1 to {LIMIT} of a-z, A-Z, 0-9, '.', '_', '-'"
        )
    if name in (".", "..") or name.endswith(SUFFIX):
        raise ContractError(f"{whose}: {name!r} can't be a topic: it has a meaning of its own")


def alike(name: str) -> str:
    """Return what two topics may not have in common: in names of metrics, '.' is '_' as well."""
    return name.replace(".", "_")
