"""`saga chaos`: kill processes at random under load, and check that nothing is lost or doubled."""

import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.progress import Progress
from uuid_utils.compat import uuid7

from saga.functions.product.store import Product
from saga.functions.user.store import User
from saga.runtime.address import reached_at
from saga.runtime.cli.app import Data, Json, settings_for
from saga.runtime.cli.progress import progress_bar
from saga.runtime.cli.terminal import console, line
from saga.runtime.dead_letter import SUFFIX
from saga.runtime.envelope import Record
from saga.runtime.errors import BrokerUnavailable, SagaError
from saga.runtime.polling import poll_until, wait_until
from saga.runtime.settings import Settings
from saga.runtime.system.stack import read_stacks, topics
from saga.runtime.system.state import System, read_system, with_its_stacks
from saga.runtime.testing.request import Request

from . import ledger
from .calls import Calls
from .disturbing import ANSWERS, Disturbing
from .load import Load
from .reading import ReadingClient

CLIENTS = 12
BUYERS = 20
REST_TIMEOUT = 300.0  # seconds until all sagas must have ended
CANCELS = 0.2  # of the orders; the moment for a refund is short
ENOUGH_ORDERS = 1000  # which a run goes on with until it has seen everything
LONGEST_SEARCH = 300.0  # seconds more that it goes on


class Verdict(BaseModel):
    """What a run did and found. `seconds_to_rest` counts from the last kill and the last order."""

    seed: int
    orders: int
    own_orders: int  # of what goes wrong, beside those
    accepted: int
    completed: int
    compensated: int
    seen: dict[str, int]
    unseen: list[str]
    kills: dict[str, int]
    seconds_to_rest: float
    violations: list[str]


def chaos(
    data: Data = None,
    orders: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many orders.")] = 1000,
    seconds: Annotated[float, typer.Option(min=1, help="How long to place and kill.")] = 60,
    seed: Annotated[int | None, typer.Option(help="Of what is ordered and killed.")] = None,
    as_json: Json = False,
) -> None:
    """Kill processes under load, then judge every order.

    Functions, sagas, adapters and the broker are killed or stand still, bad messages and rows come
    between, sends are refused, handlers fail and hang, and rows are edited by hand. With 1000
    orders and more, it goes on until it has seen each of that.
    """
    seed = random.randrange(2**32) if seed is None else seed  # noqa: S311 - no secret
    with progress_bar() as progress:
        verdict = _try(settings_for(data), orders, seconds, seed, progress)
    print(verdict.model_dump_json(indent=1)) if as_json else _show(verdict)
    if verdict.violations:
        raise SagaError(f"{len(verdict.violations)} violations with --seed {seed}")
    if verdict.unseen:
        raise SagaError(
            f"nothing was wrong, but there was no {', no '.join(verdict.unseen)}, though it went "
            f"on for up to {LONGEST_SEARCH:g} s: try another --seed, or more --seconds"
        )


def _try(settings: Settings, orders: int, seconds: float, seed: int, progress: Progress) -> Verdict:
    """Let it all happen, wait until all is at rest, and judge."""
    running = read_system(settings.saga_data)
    # That the broker is away is no news.
    for told in ("quixstreams", "saga.runtime.kafka"):
        logging.getLogger(told).setLevel(logging.CRITICAL)
    ledger.open_databases(settings)
    on_broker = with_its_stacks(settings).on_broker(running.broker)
    host = reached_at(settings.saga_host)
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    enough = threading.Event()
    wishes = _wishes(chance, orders, enough)
    disturbing = Disturbing(on_broker, running, host, seed)
    before = ledger.books()
    load = _load(running, host, wishes, orders / seconds, chance)
    searched_until = time.monotonic() + seconds + LONGEST_SEARCH

    def all_seen() -> bool:
        is_late = orders < ENOUGH_ORDERS or time.monotonic() > searched_until
        return is_late or not disturbing.missing(load.requests)

    with disturbing.traps.laid():
        with disturbing:
            _place(load, orders, enough, all_seen, progress)
        rest_began = time.monotonic()
        disturbing.settle(lambda: _wait_for_rest(before, orders, progress))
    # Once more now that all is at rest: nothing may come of it.
    again = _answered(disturbing.repeater.happen)
    wait_until(again, "the broker takes no messages", REST_TIMEOUT)
    judgement = disturbing.judge(load.requests, before, _wait_for_silence(on_broker))
    return Verdict(
        seed=seed,
        orders=len(load.requests),
        own_orders=len(disturbing.own_requests),
        accepted=load.accepted,
        completed=judgement.seen["completed"],
        compensated=judgement.seen["compensated"],
        seen=dict(sorted(judgement.seen.items())),
        unseen=_unseen(judgement.seen, disturbing, orders),
        kills=dict(sorted(disturbing.killer.kills.items())),
        seconds_to_rest=round(time.monotonic() - rest_began, 1),
        violations=judgement.violations,
    )


