"""The shapes of one saga's API, made from its declaration: the body, the filters, what is shown."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from types import NoneType
from typing import Annotated, Any, get_args
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SkipValidation,
    ValidationError,
    create_model,
)
from pydantic.fields import FieldInfo

from .. import saga_state
from ..body import alias, under_aliases
from ..clock import EPOCH
from ..errors import ContractError
from ..intervention import BY_LIMIT, REASON_LIMIT
from ..message import Message
from ..problem import Problem
from ..saga import Saga
from ..saga_search import FAILED_CODE, FAILED_STEP, Between
from ..saga_state import SagaState, SagaStatus, StepStatus
from ..secret_fields import classes_of, hidden, hides, is_secret, kinds_in, quiet
from .fields import Name, QueryNumber, QueryTime, QueryUuid, Text
from .paging import TimedPage
from .payload import Body
from .problems import invalid

ELSEWHERE = "what went wrong is in the log, and in `saga show`"

Assigned = Mapping[str, Callable[[], Any]]


class Error(BaseModel):
    """Why a step failed: a code, and the word of whoever rejected it.

    The text of a fault stays with those who run the system: in the log and in `saga show`.
    """

    model_config = ConfigDict(from_attributes=True)

    code: str
    message: str


class Failure(Error):
    """Why a saga failed, and in which step."""

    step: str


class SagaStep(BaseModel):
    """How far one step of a saga is. Its name is that of the time when the saga started.

    Attempts are those that began; each but the last ended with a fault. An `error` with the code
    `timeout` says that an answer is waited for longer than usual, and that it was asked for again.
    """

    model_config = ConfigDict(from_attributes=True)

    name: str
    status: StepStatus
    attempts: int
    undo_attempts: int
    started_at: datetime | None
    finished_at: datetime | None
    error: Error | None


class ShownSaga(BaseModel):
    """A saga. `due_at` is when it is acted on next; null once it has ended.

    One whose row can't be read is UNREADABLE: its `failure` says so, and it has no steps.
    """

    model_config = ConfigDict(from_attributes=True)

    saga_id: UUID
    name: str
    status: SagaStatus
    input: Any
    failure: Failure | None
    steps: list[SagaStep]
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None


class Skip(Body):
    """A failed undo that a person has done by hand: of which step, who it was, and why."""

    step: Name
    by: Annotated[str, Text(BY_LIMIT)]
    reason: Annotated[str, Text(REASON_LIMIT)]


class SagaPage(TimedPage):
    """A page of sagas, all of them or those that the filters leave.

    `step` is the one that failed, with this `code`. Times are counted in whole milliseconds, and
    `created_after` is included.
    """

    status: SagaStatus | None = None
    saga_id: QueryUuid | None = None
    step: str | None = None
    code: str | None = None
    created_after: QueryTime | None = None
    created_before: QueryTime | None = None

    @property
    def ids(self) -> Between:
        """The ids between which they are: such an id begins with its time."""
        above = [_first_id(self.created_after)] if self.created_after else []
        below = [_first_id(self.created_before)] if self.created_before else []
        if self.saga_id is not None:
            above.append(self.saga_id.int - 1)
            below.append(self.saga_id.int + 1)
        return _id(max(above, default=-1)), _id(min(below, default=-1))


class SagaShapes:
    """What one saga's API reads and shows.

    `body` is the model of the request that starts it; without one, it has the fields of the start
    message that are not `assigned`: those the server makes, each by a call. Raises `ContractError`
    where the two don't make a start message, or where two things would have one name.
    """

    def __init__(
        self, saga: Saga, body: type[BaseModel] | None = None, assigned: Assigned | None = None
    ) -> None:
        self.saga, self._assigned = saga, assigned or {}
        start = saga.start.model_fields
        self.body = body or _derived(saga.start, start.keys() - self._assigned.keys())
        self._beside = [name for name in start if name not in self.body.model_fields]
        schemas = [saga.start.model_json_schema(by_alias=one) for one in (True, False)]
        self._kinds = (self.body, *classes_of(saga))
        self._has_aliases = schemas[0] != schemas[1]
        self._check()
        filters: dict[str, Any] = {
            name: (_in_query(self._narrowest(name)) | None, None) for name in saga.search
        }
        self.page = create_model(f"{_title(saga)}Page", __base__=SagaPage, **filters)
        self.shown = self._shown()

    def message(self, body: BaseModel) -> Message:
        """Make the start message; raise a 422 problem where its own checks refuse the body."""
        made = {name: make() for name, make in self._assigned.items()}
        try:
            return self.saga.start.model_validate({**dict(body), **made})
        except ValidationError as error:
            kinds = type(body), self.saga.start
            raise invalid(quiet(error, kinds, body.model_dump_json())) from None
        except ArithmeticError as error:
            raise invalid(error) from None

    def fingerprint(self, body: BaseModel) -> str:
        """Return what makes two requests with one idempotency key the same."""
        return json.dumps(body.model_dump(mode="json", exclude_unset=True), sort_keys=True)

    def search(self, asked: SagaPage) -> dict[str, Any]:
        """Return the values to search by, each as a saga's row has it."""
        given = {name: getattr(asked, name) for name in self.saga.search}
        given = {name: value for name, value in given.items() if value is not None}
        found = self.saga.start.model_construct(**given).model_dump(mode="json", include=set(given))
        failure = {FAILED_CODE: asked.code, FAILED_STEP: asked.step}
        return found | {name: value for name, value in failure.items() if value is not None}

    def show(self, state: SagaState) -> ShownSaga:
        """Show of a saga what concerns a client; what an old row has not is null."""
        shown = {name: getattr(state, name, None) for name in ShownSaga.model_fields}
        shown |= hidden(self._kinds, {name: state.input.get(name) for name in self._beside})
        shown["failure"] = _told(state.failure)
        shown["steps"] = [{**vars(step), "error": _told(step.error)} for step in state.steps]
        start, given = self.saga.start, state.input
        if self._has_aliases:
            given = under_aliases(start, given)
        told = {
            alias(info, name): given.get(alias(start.model_fields[name], name))
            for name, info in self.body.model_fields.items()
        }
        told = hidden(self._kinds, told)
        return self.shown.model_validate({**shown, "saga_id": state.id, "input": told})

    def _shown(self) -> type[ShownSaga]:
        """Make the model of the saga as it is shown; assigned fields stand beside its input."""
        title, start = _title(self.saga), self.saga.start
        stored: dict[str, Any] = {n: (_stored(info), ...) for n, info in start.model_fields.items()}
        sent: dict[str, Any] = {
            name: (stored[name][0], Field(alias=alias(info, name)))
            for name, info in self.body.model_fields.items()
        }
        told = create_model(
            f"{title}Input",
            __doc__=f"What {self.saga.name} was started with; by another version, as that had it.",
            __config__=ConfigDict(serialize_by_alias=True),
            **sent,
        )
        beside = {name: stored[name] for name in self._beside}
        return create_model(
            f"{title}Saga",
            __base__=ShownSaga,
            __doc__=ShownSaga.__doc__,
            input=(told, ...),
            **beside,
        )

    def _narrowest(self, name: str) -> FieldInfo:
        """Return a field as the body limits it, where it is in the body."""
        return self.body.model_fields.get(name) or self.saga.start.model_fields[name]

    def _check(self) -> None:
        start, given = self.saga.start.model_fields, {*self.body.model_fields, *self._assigned}
        required = {name for name, info in start.items() if info.is_required()}
        for names, what in (
            (given - start.keys(), f"{self.saga.start.__name__} has no"),
            (required - given, "nothing gives"),
            (self.body.model_fields.keys() & self._assigned.keys(), "twice given:"),
            ({*self._beside} & ShownSaga.model_fields.keys(), "a shown saga has its own"),
            ({*self.saga.search} & SagaPage.model_fields.keys(), "a page has its own"),
            ({n for n in self.saga.search if is_secret(start[n])}, "nobody may search by"),
        ):
            if names:
                raise ContractError(
                    f"the API of {self.saga.name}: {what} {', '.join(sorted(names))}"
                )


