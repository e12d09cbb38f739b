"""The console's pages, asked for as a browser asks, and as another site makes it ask."""

import logging
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

import pytest

from saga.runtime import saga_changes
from saga.runtime.clock import utcnow
from saga.runtime.console import pages
from saga.runtime.console.assets import FOLDER, assets
from saga.runtime.database.connection import UNAVAILABLE
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import TABLES, SagaStore
from support.api import empty
from support.console import (
    BROKER,
    FORGED,
    TOKEN,
    Console,
    answer,
    begin,
    fail,
    start,
    status_of,
)

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}"
UNKNOWN = UUID(int=7)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    broker = {"kafka_bootstrap_servers": "127.0.0.1:1"}
    with start(tmp_path_factory.mktemp("data"), **broker) as api:
        yield Console(api)


@pytest.fixture
def console(running):
    BROKER.forget()
    empty(running.api, TABLES)
    return running


@pytest.fixture
def sagas(console):
    return SagaStore(console.api.app.ctx.threads.database)


def shown(page):
    return re.findall(r'<tr id="saga-([0-9a-f-]+)"', page.text)


def test_a_page_that_asks_for_itself_again_is_no_line_of_the_access_log(console, caplog):
    caplog.set_level(logging.INFO, "saga.access")
    console.get("/", **{"hx-request": "true"})
    assert console.get("/age").status == 200
    assert [record for record in caplog.records if record.name == "saga.access"] == []
    console.get("/")
    assert [one.path for one in caplog.records if one.name == "saga.access"] == ["/console/"]


def test_list_has_the_newest_first(console, sagas):
    ids = [begin(sagas, number) for number in (1, 2, 3)]
    page = console.get("/")
    assert page.status == 200
    assert shown(page) == ids[::-1]
    assert "Running" in page.text


def test_list_without_sagas_says_so(console):
    assert "No saga has been started yet." in console.get("/").text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?cake=Tart", [1]),
        ("?cake=Pie&status=RUNNING", [2]),
        ("?status=FAILED", [1]),
        ("?saga=order-cake&cake=Pie", [2]),
        (f"?saga_id={UUID(int=2)}", [2]),
        (f"?saga_id={UUID(int=2)}&cake=Tart", []),
        (f"?saga_id={UNKNOWN}", []),
        ("?status=&cake=", [2, 1]),
        ("?unknown=1", [2, 1]),
        ("?step=sell&code=no", [1]),
        ("?step=bake", []),
    ],
)
def test_list_has_what_passes_its_filter(console, sagas, query, found):
    fail(sagas, begin(sagas, 1, "Tart"))
    begin(sagas, 2, "Pie")
    page = console.get(f"/{query}")
    assert page.status == 200
    assert shown(page) == [str(UUID(int=number)) for number in found]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("?saga_id=7", "<b>saga_id</b> Input should be a valid UUID"),
        ("?status=GONE", "<b>status</b> Input should be"),
        ("?saga=other", "no saga other"),
        ("?after=x", "<b>after</b>"),
        ("?created_after=yesterday", "<b>created_after</b>"),
    ],
)
def test_filter_that_is_wrong_is_told(console, query, why):
    page = console.get(f"/{query}")
    assert page.status == 422
    assert why in page.text


def test_list_of_a_time_has_what_was_started_then(console, sagas):
    times = [datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(hours=n) for n in range(3)]
    ids = [(int(at.timestamp() * 1000) << 80) + 1 for at in times]
    for number, at in zip(ids, times, strict=True):
        begin(sagas, number, at=at)
    page = console.get("/?created_after=2026-01-01T13:00&created_before=2026-01-01T14:00:00Z")
    assert shown(page) == [str(UUID(int=ids[1]))]
    assert 'type="datetime-local" step="1" value="2026-01-01T14:00:00"' in page.text


def test_address_has_the_whole_state_of_a_list(console, sagas):
    for number in range(1, 53):
        begin(sagas, number)
    first = console.get("/?status=RUNNING&cake=Tart")
    [older] = re.findall(r'rel="next" href="([^"]+)"', first.text)
    assert older == f"/console/?status=RUNNING&amp;cake=Tart&amp;after={UUID(int=3)}"
    second = console.get(older.removeprefix("/console").replace("&amp;", "&"))
    assert shown(first) + shown(second) == [str(UUID(int=n)) for n in range(52, 0, -1)]
    assert 'rel="next"' not in second.text


