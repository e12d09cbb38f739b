"""The types of problems: by its `code`, a program tells one from another of the same status."""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

PAGE = "/docs/problems"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A type of problem, as RFC 9457 has it: the same `title` whatever the `detail` of each is.

    The `code` is for programs, so it never changes; `about` says what a client can do.
    """

    code: str
    status: int
    title: str
    about: str

    @property
    def uri(self) -> str:
        """Where it is described, relative to the adapter, if it is."""
        return f"{PAGE}#{self.code}" if self.about else "about:blank"


CONFLICT = ProblemType(
    "conflict",
    409,
    "The state of things does not allow this",
    "The `detail` says what is in the way.",
)
BUSY = ProblemType(
    "busy", 503, "There is too much to do already", "Ask again, after the seconds in `Retry-After`."
)
STOPPING = ProblemType(
    "stopping", 503, "The service is stopping", "Ask again, after the seconds in `Retry-After`."
)
CROSS_ORIGIN = ProblemType(
    "cross_origin",
    403,
    "A page of another origin has sent this",
    "Only pages of the adapter's own origin, and programs, may change anything.",
)
UNKNOWN_HOST = ProblemType(
    "unknown_host",
    421,
    "The adapter is not known by this name",
    "Ask for it by its address, or let `SAGA_HOSTS` have the name.",
)
# Which a request may meet whatever it asks for. Of those with one status, the first is meant where
# nothing else is told.
ANYWHERE = (
    ProblemType(
        "malformed",
        400,
        "The request can't be read",
        "The `detail` says what it is not: HTTP, UTF-8 or JSON.",
    ),
    CROSS_ORIGIN,
    ProblemType(
        "not_found", 404, "There is no such thing", "The path is unknown, or the id in it."
    ),
    ProblemType(
        "method_not_allowed",
        405,
        "The path has no such method",
        "Those that it has are in `Allow`.",
    ),
    CONFLICT,
    ProblemType(
        "precondition_failed",
        412,
        "It has another state than `If-Match` says",
        "Somebody has changed it: read it again, and decide anew.",
    ),
    ProblemType("too_large", 413, "The request is too large", "A body has at most 1 MiB."),
    ProblemType(
        "unsupported_media_type",
        415,
        "The body is not declared as JSON",
        "Its `Content-Type` is `application/json`, in UTF-8.",
    ),
    ProblemType(
        "invalid",
        422,
        "A field, a parameter or a header is wrong",
        "Its name is in `errors`, with what is wrong.",
    ),
    UNKNOWN_HOST,
    ProblemType("internal_error", 500, "Something went wrong here", "It is in the adapter's log."),
    ProblemType(
        "unavailable",
        503,
        "Something that the service needs can't be reached",
        "Its name is in `away`. Ask again, after the seconds in `Retry-After`.",
    ),
    BUSY,
    STOPPING,
)
KEY_REUSED = ProblemType(
    "key_reused",
    409,
    "The idempotency key was used for something else",
    "Use a key for one request alone, and repeat that as it was.",
)
SAGA_ENDED = ProblemType(
    "saga_ended",
    409,
    "The saga has ended",
    "Nothing is left to be cancelled; the saga tells how it ended.",
)
SAGA_NOT_FAILED = ProblemType(
    "saga_not_failed", 409, "The saga has not failed", "One that is FAILED can be retried."
)
NO_FAILED_UNDO = ProblemType(
    "no_failed_undo",
    409,
    "The saga has no failed undo of this step",
    "A step that is UNDO_FAILED can be skipped.",
)
SAGA_UNREADABLE = ProblemType(
    "saga_unreadable",
    409,
    "The saga's row can't be read",
    "`saga show` says why. When it can be read again, a retry takes the saga up.",
)
SAGA_OUTDATED = ProblemType(
    "saga_outdated",
    409,
    "The saga does not fit its declaration of today",
    "Deploy the version again that has started it.",
)
OF_SAGAS = (KEY_REUSED, SAGA_ENDED, SAGA_NOT_FAILED, NO_FAILED_UNDO, SAGA_UNREADABLE, SAGA_OUTDATED)


def of_code(code: str) -> ProblemType:
    """Return the type of a `Conflict` that a saga's store has raised."""
    return next((one for one in OF_SAGAS if one.code == code), CONFLICT)


def of_status(status: int) -> ProblemType:
    """Return the type of what has no other; where there is none, it says what the status says."""
    phrase = HTTPStatus(status).phrase
    unknown = ProblemType(phrase.lower().replace(" ", "_"), status, phrase, "")
    return next((one for one in ANYWHERE if one.status == status), unknown)


def among(errors: Iterable[int | ProblemType]) -> list[ProblemType]:
    """Return the types that are told; a status stands for those of it that any request may meet."""
    types: list[ProblemType] = []
    for one in errors:
        known = [each for each in ANYWHERE if each.status == one]
        types += [one] if isinstance(one, ProblemType) else known or [of_status(one)]
    return types
