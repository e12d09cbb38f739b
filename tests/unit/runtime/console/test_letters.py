"""The pages of dead letters: bounded lists, one of them, and acting on some, with a record."""

import html
import re
import threading
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr

from saga.runtime.console import letters, open_letters
from saga.runtime.console.action_record import ActionRow
from saga.runtime.console.letters import Letters
from saga.runtime.console.open_letters import LetterRow, Only
from saga.runtime.dead_letter import VALUE_LIMIT
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.saga_store import TABLES, SagaStore
from support.api import empty
from support.console import FORGED, Console, begin, fail, start
from support.letters import DeadLetters
from support.waiting import DEADLINE, wait_until

NOWHERE = "127.0.0.1:1"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with start(tmp_path_factory.mktemp("data"), kafka_bootstrap_servers=NOWHERE) as api:
        yield Console(api)


@pytest.fixture
def console(running):
    empty(running.api, [*TABLES, ActionRow])
    return running


@pytest.fixture
def sagas(console):
    return SagaStore(console.api.app.ctx.threads.database)


@pytest.fixture
def dead(console, monkeypatch):
    made = DeadLetters()
    made.install(monkeypatch, console.api)
    return made


def listed(console, path="/dead-letters"):
    """Return the ids in a list, once all that is new was read, and the page."""
    page = wait_until(lambda: settled(console.get(path)), "all is read", DEADLINE)
    return re.findall(r'dead-letters/([^"/?]+/\d+/\d+)"', page.text), page


def settled(page):
    assert page.status == 200
    return None if "data-goes-on" in page.text else page


def act(console, verb, count, **fields):
    """Act on all that pass a filter; return the record once it is over."""
    listed(console)
    fields = {"by": "Ada", "count": str(count), **fields}
    done = console.post(f"/dead-letters/{verb}", fields=fields)
    assert done.status == 303
    path = done.headers["location"].removeprefix("/console")
    page = wait_until(lambda: settled(console.get(path)), "the action is over", DEADLINE)
    [row] = ActionRow.select()
    return row, page.text


def test_dead_letters_are_listed_with_their_sagas(console, sagas, dead):
    first, second = dead.put(begin(sagas)), dead.put(reason="headers: <i>odd</i>")
    found, page = listed(console)
    assert found == [second, first]
    assert "&lt;i&gt;odd" in page.text
    assert "Running" in page.text
    assert listed(console, "/dead-letters?reason=CAKE")[0] == [first]
    assert listed(console, "/dead-letters?topic=bakery.bake")[0] == [second, first]
    assert "No dead letter is like that" in listed(console, "/dead-letters?topic=other")[1].text


def test_pages_go_on_where_the_last_one_ended(console, dead, monkeypatch):
    monkeypatch.setattr(letters, "PAGE", 2)
    ids = [dead.put(reason=f"no cake {number}") for number in range(5)]
    other = dead.put(reason="no pie")
    path, seen = "/dead-letters?reason=cake", []
    while path:
        found, page = listed(console, path)
        assert other not in found
        seen += found
        [path] = re.findall(r'rel="next" href="/console([^"]*)"', page.text) or [""]
        path = html.unescape(path)
    assert seen == ids[::-1]
    assert '/console/dead-letters?reason=cake">Newest' in page.text


def test_page_is_small_however_many_there_are_and_however_long(console, dead):
    for _ in range(letters.PAGE + 1):
        dead.put(reason='"' * 500)
    _, page = listed(console)
    assert len(page.text) < 200_000


def test_many_are_told_as_more_than_some(console, dead, monkeypatch):
    monkeypatch.setattr(letters, "COUNTED", 2)
    dead.put()
    dead.put()
    assert "2 in all." in listed(console)[1].text
    dead.put()
    assert "more than 2 in all." in listed(console)[1].text


