"""Where the time of one order goes, hop by hop.

    python -m benchmarks.hops --orders 300

Orders that complete are placed one at a time. What is known of each when it has ended: when its
client asked and was answered, when its saga's row was made, when each record was handed to the
producer (Kafka keeps whole milliseconds, so half of one is added), when each handler was done (its
reply says so), and when each reply was applied (the saga's history does). The hops between these
add up to what the client waited; they are told as means, which medians would not do.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from saga.functions.orchestrator.place_order import place_order
from saga.runtime import saga_queries
from saga.runtime.envelope import message_id, reply_id
from saga.runtime.saga_history import histories
from saga.runtime.system.state import read_system
from saga.stacks import ledger

from .load import HOST, Api, read_answer, request
from .orders import Order, orders
from .ours import OURS, data_folder
from .processes import Failed, as_a_command, scratch_folder
from .report import header, row

WARM_UP = 1_000  # orders before those that count: a system does more when it has just started
HALF = 0.0005  # seconds: what a time in whole milliseconds lacks on average
CONSUME_TIMEOUT = 10.0  # seconds without any record
STEPS = len(place_order.steps)

# What happens between two moments, as often as the table says.
HOPS = (
    "client → adapter: the request, read and checked",
    "adapter: the saga's row committed, the first command handed to the producer",
    "command: producer, broker, function; its inbox read, its handler called",
    "function: effects and answer committed, the reply handed to the producer",
    "reply: producer, broker, the saga's host",
    "host: the reply applied and committed, the next command (or the end) handed over",
    "end: producer, broker, adapter, the answer to the client",
)


class Visit(NamedTuple):
    """What is known of one order's client, in seconds since 1970, and the saga's id."""

    saga_id: str
    asked: float
    answered: float


class Marks(NamedTuple):
    """The moments of one order, in seconds since 1970, those of each step in its order."""

    asked: float
    made: float
    commanded: Sequence[float]
    handled: Sequence[float]
    replied: Sequence[float]
    applied: Sequence[float]
    ended: float
    answered: float


class Sent(NamedTuple):
    """When a message was handed to the producer, and what it says itself of its time."""

    at: float
    time: str


def durations(marks: Marks) -> list[float]:
    """Return the seconds of each of the `HOPS`, all steps' together."""
    onward = [*marks.commanded[1:], marks.ended]
    return [
        marks.made - marks.asked,
        marks.commanded[0] - marks.made,
        sum(marks.handled) - sum(marks.commanded),
        sum(marks.replied) - sum(marks.handled),
        sum(marks.applied) - sum(marks.replied),
        sum(onward) - sum(marks.applied),
        marks.answered - marks.ended,
    ]


def table(all_marks: Sequence[Marks]) -> Iterator[str]:
    """Yield the lines of the table of hops, and of their sum."""
    means = [mean(hop) * 1000 for hop in zip(*map(durations, all_marks), strict=True)]
    yield from header("hop", "times", "ms each", "ms per order", "share")
    for number, (hop, spent) in enumerate(zip(HOPS, means, strict=True)):
        times = STEPS if 2 <= number <= 5 else 1
        share = f"{spent / sum(means):.0%}"
        yield row(hop, times, f"{spent / times:.2f}", f"{spent:.2f}", share)
    yield row(f"mean of {len(all_marks)} orders", "", "", f"{sum(means):.2f}", "100%")


def marks_of(
    visit: Visit, made: datetime, applied: Sequence[datetime], sent: Mapping[str, Sent]
) -> Marks:
    """Put together what is known of an order; `applied` is about each of its replies."""
    commands = [message_id(visit.saga_id, step.name, "do") for step in place_order.steps]
    replies = [sent[reply_id(command)] for command in commands]
    return Marks(
        visit.asked,
        made.timestamp(),
        [sent[command].at for command in commands],
        [datetime.fromisoformat(reply.time).timestamp() for reply in replies],
        [reply.at for reply in replies],
        [moment.timestamp() for moment in applied],
        sent[f"{visit.saga_id}/ended"].at,
        visit.answered,
    )


async def place(api: Api, some: Sequence[Order]) -> list[Visit]:
    """Place orders one after the other, over one connection."""
    visits = []
    reader, writer = await asyncio.open_connection(HOST, api.port)
    for one in some:
        asked = time.time()
        writer.write(request(api, one))
        answer = await read_answer(reader)
        visits.append(Visit(answer["saga_id"], asked, time.time()))
    writer.close()
    return visits


def read_topics(broker: str) -> dict[str, Sent]:
    """Read what was sent on all topics of the saga, by id."""
    topics = {step.command.topic for step in place_order.steps}
    topics |= {*place_order.reply_topics, place_order.ended_topic}
    settings = {"bootstrap.servers": broker, "group.id": "benchmarks", "enable.metrics.push": False}
    consumer = Consumer(settings)
    try:
        return dict(_records(consumer, topics))
    finally:
        consumer.close()


def _records(consumer: Consumer, topics: set[str]) -> Iterator[tuple[str, Sent]]:
    known = consumer.list_topics().topics
    places = [
        TopicPartition(topic, number, OFFSET_BEGINNING)
        for topic in topics
        for number in known[topic].partitions
    ]
    left = sum(consumer.get_watermark_offsets(place)[1] for place in places)
    consumer.assign(places)
    while left:
        records = consumer.consume(min(left, 500), CONSUME_TIMEOUT)  # it waits for all
        if not records:
            raise Failed(f"{left} records of {', '.join(sorted(topics))} do not come")
        for record in records:
            headers = {name: value.decode() for name, value in record.headers()}
            at = record.timestamp()[1] / 1000 + HALF
            yield headers["ce_id"], Sent(at, headers["ce_time"])
        left -= len(records)


def measure(name: str, count: int, warm_up: int, folder: Path) -> list[Marks]:
    """Run a system of ours, and place so many orders that complete."""
    scratch = scratch_folder(folder)
    some = [*islice((one for one in orders() if one.completes), warm_up + count)]
    with OURS[name](scratch, folder) as running:
        visits = asyncio.run(place(running.api, some))[warm_up:]
        sent = read_topics(read_system(data_folder(scratch)).broker)
        states = saga_queries.find_many(ledger.sagas(), [visit.saga_id for visit in visits])
        moments = histories(ledger.sagas(), states)
    made = {state.id: state.created_at for state in states}
    return [
        marks_of(v, made[v.saga_id], [m.at for m in moments[v.saga_id][1:]], sent) for v in visits
    ]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hops")
    parser.add_argument("--system", choices=OURS, default="ours")
    parser.add_argument("--orders", type=int, default=300, metavar="N")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, metavar="N")
    parser.add_argument("--folder", type=Path, default=Path(".benchmarks"))
    wanted = parser.parse_args()
    with as_a_command():
        marks = measure(wanted.system, wanted.orders, wanted.warm_up, wanted.folder.absolute())
        print(*table(marks), sep="\n")


if __name__ == "__main__":
    main()
