"""Why a command was rejected, or failed: a code and a message, and who may read the message."""

from operator import not_

from pydantic import BaseModel, Field, ValidationError

from .envelope import Reply
from .errors import said

INVALID_COMMAND = "invalid_command"  # the code where a command can't be made, or can't be read
CODE_LIMIT, MESSAGE_LIMIT = 100, 1_000  # characters in those of a problem


class Problem(BaseModel):
    """Why a command was rejected or failed: the body of such a reply.

    The message is `public` where it is the word of a `Rejected`, or of the runtime's own. The text
    of a fault is not: it is for those who run the system, and no client is told it.
    """

    code: str
    message: str
    public: bool = Field(default=False, exclude_if=not_)


def problem_of(code: object, message: object, *, public: bool = False) -> Problem:
    """Make a problem of whatever a handler has raised, text or not, cut to its limits."""
    cut = _text(code)[:CODE_LIMIT], _text(message)[:MESSAGE_LIMIT]
    return Problem(code=cut[0], message=cut[1], public=public)


def problem_in(reply: Reply) -> Problem:
    """Read why a command was rejected or failed, whatever the reply holds."""
    try:
        told = Problem.model_validate_json(reply.data)
    except ValidationError:
        return problem_of("unknown", reply.data)
    public = reply.outcome == "rejected" and told.code != INVALID_COMMAND
    return problem_of(told.code, told.message, public=public)


def _text(word: object) -> str:
    # A NUL is text in JSON, and in no column of PostgreSQL.
    return said(word).encode(errors="replace").decode().replace("\0", "\ufffd")