def test_what_was_read_is_not_read_again(console, dead):
    dead.most = 2
    ids = [dead.put() for _ in range(5)]
    assert listed(console)[0] == ids[::-1]
    dead.topics["bakery.bake.dlq", 0][0] = None  # reading it would fail
    ids.append(dead.put())
    assert listed(console)[0] == ids[::-1]


def test_list_does_not_wait_for_what_is_new(console, dead):
    old = dead.put()
    assert listed(console)[0] == [old]
    read = threading.Event()
    dead.hold = lambda: read.wait(DEADLINE)
    new = dead.put()
    page = console.get("/dead-letters")
    assert "What is new is being read" in page.text
    assert new not in page.text
    assert old in page.text
    read.set()
    assert listed(console)[0] == [new, old]


def test_list_is_there_while_the_broker_is_not(console, dead, monkeypatch):
    old = dead.put()
    assert listed(console)[0] == [old]

    def away():
        raise BrokerUnavailable("away")

    dead.hold = away
    found, page = listed(console)
    assert found == [old]
    assert "What is new can't be read" in page.text
    dead.hold = lambda: None
    assert "can't be read" not in listed(console)[1].text


def test_letters_of_a_broker_that_was_made_anew_are_forgotten(console, dead):
    dead.put()
    dead.put()
    other = dead.put(topic="bakery.sell")
    listed(console)
    dead.empty()
    new = dead.put(reason="another")
    found, page = listed(console)
    assert sorted(found) == [new, other]
    assert "another" in page.text


def test_topic_made_anew_that_has_more_than_was_read_is_read_from_its_begin(console, dead):
    for _ in range(2):
        dead.put(reason="cake")
    assert listed(console)[1].text.count("cake") == 2
    dead.empty()
    for _ in range(3):
        dead.put(reason="pie")
    found, page = listed(console)
    assert len(found) == page.text.count("pie") == 3
    assert "cake" not in page.text


def test_letter_closed_by_somebody_else_is_gone(console, dead):
    ids = [dead.put() for _ in range(3)]
    assert listed(console)[0] == ids[::-1]
    [letter] = dead._fetch(ids[1:2]).values()
    dead._mark([letter], "dropped")
    assert listed(console)[0] == [ids[2], ids[0]]


def test_of_two_that_read_the_same_one_tells_it(console, dead):
    listed(console)
    before = open_letters.places()
    letter = dead.put()
    more = dead._read_more(before.places)
    assert listed(console)[0] == [letter]
    console.post("/dead-letters/drop", fields={"id": letter})
    open_letters.take_up(console.api.app.ctx.threads.database, before, more)
    assert listed(console)[0] == []


def test_letter_of_another_system_is_not_ours(console, dead):
    dead.put(topic="bakery.bake")
    [sent] = dead.topics.pop(("bakery.bake.dlq", 0))
    dead.topics["x.bakery.bake.dlq", 0] = [sent._replace(topic="x.bakery.bake.dlq")]
    assert listed(console)[0] == []


def test_odd_text_in_a_letter_hides_no_other(console, dead):
    ids = [dead.put(saga_id="a\0b" + "c" * 999, reason="a\0b"), dead.put()]
    assert listed(console)[0] == ids[::-1]
    assert listed(console, "/dead-letters?" + urlencode({"reason": "a\ufffd\0b"}))[0] == ids[:1]


def test_dead_letter_is_shown_as_text(console, dead):
    letter = dead.put()
    page = console.get(f"/dead-letters/{letter}")
    assert page.status == 200
    assert "\\xff&lt;script&gt;" in page.text or "***" in page.text
    assert "&lt;b&gt;1&lt;/b&gt;" in page.text
    assert console.get("/dead-letters/bakery.bake/0/2").status == 404


def test_long_letter_is_cut_on_its_page(console, dead):
    headers = [(f"h{number}", b"x" * 1_900) for number in range(101)]
    letter = dead.put(value=b'{"cake": "%s"}' % (b"x" * (VALUE_LIMIT - 20)), headers=headers)
    page = console.get(f"/dead-letters/{letter}")
    assert len(page.text) < 200_000
    assert "(1400 characters more)" in page.text
    assert "<dt>1 more</dt>" in page.text


