"""What the car service is asked, and what it answers."""

from datetime import date
from uuid import UUID

from pydantic import PositiveInt
from saga.runtime import Command, Event


class CarEvent(Event, topic="car.events"):
    """Base of the car service's events."""

    trip_id: UUID


class CarRented(CarEvent):
    """A car is held for the trip."""

    plate: str


class CarReturned(CarEvent):
    """The car is free again."""


class RentCar(Command, topic="car.rent", event=CarRented):
    """Hold a car for a trip, from the day of its arrival."""

    trip_id: UUID
    car: str
    arrival: date
    nights: PositiveInt


class ReturnCar(Command, topic="car.return", event=CarReturned):
    """Undo `RentCar`."""

    trip_id: UUID
