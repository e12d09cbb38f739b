"""The user service over HTTP."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import peewee
from pydantic import BaseModel, ConfigDict, with_config
from sanic import Blueprint, HTTPResponse, Request, empty
from typing_extensions import TypedDict

from saga.functions.user import store
from saga.runtime.database.schema import tables_in
from saga.runtime.settings import Settings
from saga.runtime.web import (
    CHANGE,
    KEY_REUSED,
    App,
    Body,
    Conflict,
    NumberedPage,
    ProblemType,
    change_row,
    delete_row,
    describe,
    fields,
    get,
    get_row,
    in_thread,
    list_rows,
    new_app,
    page,
    query,
    read,
    read_change,
    repeats,
    tags,
    unknown_row,
)

MOST = 10**12
Balance = Annotated[Decimal, fields.Amount(le=MOST)]

EMAIL_TAKEN = ProblemType(
    "email_taken",
    409,
    "Another user has this e-mail address",
    "Give another one; it is free when that user's account is closed.",
)
BALANCE_LIMIT = ProblemType(
    "balance_limit", 409, "The balance would be too large", "The `detail` says how large it may be."
)

api = Blueprint("user")


class User(BaseModel):
    """A user and the money in the account."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    email: str
    balance: fields.Money
    created_at: datetime


class NewUser(Body):
    """A user to create."""

    name: fields.Name
    email: fields.Email
    balance: Balance


@with_config(CHANGE)
class UserChange(TypedDict, total=False):
    """The fields of a user to change."""

    name: fields.Name
    email: fields.Email
    balance: Balance


class NewDeposit(Body):
    """An amount to add to a balance."""

    amount: Annotated[Decimal, fields.Amount(gt=0, le=MOST)]


def make_app(settings: Settings) -> App:
    """Make the user service's app."""
    return new_app("user", settings, [*tables_in(store), repeats.RequestKey], api)


@get(api, "/users")
@describe({200: list[User]}, query=NumberedPage, response_headers={"Link": "The next page."})
async def list_users(request: Request) -> HTTPResponse:
    """List users, oldest first."""
    asked = query(request, NumberedPage)
    return page(request, asked, await in_thread(request, list_rows, store.User, User, asked))


@get(api, "/users/<user_id:id>")
@describe(
    {200: User, 304: None},
    errors=(404,),
    headers=tags.IF_NONE_MATCH,
    response_headers=tags.ETAG,
)
async def get_user(request: Request, user_id: int) -> HTTPResponse:
    """Return a user."""
    user = await in_thread(request, get_row, store.User, User, user_id)
    return tags.show(request, user)


@api.post("/users")
@describe(
    {201: User},
    body=NewUser,
    errors=(EMAIL_TAKEN,),
    response_headers=tags.ETAG | {"Location": "The new user."},
)
async def create_user(request: Request) -> HTTPResponse:
    """Create a user."""
    user = await in_thread(request, _create, read(request, NewUser))
    return tags.answer(user, 201, {"Location": f"/users/{user.id}"})


@api.put("/users/<user_id:id>")
@describe(
    {200: User},
    body=UserChange,
    errors=(404, EMAIL_TAKEN, 412),
    headers=tags.IF_MATCH,
    response_headers=tags.ETAG,
)
async def change_user(request: Request, user_id: int) -> HTTPResponse:
    """Change some fields of a user."""
    change, check = read_change(request, UserChange), tags.check(request, User)
    return tags.answer(await in_thread(request, _change, user_id, {**change}, check))


@api.delete("/users/<user_id:id>")
@describe({204: None}, errors=(404, 412), headers=tags.IF_MATCH)
async def delete_user(request: Request, user_id: int) -> HTTPResponse:
    """Close a user's account: it is gone, and its e-mail is free.

    Refunds that are still due are credited to it all the same.
    """
    await in_thread(
        request, delete_row, store.User, user_id, tags.check(request, User), store.close_user
    )
    return empty()


@api.post("/users/<user_id:id>/deposits")
@describe(
    {201: User},
    body=NewDeposit,
    errors=(404, KEY_REUSED, BALANCE_LIMIT),
    headers=repeats.KEY,
    response_headers=tags.ETAG,
)
async def deposit(request: Request, user_id: int) -> HTTPResponse:
    """Add to a user's balance, whatever else changes it meanwhile."""
    new = read(request, NewDeposit)
    asked = f"deposit to {user_id}: {new.amount}"
    done = await repeats.once(request, asked, User, lambda: _deposit(user_id, new.amount))
    return tags.answer(done, 201)


def _create(new: NewUser) -> User:
    try:
        return User.model_validate(store.User.create(**new.model_dump()))
    except peewee.IntegrityError:
        raise _taken(new.email) from None


def _change(user_id: int, change: dict[str, Any], check: Callable[[Any], None]) -> User:
    try:
        return change_row(store.User, User, user_id, change, check)
    except peewee.IntegrityError:
        raise _taken(change.get("email")) from None


def _deposit(user_id: int, amount: Decimal) -> User:
    balance, this = store.User.balance, store.User.id == user_id
    grown = store.User.update(balance=balance + amount).where(this, balance <= MOST - amount)
    if changed := list(grown.returning(store.User).execute()):
        return User.model_validate(changed[0])
    if store.User.get_or_none(this) is None:
        raise unknown_row(store.User, user_id)
    raise Conflict(f"user {user_id} would have more than {MOST}", BALANCE_LIMIT)


def _taken(email: str | None) -> Conflict:
    return Conflict(f"another user has the email {email}", EMAIL_TAKEN)
