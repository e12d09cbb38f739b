"""The whole trip system in one process, among crashes, losses and delays, run from seeds."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random
from uuid import UUID

from saga.runtime import saga_queries
from saga.runtime.saga_store import SagaRow
from saga.runtime.simulation import Simulator
from saga.runtime.system.stack import read_stacks

from car.store import Car
from flight.store import Flight, Seat
from hotel.store import Hotel, Room
from trip.book_trip import BookTrip, book_trip

SEEDS = 30
SEATS, ROOMS, CARS = 4, 3, 2


class Trips:
    """Trips that compete for a few seats, rooms and cars."""

    saga = book_trip

    def __init__(self) -> None:
        self.stacks = read_stacks(Path(__file__).parents[1] / "stacks")

    def prepare(self, chance: Random) -> list[BookTrip]:
        """Stock the services; return the trips to come."""
        Flight.insert(number="LX318", arrival=date(2027, 5, 1), seats=SEATS).execute()
        Hotel.insert(name="Ritz", price=Decimal("210.00"), rooms=ROOMS).execute()
        for number in range(CARS):
            Car.insert(plate=f"ZH{number}", size="small").execute()
        return [
            BookTrip(
                trip_id=UUID(int=chance.getrandbits(128)),
                traveller="Ada",
                flight="LX318",
                hotel="Ritz",
                nights=chance.randint(1, 5),
                car="small",
            )
            for _ in range(chance.randint(2, 8))
        ]

    def violations(self, saga_ids: Sequence[str]) -> list[str]:
        """A completed trip holds one of each, any other nothing; and nothing has been made."""
        states = saga_queries.find_many(SagaRow._meta.database, saga_ids)
        whole = {UUID(state.input["trip_id"]) for state in states if state.status == "COMPLETED"}
        held = {
            "seats": {row.trip_id for row in Seat.select()},
            "rooms": {row.trip_id for row in Room.select()},
            "cars": {row.trip_id for row in Car.select().where(Car.trip_id.is_null(False))},
        }
        found = [
            f"{what} are held by {by}, not {whole}" for what, by in held.items() if by != whole
        ]
        if Flight.get().seats + len(held["seats"]) != SEATS:
            found.append("seats do not add up")
        if Hotel.get().rooms + len(held["rooms"]) != ROOMS:
            found.append("rooms do not add up")
        return found


def test_every_trip_holds_all_or_nothing_whatever_breaks() -> None:
    statuses: set[str] = set()
    with Simulator(Trips()) as simulator:
        for seed in range(SEEDS):
            run = simulator.run(seed)
            assert run.violations == [], f"seed {seed}"
            statuses |= set(run.statuses)
    assert {"COMPLETED", "COMPENSATED"} <= statuses
