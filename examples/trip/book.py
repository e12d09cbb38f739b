"""Book a trip on the running system: `python book.py TRAVELLER FLIGHT HOTEL NIGHTS CAR`."""

import sys
from uuid import uuid4

from saga.runtime import SagaClient

from trip.book_trip import BookTrip, book_trip


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
    with SagaClient() as client:
        state = client.wait(client.start(book_trip, trip).id, timeout=60.0)
    why = f": {state.failure.message}" if state.failure else ""
    print(f"{state.id} {state.status}{why}")


if __name__ == "__main__":
    main(*sys.argv[1:])
