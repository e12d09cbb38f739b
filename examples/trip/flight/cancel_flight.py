"""Cancel a trip's flight: undoes `book_flight`."""

from saga.runtime import function

from .messages import CancelFlight, FlightCancelled
from .store import Flight, Seat


@function
def cancel_flight(command: CancelFlight) -> FlightCancelled:
    """Give the seat back, once."""
    held = Seat.delete().where(Seat.trip_id == command.trip_id).returning(Seat.flight)
    for seat in held.execute():
        Flight.update(seats=Flight.seats + 1).where(Flight.number == seat.flight).execute()
    return FlightCancelled(trip_id=command.trip_id)
