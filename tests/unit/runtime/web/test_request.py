"""A request as the RFCs read it: header values without blanks, a path without needless codes."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import pytest
from sanic.compat import Header
from sanic.exceptions import BadRequest, PayloadTooLarge

from saga.runtime.web.request import BODY_LIMIT, Request

APP_LIMIT = 10 * BODY_LIMIT
UNRESERVED = "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"


def request(url=b"/", headers=()):
    return Request(url, Header(list(headers)), "1.1", "PUT", SimpleNamespace(), app=None)


@pytest.mark.parametrize("form", ["%{:02x}", "%{:02X}"])
def test_needless_codes_are_those_of_letters_digits_and_four_marks(form):
    codes = [form.format(number) for number in range(256)]
    decoded = [code if chr(n) not in UNRESERVED else chr(n) for n, code in enumerate(codes)]
    made = request("/".join(["", *codes]).encode())
    assert made.raw_url.decode() == "/".join(["", *decoded])


@pytest.mark.parametrize("query", [b"", b"?", b"?%31=%32?%33"])
def test_query_stays_as_it_is(query):
    assert request(b"/users/%31" + query).raw_url == b"/users/1" + query


def test_values_of_headers_have_no_blanks_around_them():
    headers = [("content-type", " \ttext/Plain; a=b\t "), ("transfer-encoding", " Chunked ")]
    made = request(headers=[*headers, ("odd", " X \xa0")])
    assert list(made.headers.items()) == [
        ("content-type", "text/Plain; a=b"),
        ("transfer-encoding", "chunked"),
        ("odd", "X \xa0"),
    ]


@pytest.mark.parametrize("name", ["", "content length", "content-length ", "ü"])
def test_name_of_a_header_that_is_none_is_a_bad_request(name):
    with pytest.raises(BadRequest, match=r"^the name of a header is not one$"):
        request(headers=[("accept", "*/*"), (name, "1")])


def test_request_is_otherwise_as_its_app_makes_it():
    made = request()
    assert (made.version, made.method, made.app) == ("1.1", "PUT", None)


class Stream:
    """A body in parts; it remembers the limit at which it was read."""

    request_max_size = APP_LIMIT

    def __init__(self, *parts):
        self.parts, self.limits = parts, set()

    async def __aiter__(self):
        for part in self.parts:
            self.limits.add(self.request_max_size)
            if isinstance(part, Exception):
                raise part
            yield part


def test_body_is_received_within_its_limit():
    made = request()
    made.stream = stream = Stream(b"a", b"b")
    asyncio.run(made.receive_body())
    assert (made.body, stream.limits) == (b"ab", {BODY_LIMIT})


@pytest.mark.parametrize("part", [b"a", PayloadTooLarge("too large")])
def test_what_is_left_of_a_body_is_read_within_the_apps_limit(part):
    made = request()
    made.stream = stream = Stream(part)
    with suppress(PayloadTooLarge):
        asyncio.run(made.receive_body())
    assert (stream.limits, stream.request_max_size) == ({BODY_LIMIT}, APP_LIMIT)