def test_letter_that_is_not_on_the_broker_any_more_is_forgotten(console, dead, monkeypatch):
    letter = dead.put()
    listed(console)
    monkeypatch.setattr(Letters, "_fetch", lambda _, ids: dict.fromkeys(ids))
    assert console.get(f"/dead-letters/{letter}").status == 404
    assert LetterRow.select().count() == 0


def test_one_dead_letter_is_replayed(console, dead):
    letter, other = dead.put(), dead.put()
    listed(console)
    done = console.post("/dead-letters/replay", fields={"id": letter})
    assert done.status == 303
    assert dead.done == [(letter, "replayed")]
    location = done.headers["location"].removeprefix("/console")
    found, page = listed(console, location)
    assert found == [other]
    assert "It is sent again." in page.text


@pytest.mark.parametrize("told", ["did=Call+Eve", "refused=Call+Eve", "did=drop2"])
def test_page_says_nothing_that_its_address_makes_up(console, dead, told):
    page = console.get(f"/dead-letters?{told}")
    assert "Call Eve" not in page.text
    assert 'class="notice"' not in page.text


def test_count_is_shown_before(console, dead):
    for reason in ("cake", "pie", "cake too"):
        dead.put(reason=reason)
    listed(console)
    page = console.get("/dead-letters/drop?reason=cake")
    assert "Drop 2 dead letters" in page.text
    assert 'name="count" value="2"' in page.text
    assert 'name="reason" value="cake"' in page.text
    assert "No dead letter passes" in console.get("/dead-letters/drop?reason=tea").text


def test_those_that_pass_a_filter_are_dropped_and_it_is_recorded(console, dead, monkeypatch):
    monkeypatch.setattr(letters, "CHUNK", 2)
    ids = [dead.put(reason="cake"), dead.put(reason="other"), dead.put(), dead.put()]
    row, page = act(console, "drop", 3, reason="cake")
    dropped = [ids[0], ids[2], ids[3]]
    assert dead.done == [(letter, "dropped") for letter in dropped]
    assert (row.by, row.verb, row.what, row.filter) == ("Ada", "drop", "dead letter", "reason=cake")
    assert (row.chosen, row.done, row.why_not) == (3, 3, {})
    assert "/console/dead-letters?reason=cake" in page
    assert "Drop 3 dead letters" in console.get("/actions").text
    assert listed(console)[0] == [ids[1]]


def test_large_letters_are_acted_on_one_after_the_other(console, dead):
    ids = [dead.put() for _ in range(3)]
    dead.fetched = 1
    row, _ = act(console, "drop", 3)
    assert dead.done == [(letter, "dropped") for letter in ids]
    assert (row.chosen, row.done, row.why_not) == (3, 3, {})


def test_nothing_is_done_where_there_are_others_than_were_shown(console, dead):
    dead.put()
    dead.put()
    listed(console)
    done = console.post("/dead-letters/drop", fields={"count": "1", "by": "Ada"})
    assert done.status == 409
    assert "they are others now" in done.text
    assert "Drop 2 dead letters" in done.text
    assert dead.done == []
    assert ActionRow.select().count() == 0


def test_nothing_is_done_where_nobody_says_who_wants_it(console, dead):
    dead.put()
    listed(console)
    done = console.post("/dead-letters/drop", fields={"count": "1"})
    assert done.status == 422
    assert "who wants it" in done.text
    assert dead.done == []


def test_letter_of_a_saga_that_has_ended_is_not_replayed(console, sagas, dead):
    saga_id = begin(sagas)
    fail(sagas, saga_id)
    over, good = dead.put(saga_id), dead.put()
    cut = dead.put(value=b"x" * (VALUE_LIMIT + 1))
    listed(console)
    refused = console.post("/dead-letters/replay", fields={"id": over})
    assert refused.status == 409
    assert "its saga has ended" in refused.text
    row, page = act(console, "replay", 3)
    assert row.why_not == {
        "its saga has ended, there is nothing to replay for": 1,
        "its record was cut to fit, of bytes": 1,
    }
    assert "its saga has ended" in page
    assert dead.done == [(good, "replayed")]
    assert listed(console)[0] == [cut, over]