def _load(
    running: System, host: str, wishes: Iterator[Request], rate: float, chance: random.Random
) -> Load:
    def client(calls: Calls) -> ReadingClient:
        return ReadingClient(calls, (host, running.port("order")), chance)

    address = (host, running.port("orchestrator"))
    return Load(address, wishes, CLIENTS, rate, CANCELS, chance, client)


def _seed() -> tuple[list[int], list[int]]:
    """Make buyers and products; every fourth has too little for some of the orders."""
    run = uuid7().hex[-12:]
    buyers, products = [], []
    for n in range(BUYERS):
        scarce = n % 4 == 0
        balance = Decimal(50 if scarce else 1_000_000)
        email = f"{run}.{n}@chaos.example"
        buyers.append(User.create(name=f"chaos {n}", email=email, balance=balance).id)
        stock = 10 if scarce else 1_000_000
        product = Product.create(name=f"chaos {n}", price=Decimal("9.99"), stock=stock)
        products.append(product.id)
    return buyers, products


def _wishes(chance: random.Random, orders: int, enough: threading.Event) -> Iterator[Request]:
    """Make so many wishes, and more until they are `enough`."""
    buyers, products = _seed()
    return (
        Request(
            {
                "user_id": chance.choice(buyers),
                "product_id": chance.choice(products),
                "quantity": chance.randint(1, 3),
            },
            key=str(uuid7()),
        )
        for _ in itertools.takewhile(lambda n: n < orders or not enough.is_set(), itertools.count())
    )


def _place(
    load: Load,
    orders: int,
    enough: threading.Event,
    all_seen: Callable[[], bool],
    progress: Progress,
) -> None:
    bar = progress.add_task("accepted", total=orders)
    with load:
        while load.busy:
            progress.update(bar, completed=load.accepted)
            if not enough.is_set() and all_seen():
                enough.set()
            time.sleep(0.5)


def _wait_for_rest(before: ledger.Books, orders: int, progress: Progress) -> None:
    bar = progress.add_task("ended", total=orders)

    def at_rest() -> bool:
        left = ledger.in_flight(before)
        progress.update(bar, completed=orders - left)
        return not left

    poll_until(at_rest, REST_TIMEOUT, every=0.1)  # if it won't, that is a violation


def _wait_for_silence(settings: Settings) -> list[Record]:
    """Wait until every function has read all there is; return what is on the topics of answers.

    A duplicate may still be on its way when the sagas have ended.
    """
    from saga.runtime.kafka.admin import lag
    from saga.runtime.kafka.reading import read_topics

    stacks = read_stacks(settings.saga_stacks)
    hosted = [hosted for stack in stacks for hosted, _ in stack.load() if hosted.topics]
    letters = [topic + SUFFIX for topic in topics(stacks)]
    records: list[Record] = []

    def read() -> bool:
        if any(lag(settings, h.name, h.topics) for h in hosted):
            return False
        records[:] = read_topics(settings, [*ANSWERS, *letters])
        return True

    wait_until(_answered(read), "messages are still unread", REST_TIMEOUT)
    return records


def _answered(ask: Callable[[], bool | None]) -> Callable[[], bool]:
    """Return a condition: that the broker answers, which may be on its way back, and not No."""

    def holds() -> bool:
        try:
            return ask() is not False
        except BrokerUnavailable:
            return False

    return holds


def _unseen(seen: Mapping[str, int], disturbing: Disturbing, orders: int) -> list[str]:
    """Say what a run was there to try and has not seen; a short one need not have."""
    kills = disturbing.killer.kills
    if orders < ENOUGH_ORDERS:
        return [] if kills else ["kill"]
    return ledger.unseen(seen, *disturbing.kinds()) + disturbing.killer.missing()


def _show(verdict: Verdict) -> None:
    lists = {"seen", "unseen", "kills", "violations"}
    for name, value in verdict.model_dump(exclude=lists).items():
        console.print(line(f"{name:>17}  ", (str(value), "bold")))
    for kind, count in verdict.seen.items():
        console.print(f"{kind:>17}  {count}")
    killed = ", ".join(f"{name} {count}" for name, count in verdict.kills.items()) or "nothing"
    console.print(f"{'killed':>17}  {killed}")
    for violation in verdict.violations[:20]:
        console.print(line(f"{'violation':>17}  ", (violation, "red")))
    word = ("broken", "red") if verdict.violations else ("holds", "green")
    console.print(line(f"{'verdict':>17}  ", word))
