"""Streams of what changes: each change comes once, whatever becomes of the connection."""

import asyncio
import random
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from threading import Thread
from uuid import UUID

import pytest
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from saga.runtime import Command, Event, Message, Saga, Step, saga_changes, saga_queries
from saga.runtime.clock import utcnow
from saga.runtime.database.connection import UNAVAILABLE, connect, transaction
from saga.runtime.envelope import Reply
from saga.runtime.saga_changes import ChangeRow
from saga.runtime.saga_history import histories
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import TABLES, SagaStore, Start
from saga.runtime.settings import Settings
from saga.runtime.web import saga_events
from saga.runtime.web.app import new_app
from saga.runtime.web.changed_sagas import ChangedSaga, Told
from saga.runtime.web.saga_events import Follower
from saga.runtime.web.sagas import saga_blueprint
from support.api import run_app
from support.events import opened

OLD = datetime(2026, 1, 1, tzinfo=UTC)
NO = '{"code": "no_tea", "message": "none left"}'
DEADLINE = 300  # seconds


class Begin(Message):
    pass


class Made(Event, topic="told.events"):
    pass


class Make(Command, topic="told.make", event=Made):
    pass


class Unmake(Command, topic="told.unmake", event=Made):
    pass


class Send(Command, topic="told.send", event=Made):
    pass


SAGA = Saga("told", Begin, [Step(Make, undo=Unmake), Step(Send)])
OTHER = Saga("other", Begin, [Step(Make, undo=Unmake), Step(Send)])


@pytest.fixture(params=["sqlite", "postgres"])
def api(request, tmp_path):
    settings = Settings(saga_data=tmp_path)
    if request.param == "postgres":
        request.getfixturevalue("postgres")
        url = SecretStr(request.getfixturevalue("postgres_url"))
        settings = settings.model_copy(update={"saga_database_url": url})
    app = new_app("teas", settings, TABLES, saga_blueprint(SAGA, send=lambda _: None))
    app.ctx.url = settings.database_url("teas")
    with run_app(app) as api:
        yield api


@pytest.fixture
def store(api):
    with closing(connect(api.app.ctx.url)) as database:
        yield SagaStore(database)


def begin(store, saga=SAGA, now=None):
    saga_id = str(uuid7())
    store.start(saga, [Start(saga_id, Begin())], now or utcnow())
    return saga_id


def answer(store, saga_id, step="make", action="do", outcome="done", saga=SAGA):
    data = NO if outcome == "rejected" else "{}"
    with transaction(store.database):
        store.advance(saga, [Reply(saga_id, step, action, outcome, 1, data)], utcnow())


def run(store, chance, saga=SAGA):
    """Lead a saga to its end."""
    saga_id = begin(store, saga)
    answer(store, saga_id, saga=saga)
    if chance.random() < 0.5:
        answer(store, saga_id, "send", saga=saga)
    else:
        answer(store, saga_id, "send", outcome="rejected", saga=saga)
        answer(store, saga_id, action="undo", saga=saga)
    return saga_id


def in_time(api, work):
    """Run what waits for events, with a deadline."""
    return api.run(asyncio.wait_for(work, DEADLINE))


async def idle(events):
    """Wait until the reader has seen that no stream is open."""
    if events._reading is not None:
        await events._reading


async def first_id(stream):
    [event] = await stream.take(1)
    assert (event.kind, event.data) == ("", None)
    return event.id