def test_page_of_a_list_is_small(console, sagas):
    for number in range(1, 61):
        fail(sagas, begin(sagas, number, "T" * 200))
    assert len(console.get("/").text.encode()) <= 200_000


def test_saga_tells_its_story(console, sagas):
    saga_id = begin(sagas)
    fail(sagas, saga_id)
    page = console.get(f"/sagas/{saga_id}")
    assert page.status == 200
    for text in ("Failed", "Where its time went", "no, thank you", "undo of bake", "Tart"):
        assert text in page.text
    assert f"curl http://{console.host}/cakes/{saga_id}" in page.text
    assert f"saga show {saga_id}" in page.text
    assert "story.expect_undo(Eat).reject(&#39;no&#39;, &#39;no, thank you&#39;)" in page.text


def test_each_bar_has_a_name(console, sagas):
    saga_id = begin(sagas)
    fail(sagas, saga_id)
    page = console.get(f"/sagas/{saga_id}").text
    bars = re.findall(r'<svg class="line"[^>]*>', page)
    assert len(bars) == 3
    assert all('role="img" aria-label="' in bar for bar in bars)


def test_unknown_saga_is_told_on_a_page(console):
    page = console.get(f"/sagas/{UNKNOWN}")
    assert page.status == 404
    assert "text/html" in page.headers["content-type"]
    assert f"no saga {UNKNOWN}" in page.text


def test_saga_that_cant_be_read_is_shown(console, sagas):
    saga_id = begin(sagas)
    SagaRow.update(state="{}").where(SagaRow.id == saga_id).execute()
    page = console.get(f"/sagas/{saga_id}")
    assert page.status == 200
    assert "Unreadable" in page.text


@pytest.mark.parametrize("path", ["/", "/sagas/{}"])
def test_hostile_text_is_text(console, sagas, path):
    saga_id = begin(sagas, cake=HOSTILE)
    no = '{"code": "<b>no</b>", "message": "<script>alert(3)</script>"}'
    answer(sagas, saga_id, "bake", outcome="rejected", data=no)
    page = console.get(path.format(saga_id)).text
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "<b>no</b>" not in page
    assert "&lt;script&gt;" in page


def test_hostile_query_is_text(console):
    page = console.get(
        "/?" + urlencode({"status": HOSTILE, "saga_id": HOSTILE, "cake": HOSTILE})
    ).text
    assert "<script>alert" not in page
    assert "<img src=x" not in page


PAGES = ["/", "/?saga_id=x", f"/sagas/{UNKNOWN}", "/functions", "/functions/order.create_order"]


@pytest.mark.parametrize("path", PAGES)
def test_no_page_may_run_what_is_not_the_consoles_own(console, path):
    headers = console.get(path).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.parent.glob("templates/*")))
def test_no_template_has_a_script_or_style_inside(name):
    text = (FOLDER.parent / "templates" / name).read_text()
    assert not re.search(
        r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?! src=)|\|\s*safe", text
    )
    assert not re.search(r"https?://(?!www\.w3\.org)", text)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8003", "bakery", ""]
)
@pytest.mark.parametrize(
    "path", ["/", "/static/console.js", "/events", f"/sagas/{UNKNOWN}", "/functions"]
)
def test_name_that_leads_here_shows_nothing(console, host, path):
    page = console.get(path, host=host)
    assert page.status == 421
    assert "SAGA_HOSTS" in page.text


@pytest.mark.parametrize("host", ["localhost:1", "[::1]:8003", "10.0.0.7", "LOCALHOST"])
def test_addresses_and_localhost_are_known(console, host):
    assert console.get("/", host=host).status == 200


def test_name_that_the_settings_have_is_known(tmp_path):
    with start(tmp_path, saga_hosts="cakes.example, pies.example") as api:
        console = Console(api)
        assert console.get("/", host="pies.example").status == 200
        assert console.get("/", host="evil.example").status == 421


def test_person_acts_on_the_consoles_own_page(console, sagas):
    saga_id = begin(sagas)
    answer(sagas, saga_id, "bake")
    page = console.get(f"/sagas/{saga_id}", cookie=f"saga_console={TOKEN}")
    assert f'name="token" value="{TOKEN}"' in page.text
    done = console.post(f"/sagas/{saga_id}/cancel")
    assert done.status == 303
    assert done.headers["location"] == f"/console/sagas/{saga_id}?did=cancel"
    assert status_of(saga_id) == "COMPENSATING"
    assert [command.type for command in BROKER.taken] == ["BuyBack"]


