"""What a REST adapter is written with; `new_app` makes it of routes, `saga_blueprint` of a saga."""

from sanic.exceptions import NotFound

from ..saga_store import TABLES as SAGA_TABLES
from . import fields, repeats, tags
from .app import App, new_app
from .openapi import describe
from .paging import NumberedPage, TimedPage, page, query
from .payload import CHANGE, Body, answer, created, read, read_change
from .problem_types import KEY_REUSED, ProblemType
from .problems import Conflict, Invalid
from .routes import get
from .rows import change_row, delete_row, get_row, list_rows, unknown_row
from .saga_service import Send
from .sagas import saga_blueprint
from .threads import in_thread

__all__ = [
    "CHANGE",
    "KEY_REUSED",
    "SAGA_TABLES",
    "App",
    "Body",
    "Conflict",
    "Invalid",
    "NotFound",
    "NumberedPage",
    "ProblemType",
    "Send",
    "TimedPage",
    "answer",
    "change_row",
    "created",
    "delete_row",
    "describe",
    "fields",
    "get",
    "get_row",
    "in_thread",
    "list_rows",
    "new_app",
    "page",
    "query",
    "read",
    "read_change",
    "repeats",
    "saga_blueprint",
    "tags",
    "unknown_row",
]
