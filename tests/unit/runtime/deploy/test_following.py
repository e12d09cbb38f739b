"""Lines of several logs come as one stream, whole, whatever the pieces that they arrive in."""

import threading
from itertools import pairwise

import pytest
from docker.errors import NotFound
from hypothesis import given
from hypothesis import strategies as st

from saga.runtime.deploy import following
from saga.runtime.deploy.following import Unread, follow_all


def lines(*chunks):
    return [line for _, line in follow_all({"one": chunks})]


def test_lines_are_told_with_their_names():
    found = sorted(follow_all({"one": [b"a\nb\n"], "two": [b"c\n"]}))
    assert found == [("one", "a"), ("one", "b"), ("two", "c")]


def test_line_in_pieces_is_one_line():
    assert lines(b"he", b"ll", b"o\nwor", b"ld\n") == ["hello", "world"]


def test_letter_in_pieces_is_one_letter():
    text = "grün 🍰\n".encode()
    assert lines(*(bytes([byte]) for byte in text)) == ["grün 🍰"]


def test_last_line_without_a_break_is_told():
    assert lines(b"a\n", b"b") == ["a", "b"]


def test_empty_lines_are_lines():
    assert lines(b"\n\na\n") == ["", "", "a"]


def test_line_breaks_of_windows_are_line_breaks():
    assert lines(b"a\r\nb\r\n") == ["a", "b"]


def test_bytes_that_are_no_text_do_no_harm():
    assert lines(b"\xff\xfe\n") == ["\ufffd\ufffd"]


def test_nothing_to_follow_ends_at_once():
    assert list(follow_all({})) == []
    assert list(follow_all({"one": [], "two": []})) == []


def test_more_lines_than_are_kept_in_memory_are_all_told():
    assert lines(b"x\n" * 5000) == ["x"] * 5000


def test_silent_stream_holds_up_no_other():
    end = threading.Event()

    def silent():
        end.wait()
        yield b"late\n"

    stream = follow_all({"silent": silent(), "one": [b"a\nb\n"]})
    assert [next(stream), next(stream)] == [("one", "a"), ("one", "b")]
    end.set()
    assert list(stream) == [("silent", "late")]


def test_stream_that_breaks_off_is_told_after_its_last_line():
    def broken():
        yield b"a\nb"
        raise ConnectionError("the engine is gone")

    stream = follow_all({"one": broken()})
    assert [next(stream), next(stream)] == [("one", "a"), ("one", "b")]
    with pytest.raises(ConnectionError, match="the engine is gone"):
        next(stream)


class FakeContainer:
    """Logs what it was asked for."""

    def __init__(
        self,
        name,
        started_at="2026-01-02T03:04:05.5Z",
        *,
        finished_at="2026-01-02T03:04:04.250000001Z",
        gone=False,
    ):
        self.id, self.name, self._gone = f"id of {name}", f"saga-{name}", gone
        self.labels = {"saga.system": "saga", "saga.name": name.partition("-")[0]}
        self.attrs = {"State": {"StartedAt": started_at, "FinishedAt": finished_at}}

    def logs(self, *, stream, follow, since):
        if self._gone:
            raise NotFound("gone")
        return [f"{follow} {since}".encode()]


def test_each_run_of_each_container_is_read_once():
    first, other = FakeContainer("a.f"), FakeContainer("b.g")
    containers = [first, other, FakeContainer("a.f-3", gone=True)]
    unread = Unread(lambda: containers, lambda _, deployed: deployed == "a.f", follow=True)
    assert unread() == {"a.f": [b"True None"]}
    assert unread() == {}
    containers[0] = FakeContainer("a.f", "2026-01-02T03:04:06Z")
    containers.append(FakeContainer("a.f-2"))
    assert unread() == {"a.f": [b"True 1767323044.25"], "a.f-2": [b"True None"]}
    assert unread() == {}


def test_a_container_that_has_yet_to_start_is_read_from_its_beginning_when_it_has():
    never = "0001-01-01T00:00:00Z"  # as the engine has it
    containers = [FakeContainer("a.f", never, finished_at=never)]
    unread = Unread(lambda: containers, lambda *_: True, follow=True)
    assert unread() == {}
    containers[0] = FakeContainer("a.f", finished_at=never)
    assert unread() == {"a.f": [b"True None"]}


def test_streams_that_come_later_are_told_too_also_under_a_name_that_has_ended(monkeypatch):
    monkeypatch.setattr(following, "LOOK_EVERY", 0.01)
    looks = iter([{}, {"two": [b"b\n"]}, {}, {"one": [b"c\n"]}])
    stream = follow_all({"one": [b"a\n"]}, lambda: next(looks, {}))
    assert [next(stream) for _ in range(3)] == [("one", "a"), ("two", "b"), ("one", "c")]


def test_who_waits_for_streams_to_come_may_begin_with_none(monkeypatch):
    monkeypatch.setattr(following, "LOOK_EVERY", 0.01)
    looks = iter([{}, {"one": [b"a\n"]}])
    assert next(follow_all({}, lambda: next(looks, {}))) == ("one", "a")


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"))), st.data())
def test_any_lines_in_any_pieces_are_told_as_they_are(told, data):
    text = "".join(f"{line}\n" for line in told).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    ends = [0, *cuts, len(text)]
    assert lines(*(text[a:b] for a, b in pairwise(ends))) == told