def test_change_is_told_as_it_is_made(api, store):
    async def follow():
        async with opened(api, "/sagas/events") as stream:
            assert stream.status == 200
            assert stream.headers["content-type"] == "text/event-stream"
            assert stream.headers["cache-control"] == "no-store"
            await first_id(stream)
            saga_id = begin(store)
            begin(store, OTHER)
            answer(store, saga_id)
            answer(store, saga_id, "send", outcome="rejected")
            return saga_id, await stream.take(3)

    saga_id, events = in_time(api, follow())
    assert [event.kind for event in events] == ["saga"] * 3
    assert [event.change for event in events] == [(saga_id, index) for index in range(3)]
    refused = events[2].data
    moment = histories(store.database, [saga_queries.find(store.database, saga_id)])[saga_id][2]
    assert datetime.fromisoformat(refused.pop("at")) == moment.at
    assert refused == {
        "saga_id": saga_id,
        "name": "told",
        "index": 2,
        "status": "COMPENSATING",
        "steps": [
            {"name": "send", "status": "REJECTED", "code": "no_tea"},
            {"name": "make", "status": "UNDOING", "code": None},
        ],
    }


def test_stream_of_one_saga_is_its_history_and_goes_on_to_its_end(api, store):
    saga_id, path = begin(store), "/sagas/{}/events"

    async def follow():
        async with opened(api, path.format(saga_id)) as stream:
            events = await stream.take(1)
            begin(store)
            answer(store, saga_id)
            answer(store, saga_id, "send")
            return events + [event async for event in stream]

    events = in_time(api, follow())
    assert [event.id for event in events] == ["0", "1", "2"]
    assert [event.change for event in events] == [(saga_id, index) for index in range(3)]
    assert [event.data["status"] for event in events] == ["RUNNING", "RUNNING", "COMPLETED"]
    whole = api.get(path.format(saga_id)).text
    assert [whole.count(f"id: {index}\n") for index in range(4)] == [1, 1, 1, 0]
    rest = api.get(path.format(saga_id) + "?last_event_id=1").text
    assert (rest.count("event:"), rest.count("id: 2\n")) == (1, 1)
    assert api.get(path.format(saga_id), headers={"last-event-id": "2"}).status_code == 204
    header = {"last-event-id": "2"}
    assert api.get(path.format(saga_id) + "?last_event_id=0", headers=header).status_code == 204


def test_saga_that_is_set_aside_and_taken_up_again_is_told(api, store):
    saga_id = begin(store)
    row = SagaRow.get_by_id(saga_id)

    async def follow():
        one = f"/sagas/{saga_id}/events"
        async with opened(api, "/sagas/events") as all_of_them, opened(api, one) as stream:
            await first_id(all_of_them)
            events = await stream.take(1)
            write(saga_id, "{}")
            answer(store, saga_id)
            events += await stream.take(1)
            async with opened(api, one) as late:
                [standing] = await late.take(1)
            write(saga_id, row.state)
            with transaction(store.database):
                store.retry(SAGA, saga_id, utcnow())
            answer(store, saga_id)
            answer(store, saga_id, "send")
            events += [event async for event in stream]
            return standing, events, await all_of_them.take(4)

    standing, events, told = in_time(api, follow())
    seen = [(event.id, event.data["index"], event.data["status"]) for event in events]
    assert seen == [
        ("0", 0, "RUNNING"),
        ("0", None, "UNREADABLE"),
        ("0", None, "RUNNING"),
        ("1", 1, "RUNNING"),
        ("2", 2, "COMPLETED"),
    ]
    assert (standing.data["status"], standing.data["index"]) == ("UNREADABLE", None)
    assert [event.data for event in told] == [event.data for event in events[1:]]
    assert len({event.id for event in told}) == 4
    assert abs(datetime.fromisoformat(events[1].data["at"]) - utcnow()).total_seconds() < DEADLINE


def write(saga_id, state):
    SagaRow.update(state=state).where(SagaRow.id == saga_id).execute()


def test_saga_undone_by_hand_is_told_without_the_persons_words(api, store):
    saga_id = begin(store)
    store.cancel(SAGA, saga_id, utcnow())
    answer(store, saga_id, action="undo", outcome="unsent")
    assert api.get(f"/sagas/{saga_id}").json["status"] == "FAILED"
    store.skip(SAGA, saga_id, utcnow(), step="make", by="Ada", reason="by hand")
    told = api.get(f"/sagas/{saga_id}/events").text
    assert '{"name":"make","status":"UNDONE","code":"skipped"}' in told
    assert "Ada" not in told


