"""The console in a real browser: what a person sees, live, with the keyboard, in both themes."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from confluent_kafka import Producer
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from saga.runtime.console.guard import HEADERS
from saga.runtime.system.wanted import change_wanted, read_wanted
from support.browser import run_browser
from support.system import RunningSystem
from support.waiting import wait_until

pytestmark = pytest.mark.proof

MORE = [
    "/console/dead-letters/order.create/0/0",
    "/console/dead-letters/drop",
    "/console/actions",
    "/console/actions/cancel",
    "/console/functions",
    "/console/functions/user.process_payment",
]
PAY = "user.process_payment"
MINUTES = 240_000  # milliseconds: what a busy machine may take
CONTENT = "Content Security"  # what pages complain of that break the policy
SERIOUS = ("serious", "critical")  # what axe calls the worst
WIDTHS = (1280, 390)  # pixels
THEMES: list[Literal["light", "dark"]] = ["light", "dark"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with run_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def base(system: RunningSystem) -> str:
    """Where it is, with a saga that has ended well, one that has not, and a dead letter."""
    user, product = system.make_user(), system.make_product(stock=100)
    system.order(user, product)
    system.order(user, product, quantity=99)
    producer = Producer({"bootstrap.servers": system.broker()})
    producer.produce("order.create", value=b"\xff", key=b"k")
    producer.flush(10)
    return f"http://127.0.0.1:{system.ports['orchestrator']}"


@contextmanager
def no_complaints(context: BrowserContext) -> Iterator[None]:
    """Fail if what is shown in a browser's window in the block complains of anything."""
    complaints: list[str] = []
    hear = {
        "weberror": lambda error: complaints.append(str(error.error)),
        "console": lambda said: complaints.append(said.text) if CONTENT in said.text else None,
    }
    for event, listener in hear.items():
        context.on(event, listener)  # type: ignore[call-overload]
    yield
    for event, listener in hear.items():
        context.remove_listener(event, listener)
    assert complaints == []


@pytest.fixture(scope="module")
def window(browser: Browser, base: str) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=base)
    yield context
    context.close()


@pytest.fixture(scope="module")
def tab(window: BrowserContext) -> Page:
    return window.new_page()


@pytest.fixture
def page(window: BrowserContext, tab: Page) -> Iterator[Page]:
    """The one tab for all tests that leave it as it was: each takes as much time as two pages."""
    with no_complaints(window):
        yield tab
        tab.goto("about:blank")


@pytest.fixture
def own_page(window: BrowserContext) -> Iterator[Page]:
    """A tab of the test's own."""
    with no_complaints(window):
        page = window.new_page()
        yield page
        page.close()


def fact(page: Page, name: str) -> Locator:
    return page.locator(".facts div", has=page.get_by_text(name, exact=True)).locator("dd")


def paths(system: RunningSystem) -> list[str]:
    sagas = system.http("GET", "orchestrator", "/sagas").json()
    shown = {saga["status"]: f"/console/sagas/{saga['saga_id']}" for saga in sagas}
    return [
        "/console/",
        "/console/?saga_id=x&step=y",
        *shown.values(),
        "/console/dead-letters",
        *MORE,
    ]


def test_every_page_is_for_everybody_and_fits(system, own_page):
    page, axe = own_page, Axe()
    found: list[object] = []
    for path in paths(system):
        page.goto(path)
        page.evaluate(axe.axe_script)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            found += [(path, width, "is wider", wider)] if wider > 0 else []
            for theme in THEMES:
                page.emulate_media(color_scheme=theme)
                violations = page.evaluate(
                    "axe.run({resultTypes: ['violations']}).then(all => all.violations)"
                )
                worst = [v for v in violations if v["impact"] in SERIOUS]
                found += [(path, width, theme, v["id"], v["nodes"]) for v in worst]
    assert found == []


def test_new_saga_is_shown_and_goes_on_without_reload(system, page):
    page.goto("/console/")
    expect(page.locator("#live")).to_have_text("live")
    page.evaluate("window.same = true")
    saga = system.order(system.make_user(), system.make_product())
    row = page.locator(f"#saga-{saga['saga_id']}")
    expect(row).to_contain_text("Completed")
    assert page.evaluate("window.same") is True


def test_sagas_own_page_goes_on_without_reload(system, page):
    product = system.make_product()
    system.saga("remove", "user.process_payment")
    try:
        saga = system.order(system.make_user(), product, wait=0)
        page.goto(f"/console/sagas/{saga['saga_id']}")
        expect(page.locator(".standing")).to_have_text("Running")
        page.evaluate("window.same = true")
    finally:
        system.saga("deploy", "user.process_payment")
    expect(page.locator(".standing")).to_have_text("Completed")
    assert page.evaluate("window.same") is True


