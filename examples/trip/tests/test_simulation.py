"""The whole trip system in one process, among crashes, losses and delays, run from seeds."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest
from saga.runtime.saga_rows import SagaRow
from saga.runtime.simulation import GIVEN_UP, Simulator
from saga.runtime.system.stack import read_stacks
from saga.runtime.testing import EXCUSES, Case, Judgement, Request, judge

from car.store import Car
from flight.store import Flight, Seat
from hotel.store import Hotel, Room
from trip.book_trip import BookTrip, book_trip

SEEDS = 30
SEATS = {"LX318": 4, "LX319": 2}
ROOMS = {"Ritz": 3, "Savoy": 2}
CARS = {"ZH1": "small", "ZH2": "small", "ZH3": "big"}
ARRIVAL = {"LX318": date(2027, 5, 1), "LX319": date(2027, 5, 2)}
FULL = {"flight_full": "flight", "hotel_full": "hotel", "no_car": "car"}  # by a refusal's code


class Trips:
    """Trips that compete for a few seats, rooms and cars."""

    saga = book_trip

    def __init__(self) -> None:
        self.stacks = read_stacks(Path(__file__).parents[1] / "stacks")

    def prepare(self, chance: Random) -> list[BookTrip]:
        """Stock the services; return the trips to come."""
        for number, seats in SEATS.items():
            Flight.insert(number=number, arrival=ARRIVAL[number], seats=seats).execute()
        for name, rooms in ROOMS.items():
            Hotel.insert(name=name, price=Decimal("210.00"), rooms=rooms).execute()
        for plate, size in CARS.items():
            Car.insert(plate=plate, size=size).execute()
        return [
            BookTrip(
                trip_id=UUID(int=chance.getrandbits(128)),
                traveller=chance.choice(("Ada", "Bob")),
                flight=chance.choice(list(SEATS)),
                hotel=chance.choice(list(ROOMS)),
                nights=chance.randint(1, 5),
                car=chance.choice(("small", "big")),
            )
            for _ in range(chance.randint(2, 8))
        ]

    def judge(self, requests: Sequence[Request]) -> Judgement:
        """See that a completed trip holds what was asked for, any other nothing."""
        self.requests = requests
        excuses = EXCUSES | GIVEN_UP
        found = judge(book_trip, SagaRow._meta.database, requests, excuses=excuses)
        wanted = {name: Counter(r.wanted[name] for r in requests) for name in FULL.values()}
        trips = set()
        for case in found.cases:
            trip = UUID(case.state.input["trip_id"])
            if case.state.status == "COMPLETED":
                trips.add(trip)
                found.add(case, not_as_asked(trip, case.request.wanted))
            if case.code not in excuses | {"", "cancelled"}:
                found.add(case, refused_for_nothing(case, wanted))
        found.violations += [*held_by_others(trips), *sums()]
        return found


def not_as_asked(trip: UUID, wanted: dict[str, Any]) -> Iterator[str]:
    """Compare what a trip holds with what its traveller has asked for."""
    arrival = {"arrival": ARRIVAL[wanted["flight"]]}
    for row, held in (
        (Seat.get_or_none(Seat.trip_id == trip), ("flight", "traveller")),
        (Room.get_or_none(Room.trip_id == trip), ("hotel", "traveller", "nights", "arrival")),
        (Car.get_or_none(Car.trip_id == trip), ("size", "nights", "arrival")),
    ):
        asked = {**wanted, **arrival, "size": wanted["car"]}
        got = {name: getattr(row, name, None) for name in held}
        if got != {name: asked[name] for name in held}:
            yield f"holds {got}"


def refused_for_nothing(case: Case, wanted: dict[str, Counter[str]]) -> Iterator[str]:
    """See that only what more have asked for than there is was refused."""
    there = {"flight": SEATS, "hotel": ROOMS, "car": Counter(CARS.values())}
    what = FULL.get(case.code, "nothing")
    which = case.request.wanted.get(what)
    if which is None or wanted[what][which] <= there[what][which]:
        yield f"{case.code}, for which there is no reason"


def held_by_others(trips: set[UUID]) -> Iterator[str]:
    """See that nothing is held but by trips that have completed."""
    for table in (Seat, Room, Car):
        held = {row.trip_id for row in table.select().where(table.trip_id.is_null(False))}
        if held - trips:
            yield f"{table.__name__}s are held by {held - trips}"


def sums() -> Iterator[str]:
    """See that each flight's seats, each hotel's rooms and the cars are as many as there were."""
    for number, seats in Flight.select(Flight.number, Flight.seats).tuples():
        if seats + Seat.select().where(Seat.flight == number).count() != SEATS[number]:
            yield f"the seats of {number} do not add up"
    for name, rooms in Hotel.select(Hotel.name, Hotel.rooms).tuples():
        if rooms + Room.select().where(Room.hotel == name).count() != ROOMS[name]:
            yield f"the rooms of {name} do not add up"
    if {car.plate: car.size for car in Car.select()} != CARS:
        yield "the cars do not add up"


def test_every_trip_holds_all_or_nothing_whatever_breaks() -> None:
    seen: Counter[str] = Counter()
    with Simulator(Trips()) as simulator:
        for seed in range(SEEDS):
            run = simulator.run(seed)
            assert run.violations == [], f"seed {seed}"
            seen.update(run.seen)
    assert {"completed", "compensated", "cancels", "retries", "duplicates"} <= (+seen).keys()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: Seat.update(flight="LX320").execute(), "holds {'flight': 'LX320'"),
        (lambda: Seat.update(flight="LX320").execute(), "the seats of LX31. do not add up"),
        (lambda: Flight.update(seats=Flight.seats + 1).execute(), "seats of LX319 do not add up"),
        (lambda: Room.update(nights=9).execute(), "'nights': 9"),
        (lambda: Room.delete().execute(), "holds {'hotel': None"),
        (lambda: Hotel.update(rooms=Hotel.rooms + 1).execute(), "rooms of Ritz do not add up"),
        (lambda: Car.update(trip_id=None).execute(), "holds {'size': None"),
        (lambda: Car.update(size="huge").execute(), "the cars do not add up"),
        (lambda: Car.update(arrival=date(2027, 6, 1)).execute(), r"'arrival': .*2027, 6, 1"),
        (
            lambda: Seat.create(trip_id=UUID(int=1), flight="LX318", traveller="Eve"),
            "Seats are held",
        ),
    ],
)
def test_what_is_wrong_is_told(wrong: Callable[[], object], told: str) -> None:
    trips = Trips()
    with Simulator(trips) as simulator:
        seed = next(n for n in range(SEEDS) if "COMPLETED" in simulator.run(n).statuses)
        simulator.run(seed)
        wrong()
        found = "\n".join(trips.judge(trips.requests).violations)
    assert re.search(told, found), found
