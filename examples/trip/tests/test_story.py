"""The saga told in the test language: what is sent, what comes back, how it ends."""

from datetime import date
from uuid import UUID

from saga.runtime.testing import Story, given

from car.messages import CarRented, RentCar, ReturnCar
from flight.messages import BookFlight, CancelFlight, FlightBooked
from hotel.messages import BookRoom, CancelRoom, RoomBooked
from trip.book_trip import BookTrip, book_trip

TRIP = UUID(int=1)
MAY = date(2027, 5, 1)


def a_trip() -> Story:
    return given(
        book_trip,
        BookTrip(
            trip_id=TRIP, traveller="Ada", flight="LX318", hotel="Ritz", nights=3, car="small"
        ),
    )


def with_flight_and_room() -> Story:
    return (
        a_trip()
        .expect(BookFlight, flight="LX318")
        .reply(FlightBooked(trip_id=TRIP, arrival=MAY))
        .expect(BookRoom, hotel="Ritz", arrival=MAY)
        .reply(RoomBooked(trip_id=TRIP, room_price="630.00"))
    )


def test_a_trip_is_a_flight_then_a_room_then_a_car() -> None:
    story = with_flight_and_room().expect(RentCar, car="small", arrival=MAY, nights=3)
    story.reply(CarRented(trip_id=TRIP, plate="ZH1")).expect_completed()


def test_a_full_flight_leaves_nothing_to_undo() -> None:
    a_trip().expect(BookFlight).reject("flight_full", "no seat left").expect_compensated()


def test_without_a_car_the_room_and_then_the_flight_are_cancelled() -> None:
    story = with_flight_and_room().expect(RentCar).reject("no_car", "no small car left")
    story.expect_undos(CancelRoom, CancelFlight).expect_compensated()


def test_a_broken_car_service_is_asked_three_times() -> None:
    story = with_flight_and_room().expect(RentCar)
    story.fail("no key", times=3).expect_undos(ReturnCar, CancelRoom, CancelFlight)
    story.expect_compensated("attempts_exhausted")


def test_a_silent_car_service_is_asked_until_it_answers() -> None:
    story = with_flight_and_room().expect(RentCar)
    story.silence(times=4).expect(RentCar).reply(CarRented(trip_id=TRIP, plate="ZH1"))
    story.expect_completed()