def test_eight_tabs_are_live_on_one_stream(system, window, page):
    page.goto("/console/")
    tabs = [page]
    while len(tabs) < 8:
        with window.expect_page() as opened:
            page.evaluate("open('/console/')")
        tabs.append(opened.value)
    for tab in tabs:
        expect(tab.locator("#live")).to_have_text("live")
    saga = system.order(system.make_user(), system.make_product())
    for tab in tabs:
        tab.bring_to_front()
        expect(tab.locator(f"#saga-{saga['saga_id']}")).to_contain_text("Completed")
    for tab in tabs[1:]:
        tab.close()


def test_pages_say_how_far_they_are_behind(own_page):
    page = own_page
    page.add_init_script("delete window.SharedWorker")  # whose requests no test can answer
    page.route("**/console/age", lambda route: route.fulfill(json={"held": 12.3}))
    page.goto("/console/")
    expect(page.locator("#live")).to_have_text("12 s behind")
    page.unroute("**/console/age")
    expect(page.locator("#live")).to_have_text("live")


def test_lost_connection_is_told_and_what_was_missed_is_caught_up_with(system, page):
    system.saga("remove", "user.process_payment")
    saga = system.order(system.make_user(), system.make_product(), wait=0)["saga_id"]
    page.goto("/console/")
    row = page.locator(f"#saga-{saga}")
    expect(row).to_contain_text("Running")
    expect(page.locator("#live")).to_have_text("live")
    adapter = int(system.processes()["orchestrator"]["pid"])
    os.kill(adapter, signal.SIGSTOP)
    try:
        expect(page.locator("#lost")).to_contain_text("What you see is of", timeout=5_000)
        system.saga("deploy", "user.process_payment")
        told = lambda: json.loads(system.saga("show", saga, "--json").stdout)["status"]  # noqa: E731
        wait_until(lambda: told() == "COMPLETED", "the saga completes")
        expect(row).to_contain_text("Running")
    finally:
        os.kill(adapter, signal.SIGCONT)
    expect(page.locator("#lost")).to_be_hidden()
    expect(row).to_contain_text("Completed")


def test_filter_is_in_the_address_and_comes_back(page):
    page.goto("/console/")
    page.get_by_role("link", name="Compensated").click()
    expect(page).to_have_url("/console/?status=COMPENSATED")
    page.get_by_label("user_id").fill("1")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url("/console/?status=COMPENSATED&user_id=1")
    expect(page.locator("[data-row]")).to_have_count(1)
    page.reload()
    expect(page.locator("[data-row]")).to_have_count(1)


def test_keys_lead_through_the_list(page):
    page.goto("/console/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    rows = page.locator("[data-row] .open")
    expect(rows.first).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Saga id")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Where its time went")).to_be_visible()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Sagas")).to_be_visible()


def test_person_cancels_a_saga(system, page):
    system.saga("remove", "user.process_payment")
    try:
        saga = system.order(system.make_user(), system.make_product(), wait=0)
        page.goto(f"/console/sagas/{saga['saga_id']}")
        page.get_by_text("Cancel…").click()
        page.get_by_role("button", name="Cancel this saga").click()
        assert system.ended(saga["saga_id"])["failure"]["code"] == "cancelled"
        expect(page.locator(".standing")).to_have_text("Compensated")
        expect(page.get_by_text("what was done is undone")).to_be_visible()
    finally:
        system.saga("deploy", "user.process_payment")


def test_person_cancels_all_that_pass_a_filter(system, page):
    user, product = system.make_user(), system.make_product()
    system.saga("remove", "user.process_payment")
    try:
        sagas = [system.order(user, product, wait=0)["saga_id"] for _ in range(3)]
        other = system.order(system.make_user(), product, wait=0)["saga_id"]
        page.goto(f"/console/?status=RUNNING&user_id={user}")
        page.get_by_role("link", name="Cancel…").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Cancel 3 sagas")
        page.get_by_label("Who you are").fill("Ada")
        page.get_by_role("button", name="Cancel 3 sagas").click()
        expect(page.locator(".standing")).to_have_text("Over")
        expect(page.locator(".facts")).to_contain_text("Ada")
        codes = [system.ended(saga)["failure"]["code"] for saga in sagas]
        assert codes == ["cancelled"] * 3
        assert system.saga_of(other)["status"] == "RUNNING"
    finally:
        system.saga("deploy", "user.process_payment")


def test_page_of_a_refused_action_goes_on_too(system, page):
    system.saga("remove", "user.process_payment")
    try:
        saga = system.order(system.make_user(), system.make_product(), wait=0)
        page.goto(f"/console/sagas/{saga['saga_id']}")
        form = page.locator("form", has_text="Cancel this saga")
        form.evaluate(
            "form => { form.action = form.action.replace('cancel', 'retry'); form.submit() }"
        )
        expect(page.get_by_role("alert").last).to_contain_text("only a FAILED one")
    finally:
        system.saga("deploy", "user.process_payment")
    expect(page.locator(".standing")).to_have_text("Completed")


