"""Entity tags: one for each state, by which a request says what it is about."""

import re
from types import SimpleNamespace

import pytest
from pydantic import BaseModel, ConfigDict
from sanic.compat import Header

from saga.runtime.web import tags
from saga.runtime.web.problems import PreconditionFailed


class Pen(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str


BLUE, RED = Pen(name="blue"), Pen(name="red")
ROW = SimpleNamespace(name="blue", secret="not shown")


def tag_of(model):
    return tags.answer(model).headers["etag"]


def request(**headers):
    """Make a request of headers that are there so many times."""
    pairs = [(name.replace("_", "-"), value) for name, all_ in headers.items() for value in all_]
    return SimpleNamespace(headers=Header(pairs))


def test_tag_is_of_the_state_and_of_nothing_else():
    assert tag_of(BLUE) == tag_of(Pen(name="blue")) != tag_of(RED)
    assert re.fullmatch('"[0-9a-f]{32}"', tag_of(BLUE))


def test_answer_has_the_state_and_its_tag():
    response = tags.answer(BLUE)
    assert (response.status, response.body) == (200, b'{"name":"blue"}')
    made = tags.answer(BLUE, 201, {"Location": "/pens/1"})
    assert (made.status, made.headers["location"]) == (201, "/pens/1")
    assert made.headers["etag"] == tag_of(BLUE)


@pytest.mark.parametrize("known", ["{}", "W/{}", "*", " * ", '"a", W/"b,c" ,{}'])
def test_what_is_known_is_not_shown_again(known):
    response = tags.show(request(if_none_match=[known.format(tag_of(BLUE))]), BLUE)
    assert (response.status, response.body) == (304, b"")
    assert response.headers["etag"] == tag_of(BLUE)


@pytest.mark.parametrize("known", [[], ["{}"], ["W/"], ["nonsense"], ['"a"', "{}"]])
def test_what_is_not_known_is_shown(known):
    response = tags.show(request(if_none_match=[one.format(tag_of(RED)) for one in known]), BLUE)
    assert (response.status, response.body) == (200, b'{"name":"blue"}')
    assert response.headers["etag"] == tag_of(BLUE)


def test_what_one_of_two_headers_knows_is_not_shown_again():
    assert tags.show(request(if_none_match=['"a"', tag_of(BLUE)]), BLUE).status == 304


@pytest.mark.parametrize("wanted", [[], [""], ["*"], [" * "], ["{}"], ['"a" , {}'], ['"a"', "{}"]])
def test_row_that_is_as_it_has_to_be_is_changed(wanted):
    headers = [one.format(tag_of(BLUE)) for one in wanted]
    tags.check(request(if_match=headers), Pen)(ROW)


@pytest.mark.parametrize("wanted", ["W/{}", '"a"', "nonsense", "x{}x*"])
def test_row_that_has_another_state_is_not_changed(wanted):
    check = tags.check(request(if_match=[wanted.format(tag_of(RED))]), Pen)
    told = f"^it has another state than If-Match says: {tag_of(BLUE)}$"
    with pytest.raises(PreconditionFailed, match=told):
        check(ROW)


def test_weak_tag_is_of_no_use_for_a_change():
    with pytest.raises(PreconditionFailed):
        tags.check(request(if_match=[f"W/{tag_of(BLUE)}"]), Pen)(ROW)
