"""The saga of a trip: a flight, a room and a car, or none of them."""

from uuid import UUID

from pydantic import PositiveInt
from saga.runtime import Message, Retry, Saga, Step

from car.messages import RentCar, ReturnCar
from flight.messages import BookFlight, CancelFlight
from hotel.messages import BookRoom, CancelRoom


class BookTrip(Message):
    """What the saga starts from."""

    trip_id: UUID
    traveller: str
    flight: str
    hotel: str
    nights: PositiveInt
    car: str


book_trip = Saga(
    "book-trip",
    start=BookTrip,
    steps=[
        Step(BookFlight, undo=CancelFlight),
        Step(BookRoom, undo=CancelRoom),
        Step(RentCar, undo=ReturnCar, retry=Retry(attempts=3), timeout=5.0),
    ],
    search=("trip_id", "traveller"),
)