def test_browser_gets_a_token_of_its_own(console, sagas):
    saga_id = begin(sagas)
    page = console.get(f"/sagas/{saga_id}")
    cookie = page.headers["set-cookie"]
    [token] = set(re.findall(r'name="token" value="([^"]+)"', page.text))
    assert len(token) >= 43
    assert f"saga_console={token}" in cookie
    assert {"HttpOnly", "SameSite=Lax", "Path=/console"} <= {
        part.strip() for part in cookie.split(";")
    }


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("verb", ["cancel", "retry", "skip"])
def test_nobody_else_acts(console, sagas, verb, forged):
    saga_id = begin(sagas)
    if verb != "cancel":
        fail(sagas, saga_id)
    before = status_of(saga_id)
    fields = {"step": "bake", "by": "Eve", "reason": "why not"}
    assert console.post(f"/sagas/{saga_id}/{verb}", fields=fields, **forged).status in (403, 421)
    assert status_of(saga_id) == before


def test_failed_undo_is_skipped(console, sagas):
    saga_id = begin(sagas)
    fail(sagas, saga_id)
    fields = {"step": "bake", "by": "Ada", "reason": "thrown away"}
    assert console.post(f"/sagas/{saga_id}/skip", fields=fields).status == 303
    page = console.get(f"/sagas/{saga_id}?did=skip").text
    assert "Ada: thrown away" in page
    assert "Recorded as done by hand." in page
    assert status_of(saga_id) == "COMPENSATED"


def test_refused_action_says_why(console, sagas):
    saga_id = begin(sagas)
    page = console.post(f"/sagas/{saga_id}/retry")
    assert page.status == 409
    assert "only a FAILED one can be retried" in page.text
    assert status_of(saga_id) == "RUNNING"


def test_read_only_console_has_no_control_and_refuses(tmp_path):
    with start(tmp_path, saga_console="read-only", kafka_bootstrap_servers="127.0.0.1:1") as api:
        console, sagas = Console(api), SagaStore(api.app.ctx.threads.database)
        saga_id = begin(sagas)
        fail(sagas, saga_id)
        page = console.get(f"/sagas/{saga_id}")
        assert page.status == 200
        assert "read-only" in page.text
        assert 'method="post"' not in page.text
        assert "set-cookie" not in page.headers
        for path in (f"/sagas/{saga_id}/retry", "/dead-letters/replay", "/dead-letters/drop"):
            assert console.post(path).status == 403
        assert status_of(saga_id) == "FAILED"


def test_console_that_is_off_is_not_there(tmp_path):
    with start(tmp_path, saga_console="off") as api:
        assert Console(api).get("/").status == 404


def test_files_are_kept_by_the_browser(console):
    tag = assets()["console.css"].tag
    kept = console.get(f"/static/console.css?v={tag}")
    assert "immutable" in kept.headers["cache-control"]
    assert kept.headers["content-type"].startswith("text/css")
    again = {"if-none-match": kept.headers["etag"]}
    assert console.get("/static/console.css", **again).status == 304
    other = console.get("/static/console.css?v=other")
    assert other.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("since", "told"),
    [(None, "0.0"), (OSError, None), (timedelta(seconds=5), "5."), (timedelta(minutes=2), "120.")],
)
def test_age_of_what_is_shown_is_told(console, monkeypatch, since, told):
    def held_since(_):
        if since is OSError:
            raise UNAVAILABLE[0]("away")
        return since and utcnow() - since

    monkeypatch.setattr(saga_changes, "held_since", held_since)
    page = console.get("/age")
    assert page.status == 200
    held = page.json["held"]
    assert held is told if told is None else str(held).startswith(told)


@pytest.mark.parametrize("name", ["none.css", "SHA256SUMS", "..%2Fguard.py", "%2e%2e/guard.py"])
def test_nothing_else_is_served(console, name):
    assert console.get(f"/static/{name}").status == 404


def test_error_of_the_console_itself_is_logged_and_not_shown(console, monkeypatch):
    def breaks(*_, **__):
        raise RuntimeError("a secret")

    monkeypatch.setattr(pages.Pages, "look", breaks)
    page = console.get("/")
    assert page.status == 500
    assert "it has been logged" in page.text
    assert "a secret" not in page.text
