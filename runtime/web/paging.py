"""Lists, page by page, and what a query string may hold."""

from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, ValidationError
from sanic import HTTPResponse, Request

from .fields import QueryId, QueryLimit, QueryUuid
from .payload import MEDIA_TYPE
from .problems import Invalid, invalid

Q = TypeVar("Q", bound=BaseModel)


class Page(BaseModel):
    """A part of a list: at most `limit` items."""

    model_config = ConfigDict(extra="forbid")

    limit: QueryLimit = 100


class NumberedPage(Page):
    """A page of a list whose ids are integers."""

    after: QueryId | None = None


class TimedPage(Page):
    """A page of a list whose ids are UUIDs of version 7, which sort by age."""

    after: QueryUuid | None = None


def query(request: Request, shape: type[Q]) -> Q:
    """Read the request's query string, or raise the fitting problem."""
    given = request.get_args(keep_blank_values=True)
    if repeated := [name for name, values in given.items() if len(values) > 1]:
        raise Invalid(dict.fromkeys(repeated, "must be given once"))
    try:
        return shape.model_validate({name: values[0] for name, values in given.items()})
    except (ValidationError, ArithmeticError) as error:
        raise invalid(error) from None


def page(
    request: Request, asked: Page, found: Sequence[BaseModel], id_field: str = "id"
) -> HTTPResponse:
    """Answer with a list. `found` may hold one item too many, to tell that there is more."""
    shown = found[: asked.limit]
    more = len(found) > asked.limit
    return part(request, asked, shown, getattr(shown[-1], id_field) if more else None)


def part(
    request: Request, asked: Page, shown: Sequence[BaseModel], after: object | None
) -> HTTPResponse:
    """Answer with a part of a list, which may be empty; there is more where `after` is an id."""
    headers = {}
    if after is not None:
        following = {**asked.model_dump(mode="json", exclude_none=True), "after": after}
        headers["Link"] = f'<{request.path}?{urlencode(following)}>; rel="next"'
    body = "[" + ",".join(item.model_dump_json() for item in shown) + "]"
    return HTTPResponse(body, 200, headers, MEDIA_TYPE)