def test_what_is_asked_wrongly_is_refused(api, store):
    saga_id = begin(store)
    other = begin(store, OTHER)
    assert api.get(f"/sagas/{UUID(int=1)}/events").status_code == 404
    assert api.get(f"/sagas/{other}/events").status_code == 404
    for path in ("/sagas/events", f"/sagas/{saga_id}/events"):
        for asked in ("?last_event_id=x", "?last_event_id=", "?last=1"):
            assert api.get(path + asked).status_code == 422
        assert api.get(path, headers={"last-event-id": "-1"}).status_code == 422
        twice = [("last-event-id", "1"), ("last-event-id", "2")]
        assert api.get(path, headers=twice).status_code == 422
        head = api.ask("HEAD", path)
        assert (head.status_code, head.text) == (200, "")
    assert not api.app.ctx.events._followers


def test_what_was_missed_is_told_first(api, store, monkeypatch):
    monkeypatch.setattr(saga_events, "AT_ONCE", 2)

    async def follow():
        async with opened(api, "/sagas/events") as stream:
            last = await first_id(stream)
        made = [begin(store) for _ in range(7)]
        async with opened(api, f"/sagas/events?last_event_id={last}") as stream:
            events = await stream.take(7)
            made.append(begin(store))
            events += await stream.take(1)
        async with opened(api, "/sagas/events", events[3].id) as stream:
            again = await stream.take(4)
        return made, events, again

    made, events, again = in_time(api, follow())
    assert [event.change for event in events] == [(saga_id, 0) for saga_id in made]
    assert again == events[4:]


def test_change_that_a_stream_has_read_by_itself_is_not_told_again(api, store, monkeypatch):
    monkeypatch.setattr(saga_events, "OFTEN", 1.0)  # the reader is behind meanwhile

    async def follow():
        async with opened(api, "/sagas/events") as first:
            before = await first_id(first)
            made = [begin(store)]
            await first.take(1)
            made.append(begin(store))
            async with opened(api, "/sagas/events", before) as stream:
                events = await stream.take(2)
                await first.take(1)
                made.append(begin(store))
                return made, events + await stream.take(1)

    made, events = in_time(api, follow())
    assert [event.change for event in events] == [(saga_id, 0) for saga_id in made]


def test_client_that_was_away_for_too_long_is_told_to_begin_anew(api, store):
    async def follow():
        async with opened(api, "/sagas/events") as stream:
            last = await first_id(stream)
        await idle(api.app.ctx.events)
        for _ in range(2):
            begin(store, now=OLD)
        saga_changes.prune(store.database, utcnow())
        begin(store)
        async with opened(api, "/sagas/events", last) as stream:
            [reset] = await stream.take(1)
            saga_id = begin(store)
            return reset, await stream.take(1), saga_id

    reset, events, saga_id = in_time(api, follow())
    assert (reset.kind, reset.data) == ("reset", {})
    assert [event.change for event in events] == [(saga_id, 0)]
    assert saga_changes.parse(reset.id) <= saga_changes.parse(events[0].id)


