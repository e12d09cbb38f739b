"""What the flight service is asked, and what it answers."""

from datetime import date
from uuid import UUID

from saga.runtime import Command, Event


class FlightEvent(Event, topic="flight.events"):
    """Base of the flight service's events."""

    trip_id: UUID


class FlightBooked(FlightEvent):
    """A seat is held for the trip; `arrival` is the day on which hotel and car are needed."""

    arrival: date


class FlightCancelled(FlightEvent):
    """The seat is free again."""


class BookFlight(Command, topic="flight.book", event=FlightBooked):
    """Hold a seat for a trip."""

    trip_id: UUID
    traveller: str
    flight: str


class CancelFlight(Command, topic="flight.cancel", event=FlightCancelled):
    """Undo `BookFlight`."""

    trip_id: UUID
