"""What has to be so before anything of a system is started."""

from collections.abc import Mapping

from ..database.sqlite import check_sqlite
from ..secrets import read_secrets
from ..settings import Settings
from .stack import Stack


def check_first(first: Mapping[str, Stack], settings: Settings) -> None:
    """Look at what is to be started, functions, sagas and adapters by their names.

    Raises a `SagaError` when SQLite is too old or a secret is missing.
    """
    for stack in first.values():
        check_sqlite(settings.database_url(stack.database))
    for name, stack in first.items():
        read_secrets(stack.resources(name.partition(".")[2] or None).secrets)