def test_broker_that_goes_away_ends_an_action(console, dead, monkeypatch):
    monkeypatch.setattr(letters, "CHUNK", 1)
    for _ in range(3):
        dead.put()
    calls = []

    def away(_, marked, what):
        calls.append(marked)
        raise BrokerUnavailable("away")

    monkeypatch.setattr(Letters, "_mark", away)
    row, _ = act(console, "drop", 3)
    assert len(calls) == 1
    assert sum(row.why_not.values()) == 3
    assert row.done == 0


def test_error_of_some_letters_leaves_the_others(console, dead, monkeypatch):
    monkeypatch.setattr(letters, "CHUNK", 1)
    first, second = dead.put(), dead.put()
    mark = Letters._mark

    def breaks(self, marked, what):
        if marked[0].id == first:
            raise RuntimeError("a secret")
        return mark(self, marked, what)

    monkeypatch.setattr(Letters, "_mark", breaks)
    row, page = act(console, "drop", 2)
    assert row.why_not == {"something went wrong; it is in the log": 1}
    assert dead.done == [(second, "dropped")]
    assert "a secret" not in page


def test_letter_that_no_broker_takes_leaves_the_others(console, dead):
    first, second = dead.put(), dead.put()
    dead.refused[first] = "not sent: no such topic"
    row, _ = act(console, "replay", 2)
    assert row.why_not == {"not sent: no such topic": 1}
    assert dead.done == [(second, "replayed")]
    assert listed(console)[0] == [first]
    page = console.post("/dead-letters/replay", fields={"id": first})
    assert page.status == 409
    assert "Not done: not sent: no such topic" in page.text
    assert listed(console)[0] == [first]


def test_letter_that_has_gone_meanwhile_is_told(console, dead, monkeypatch):
    dead.put()
    listed(console)
    monkeypatch.setattr(Letters, "_fetch", lambda _, ids: dict.fromkeys(ids))
    row, _ = act(console, "drop", 1)
    assert row.why_not == {"it is not on the broker any more": 1}
    assert LetterRow.select().count() == 0


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("fields", [{"id": "bakery.bake/0/0"}, {"count": "1", "by": "Eve"}])
def test_nobody_else_acts_on_dead_letters(console, dead, forged, fields):
    dead.put()
    listed(console)
    assert console.post("/dead-letters/drop", fields=fields, **forged).status in (403, 421)
    assert dead.done == []


@pytest.mark.usefixtures("postgres")
def test_dead_letters_are_the_same_on_postgresql(tmp_path, postgres_url, monkeypatch):
    url = SecretStr(postgres_url)
    with start(tmp_path, kafka_bootstrap_servers=NOWHERE, saga_database_url=url) as api:
        console, dead = Console(api), DeadLetters()
        dead.install(monkeypatch, api)
        monkeypatch.setattr(letters, "PAGE", 1)
        ids = [dead.put(reason="no\0cake"), dead.put(), dead.put(reason="pie")]
        found, page = listed(console, "/dead-letters?reason=CAKE")
        assert found == [ids[1]]
        [after] = re.findall(r'rel="next" href="/console([^"]*)"', page.text)
        assert listed(console, html.unescape(after))[0] == [ids[0]]
        act(console, "drop", 2, reason="cake")
        assert listed(console)[0] == [ids[2]]
        assert open_letters.count(Only(), 9) == 1
        odd = dead.put(saga_id="no\0saga")
        assert console.get(f"/dead-letters/{odd}").status == 200
        ActionRow.delete().execute()
        assert act(console, "replay", 2)[0].done == 2