def test_clients_that_lose_their_connections_miss_nothing_and_hear_nothing_twice(api):
    chance = random.Random(1)
    heard = [[] for _ in range(4)]
    total = []  # how many changes of each saga there are, once all have ended

    def lead_sagas():
        with closing(connect(api.app.ctx.url)) as database:
            for _ in range(10):
                run(SagaStore(database), random.Random(chance.random()))

    def is_all(events):
        return bool(total) and len(events) >= sum(total)

    async def hear(events, last):
        while not is_all(events):
            async with opened(api, "/sagas/events", last) as stream:
                async for event in stream:
                    events.append(event)
                    last = event.id
                    if chance.random() < 0.1 or is_all(events):
                        break

    async def follow():
        async with opened(api, "/sagas/events") as stream:
            last = await first_id(stream)
        clients = [asyncio.create_task(hear(events, last)) for events in heard]
        writers = [Thread(target=lead_sagas) for _ in range(3)]
        for writer in writers:
            writer.start()
        for writer in writers:
            await asyncio.to_thread(writer.join)
        with closing(connect(api.app.ctx.url)) as database:
            states = saga_queries.page(database, 1000)
            total.extend(len(state.history) for state in states)
            run(SagaStore(database), chance)  # wakes those who have heard all already
        await asyncio.gather(*clients)
        with closing(connect(api.app.ctx.url)) as database:
            return histories(database, states)

    known = in_time(api, follow())
    wanted = {(i, n) for i, moments in known.items() for n in range(len(moments))}
    assert len(known) == 30
    shown = {saga["saga_id"]: saga["status"] for saga in api.get("/sagas?limit=1000").json}
    for events in heard:
        events = [event for event in events if event.data["saga_id"] in known]
        assert sorted(event.change for event in events) == sorted(wanted)
        for event in events:
            moment = known[event.data["saga_id"]][event.data["index"]]
            steps = [(s["name"], s["status"], s["code"] or "") for s in event.data["steps"]]
            assert (event.data["status"], steps) == (
                moment.status,
                [tuple(s) for s in moment.steps],
            )
        last = {event.data["saga_id"]: event.data["status"] for event in events}
        assert last.items() <= shown.items()
    assert not api.app.ctx.events._followers


def test_no_more_streams_are_open_than_there_may_be(api, monkeypatch):
    monkeypatch.setattr(saga_events, "STREAMS", 2)

    async def follow():
        async with AsyncExitStack() as stack:
            for _ in range(2):
                stream = await stack.enter_async_context(opened(api, "/sagas/events"))
                await first_id(stream)
            async with opened(api, "/sagas/events") as refused:
                return refused.status, refused.headers["retry-after"]

    assert in_time(api, follow()) == (503, "1")


def test_nobody_asks_the_database_while_no_stream_is_open(api):
    events = api.app.ctx.events

    async def follow():
        assert events._reading is None
        async with opened(api, "/sagas/events") as stream:
            await first_id(stream)
            assert events._reading is not None
        await idle(events)

    in_time(api, follow())


def test_quiet_stream_says_that_it_is_there(api, monkeypatch):
    monkeypatch.setattr(saga_events, "HEARTBEAT", 0.01)

    async def follow():
        async with opened(api, "/sagas/events") as stream:
            await first_id(stream)
            return [await anext(stream._lines) for _ in range(4)]

    assert in_time(api, follow()) == [":", "", ":", ""]


def test_stream_goes_on_when_the_database_is_there_again(api, store, monkeypatch, caplog):
    """That it is away is logged once."""
    read, asked = saga_changes.read, []

    def away(*arguments):
        asked.append(arguments)
        if len(asked) == 3:
            monkeypatch.setattr(saga_changes, "read", read)
        raise UNAVAILABLE[0]("gone")

    async def follow():
        async with opened(api, "/sagas/events") as stream:
            await first_id(stream)
            monkeypatch.setattr(saga_changes, "read", away)
            saga_id = begin(store)
            return saga_id, await stream.take(1)

    saga_id, [event] = in_time(api, follow())
    assert event.change == (saga_id, 0)
    assert (len(asked), caplog.text.count("can't ask for what has changed")) == (3, 1)


def test_streams_end_where_their_reader_fails(api, store, monkeypatch, caplog):
    async def follow():
        async with opened(api, "/sagas/events") as stream:
            await first_id(stream)
            monkeypatch.setattr(saga_changes, "read", lambda *_: 1 / 0)
            return [event async for event in stream]

    assert in_time(api, follow()) == []
    assert "sagas' streams are ended" in caplog.text


