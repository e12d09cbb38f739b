"""Book a trip on the running system: `python book.py TRAVELLER FLIGHT HOTEL NIGHTS CAR`."""

import sys
import time
from uuid import uuid4

from saga.runtime import saga_store
from saga.runtime.client import start
from saga.runtime.transition import SagaState

from trip.book_trip import BookTrip, book_trip


def until_ended(state: SagaState) -> SagaState:
    """Wait for the saga's end."""
    while not state.ended:
        time.sleep(0.05)
        state = saga_store.find(state.id)
    return state


def main(traveller: str, flight: str, hotel: str, nights: str, car: str) -> None:
    """Book a trip and tell what has become of it."""
    trip = BookTrip(
        trip_id=uuid4(),
        traveller=traveller,
        flight=flight,
        hotel=hotel,
        nights=int(nights),
        car=car,
    )
    state = until_ended(start(book_trip, trip))
    why = f": {state.failure.message}" if state.failure else ""
    print(f"{state.id} {state.status}{why}")


if __name__ == "__main__":
    main(*sys.argv[1:])