def test_dead_letter_is_dropped(page):
    page.goto("/console/dead-letters")
    page.get_by_role("link", name="order.create/0/0").click()
    expect(page.locator("pre")).to_contain_text("\\xff")
    page.get_by_text("Drop…").click()
    page.get_by_role("button", name="Drop this dead letter").click()
    expect(page.get_by_text("It is dropped.")).to_be_visible()
    expect(page.get_by_text("No dead letters.")).to_be_visible()


def test_function_that_is_killed_is_shown_with_its_restart(system, page):
    page.goto("/console/functions")
    row = page.get_by_role("row").filter(has_text=PAY)
    expect(row).to_contain_text("Ready")
    restarts = row.locator("td").last
    before = int(restarts.inner_text())
    page.evaluate("window.same = true")
    os.kill(int(system.processes()[PAY]["pid"]), signal.SIGKILL)
    expect(restarts).to_have_text(str(before + 1), timeout=MINUTES)
    expect(row).to_contain_text("Ready", timeout=MINUTES)
    assert page.evaluate("window.same") is True
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Last log lines")).to_be_visible()


def test_lag_of_a_function_that_was_removed_is_shown(system, page):
    system.saga("remove", PAY)
    try:
        saga = system.order(system.make_user(), system.make_product(), wait=0)["saga_id"]
        page.goto(f"/console/functions/{PAY}")
        expect(page.locator(".standing")).to_have_text("Not running")
        expect(fact(page, "Lag")).to_have_text("1", timeout=MINUTES)
        expect(fact(page, "Members")).to_have_text("0")
    finally:
        system.saga("deploy", PAY)
    expect(page.locator(".standing")).to_have_text("Ready", timeout=MINUTES)
    assert system.ended(saga)["status"] == "COMPLETED"
    expect(fact(page, "Lag")).to_have_text("0", timeout=MINUTES)


def test_what_no_metrics_tell_is_unknown(page):
    page.goto(f"/console/functions/{PAY}")
    expect(page.locator(".unsure")).to_contain_text("SAGA_METRICS_PORT")
    for name in ("Rate", "Errors", "Dead letters", "p99"):
        expect(fact(page, name)).to_have_text("unknown")
    expect(fact(page, "Members")).to_have_text("1", timeout=MINUTES)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Let a process stand still in a block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_version_that_drains_is_shown_with_the_sagas_that_are_left(system, page):
    was, there = read_wanted(system.data)[PAY], system.processes()
    state = lambda: system.processes().get(PAY, {}).get("state")  # noqa: E731
    try:
        with frozen(int(there[PAY]["pid"])):
            saga = system.order(system.make_user(), system.make_product(), wait=0)["saga_id"]
            page.goto(f"/console/functions/{PAY}")
            change_wanted(system.data, {PAY: None})
            wait_until(lambda: state() == "stopping", "it is to stop")
            with frozen(int(there["supervisor"]["pid"])):  # which would kill it after ten seconds
                running = system.http("GET", "orchestrator", "/sagas?status=RUNNING").json()
                assert saga in [one["saga_id"] for one in running]
                left = f"drains, {len(running)} saga{'s' if len(running) > 1 else ''} left"
                expect(page.locator("h3")).to_contain_text(left, timeout=MINUTES)
                expect(page.locator(".standing")).to_have_text("Draining")
    finally:
        change_wanted(system.data, {PAY: was})
    wait_until(lambda: state() == "ready", "it is back")
    assert system.ended(saga)["status"] == "COMPLETED"
    expect(page.locator(".standing")).to_have_text("Ready", timeout=MINUTES)


def test_dead_letters_that_pass_a_filter_are_dropped_and_it_is_recorded(system, page):
    producer = Producer({"bootstrap.servers": system.broker()})
    for number in range(60):
        producer.produce("order.complete", value=b"\xfe", key=b"k%d" % number)
    producer.flush(10)
    path = "/console/dead-letters?topic=order.complete"
    wait_until(lambda: page.goto(path) and page.get_by_text("60 pass").count(), "all are there")
    expect(page.locator("[data-row]")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("[data-row]")).to_have_count(10)
    page.get_by_role("link", name="Drop…").click()
    page.get_by_label("Who you are").fill("Ada")
    page.get_by_role("button", name="Drop 60 dead letters").click()
    expect(page.locator(".standing")).to_have_text("Over")
    expect(page.locator("dd").first).to_have_text("60")
    page.get_by_role("link", name="topic=order.complete").click()
    expect(page.get_by_text("No dead letter is like that.")).to_be_visible()


def test_nothing_is_loaded_from_elsewhere(system, base, own_page):
    asked: list[str] = []
    own_page.on("request", lambda request: asked.append(request.url))
    for path in paths(system):
        own_page.goto(path, wait_until="load")
    assert {url for url in asked if not url.startswith((f"{base}/console", "data:"))} == set()
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
