"""Book a flight: the trip's first step."""

from saga.runtime import Rejected, function

from .messages import BookFlight, FlightBooked
from .store import Flight, Seat


@function
def book_flight(command: BookFlight) -> FlightBooked:
    """Take a seat out of the free ones, and hold it for the trip."""
    flight = Flight.get_or_none(number=command.flight)
    if flight is None:
        raise Rejected("no_such_flight", f"there is no flight {command.flight}")
    # The guard is in the UPDATE, so seats can't go below zero, whatever runs in parallel.
    free = Flight.update(seats=Flight.seats - 1).where(
        Flight.number == command.flight, Flight.seats > 0
    )
    if not free.execute():
        raise Rejected("flight_full", f"flight {command.flight} has no seat left")
    Seat.create(trip_id=command.trip_id, flight=command.flight, traveller=command.traveller)
    return FlightBooked(trip_id=command.trip_id, arrival=flight.arrival)