def _first_id(time: datetime) -> int:
    """Return a number before those of the ids of a millisecond."""
    return max((time - EPOCH) // timedelta(milliseconds=1), 0) << 80


def _id(number: int) -> str | None:
    return str(UUID(int=number)) if 0 <= number < 1 << 128 else None


def _told(problem: Problem | saga_state.Failure | None) -> Any:
    """Tell a client of a problem; where its message is a fault's text, only where that is."""
    if problem is None or problem.public:
        return problem
    step = getattr(problem, "step", "")
    return {"step": step, "code": problem.code, "message": ELSEWHERE}


def _derived(start: type[Message], names: Iterable[str]) -> type[Body]:
    fields: dict[str, Any] = {
        name: (info.annotation, info) for name, info in start.model_fields.items() if name in names
    }
    return create_model(start.__name__, __base__=Body, __doc__=start.__doc__, **fields)


def _annotation(info: FieldInfo) -> Any:
    return Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation


def _in_query(info: FieldInfo) -> Any:
    """Read an integer in a query string as strictly as ids are read there."""
    kinds = {*(get_args(info.annotation) or [info.annotation])} - {NoneType}
    return Annotated[_annotation(info), QueryNumber] if kinds == {int} else _annotation(info)


def _stored(info: FieldInfo) -> Any:
    """Show what a row has as it is, whatever it is, and describe it as it was declared.

    What is hidden, or has something hidden in it, is not as it was declared.
    """
    if is_secret(info):
        return Annotated[str | None, SkipValidation]
    if any(map(hides, kinds_in(info.annotation))):
        return Any
    return Annotated[_annotation(info), PlainSerializer(lambda value: value), SkipValidation]


def _title(saga: Saga) -> str:
    """Write a saga's name as a class's: `place-order` as `PlaceOrder`."""
    return "".join(word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", saga.name))
