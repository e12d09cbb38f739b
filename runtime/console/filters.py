"""Which sagas a list is of: the filter in a page's address, in the words of the saga's own API."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from pydantic import ValidationError

from ..saga import Saga
from ..saga_search import Between
from ..web.saga_shapes import SagaPage
from ..web.sagas import SagaApi

SAGA = "saga"  # the parameter that the API of one saga does not have
EVERYWHERE = ("status", "saga_id", "created_after", "created_before")
FAILURE = ("step", "code")

_LOCAL = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d(?:\.\d+)?)?")  # a browser's, here in UTC


@dataclass
class Filter:
    """A filter as its address has it: `given`, by name, as text.

    `fields` are those that the sagas can be searched by, `wrong` says what is wrong with a value;
    what is asked of the database is in the others.
    """

    given: dict[str, str]
    fields: list[str]
    wrong: dict[str, str] = field(default_factory=dict)
    saga: Saga | None = None
    search: dict[str, Any] = field(default_factory=dict)
    status: str | None = None
    ids: Between = (None, None)
    after: str | None = None

    def query(self, **changes: str) -> str:
        """Return the query string of this list, or of one that differs from it."""
        text = urlencode({k: v for k, v in {**self.given, **changes}.items() if v})
        return f"?{text}" if text else ""

    @property
    def is_empty(self) -> bool:
        """Whether all sagas pass."""
        return not self.given.keys() - {"after"}

    @property
    def is_narrow(self) -> bool:
        """Whether one of the rarer fields is given."""
        return bool(self.given.keys() & {*FAILURE, "created_after", "created_before"})


def read_filter(query: Mapping[str, list[str]], apis: Mapping[str, SagaApi]) -> Filter:
    """Read a query string; what is not known in it is passed over.

    The fields to search by are those of the chosen saga, or of the only one.
    """
    given = {name: values[0].strip() for name, values in query.items() if values[0].strip()}
    chosen = given.get(SAGA, "")
    api = next(iter(apis.values())) if not chosen and len(apis) == 1 else apis.get(chosen)
    fields = [*FAILURE, *api.service.saga.search] if api else []
    known = {SAGA, "after", *EVERYWHERE, *fields}
    asked = Filter({name: text for name, text in given.items() if name in known}, fields[2:])
    if chosen and api is None:
        asked.wrong[SAGA] = f"no saga {chosen} is hosted here"
        return asked
    values = {name: _in_utc(text) for name, text in asked.given.items() if name != SAGA}
    try:
        page = (api.shapes.page if api else SagaPage).model_validate(values)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            asked.wrong[str(found["loc"][0])] = found["msg"].removeprefix("Value error, ")
        return asked
    except ArithmeticError:
        asked.wrong["filter"] = "a number is too large, or has too many digits"
        return asked
    asked.search = api.shapes.search(page) if api else {}
    asked.saga = api.service.saga if api and (chosen or asked.search) else None
    asked.status, asked.ids = page.status, page.ids
    asked.after = str(page.after) if page.after else None
    return asked


def _in_utc(text: str) -> str:
    found = _LOCAL.fullmatch(text)
    return f"{found[1]}{found[2] or ':00'}Z" if found else text