def test_streams_end_when_the_service_stops_and_no_more_begin(api, store):
    saga_id = begin(store)

    async def follow():
        async with AsyncExitStack() as stack:
            paths = ("/sagas/events", f"/sagas/{saga_id}/events")
            streams = [await stack.enter_async_context(opened(api, path)) for path in paths]
            for stream in streams:
                await stream.take(1)
            api.app.ctx.events.end()
            return [event for stream in streams async for event in stream]

    assert in_time(api, follow()) == []
    assert api.get("/sagas/events").json["code"] == "stopping"


def test_saga_that_cant_be_read_ends_no_stream(api, store):
    async def follow():
        async with opened(api, "/sagas/events") as stream:
            await first_id(stream)
            with store.database.atomic():
                bad = begin(store)
                SagaRow.update(state="?").where(SagaRow.id == bad).bind(store.database).execute()
            return begin(store), await stream.take(1)

    saga_id, [event] = in_time(api, follow())
    assert event.change == (saga_id, 0)


def test_streams_whose_reader_was_held_back_for_too_long_end_and_tell_so_when_they_come_again(
    api, store, monkeypatch
):
    async def follow():
        saga_id = begin(store)
        async with opened(api, "/sagas/events") as stream:
            place = await first_id(stream)
            async with opened(api, f"/sagas/{saga_id}/events") as one:
                seen = await one.take(1)
                with monkeypatch.context() as held_back:
                    held_back.setattr(saga_changes, "read", lambda *_: [])
                    answer(store, saga_id)
                    begin(store, now=OLD)
                    saga_changes.prune(store.database, utcnow() + 2 * saga_changes.KEPT)
                answer(store, saga_id, "send")
                told = [event async for event in stream], [event async for event in one]
        async with opened(api, "/sagas/events", place) as stream:
            [event] = await stream.take(1)
        async with opened(api, f"/sagas/{saga_id}/events", seen[0].id) as one:
            return told, event.kind, [each.change[1] async for each in one]

    assert in_time(api, follow()) == (([], []), "reset", [1, 2])


def test_stream_whose_client_is_too_slow_is_ended(monkeypatch):
    monkeypatch.setattr(saga_events, "BUFFERED", 3)
    change = ChangedSaga(saga_id="a", name="told", index=0, status="RUNNING", at=OLD, steps=[])
    told = [Told(saga_changes.Place(1, 1), change, "x")]

    async def texts():
        follower, found = Follower(), []
        follower.put(told * 3)
        async for text in follower.texts(lambda told: "".join(one.data for one in told)):
            found.append(text)
            follower.put(told * 4)
        return found

    assert asyncio.run(asyncio.wait_for(texts(), DEADLINE)) == ["xxx"]


def test_client_that_reads_nothing_keeps_no_stream_open(api, store, monkeypatch):
    """As its connection takes no more, whatever waits there is given up after a while."""
    monkeypatch.setattr(saga_events, "STREAMS", 1)
    monkeypatch.setattr(Told, "event", lambda *_: "x" * 2**24)  # for no buffer
    api.app.config.RESPONSE_TIMEOUT = 1  # second

    async def follow():
        host, port = api.client.host, api.client.port
        reader, writer = await asyncio.open_connection(host, port, limit=1)
        writer.write(b"GET /sagas/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await reader.readexactly(15) == b"HTTP/1.1 200 OK"
        begin(store)
        statuses = []
        while 200 not in statuses:
            async with opened(api, "/sagas/events") as stream:
                statuses.append(stream.status)
            await asyncio.sleep(0.05)
        writer.close()
        return statuses

    *before, _ = in_time(api, follow())
    assert set(before) <= {503}  # none where that took longer than the first client's second


def test_one_row_is_written_for_many_sagas(api):
    responses = api.post_many("/sagas", [{} for _ in range(50)])
    assert [response.status_code for response in responses] == [202] * 50
    assert ChangeRow.select().count() < 50
