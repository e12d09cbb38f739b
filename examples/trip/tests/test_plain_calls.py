"""The handlers as plain calls: what one of them does to its tables, and what it refuses."""

from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest
from saga.runtime import Rejected

from car.messages import CarRented, RentCar, ReturnCar
from car.rent_car import rent_car
from car.return_car import return_car
from car.store import Car
from flight.book_flight import book_flight
from flight.cancel_flight import cancel_flight
from flight.messages import BookFlight, CancelFlight, FlightBooked
from flight.store import Flight, Seat
from hotel.book_room import book_room
from hotel.cancel_room import cancel_room
from hotel.messages import BookRoom, CancelRoom, RoomBooked
from hotel.store import Hotel, Room

ADAS, BOBS = UUID(int=1), UUID(int=2)
MAY = date(2027, 5, 1)


def flight(trip: UUID = ADAS, number: str = "LX318") -> FlightBooked:
    return book_flight(BookFlight(trip_id=trip, traveller="Ada", flight=number))


def room(trip: UUID = ADAS, hotel: str = "Ritz") -> RoomBooked:
    return book_room(BookRoom(trip_id=trip, traveller="Ada", hotel=hotel, arrival=MAY, nights=3))


def car(trip: UUID = ADAS, size: str = "small") -> CarRented:
    return rent_car(RentCar(trip_id=trip, car=size, arrival=MAY, nights=3))


def test_a_booked_flight_tells_the_day_of_arrival() -> None:
    assert flight() == FlightBooked(trip_id=ADAS, arrival=MAY)
    assert Flight.get_by_id("LX318").seats == 0
    assert Seat.get_by_id(ADAS).flight == "LX318"


def test_a_full_flight_is_refused() -> None:
    flight()
    with pytest.raises(Rejected, match="flight_full"):
        flight(BOBS)


def test_an_unknown_flight_is_refused() -> None:
    with pytest.raises(Rejected, match="no_such_flight"):
        flight(number="XX1")


def test_a_cancelled_seat_is_free_again_once() -> None:
    flight()
    for _ in range(2):
        cancel_flight(CancelFlight(trip_id=ADAS))
    assert Flight.get_by_id("LX318").seats == 1
    assert Seat.select().count() == 0


def test_a_booked_room_costs_all_its_nights() -> None:
    assert room() == RoomBooked(trip_id=ADAS, room_price=Decimal("630.00"))
    assert Hotel.get_by_id("Ritz").rooms == 0


def test_a_full_hotel_is_refused() -> None:
    room()
    with pytest.raises(Rejected, match="hotel_full"):
        room(BOBS)


def test_an_unknown_hotel_is_refused() -> None:
    with pytest.raises(Rejected, match="no_such_hotel"):
        room(hotel="Bates")


def test_a_cancelled_room_is_free_again_once() -> None:
    room()
    for _ in range(2):
        cancel_room(CancelRoom(trip_id=ADAS))
    assert Hotel.get_by_id("Ritz").rooms == 1
    assert Room.select().count() == 0


def test_a_rented_car_is_held_by_the_trip() -> None:
    assert car() == CarRented(trip_id=ADAS, plate="ZH1")
    assert Car.get_by_id("ZH1").trip_id == ADAS


@pytest.mark.parametrize("size", ["small", "huge"])
def test_without_a_free_car_of_the_size_the_rent_is_refused(size: str) -> None:
    car()
    with pytest.raises(Rejected, match="no_car"):
        car(BOBS, size)


def test_a_returned_car_can_be_rented_again() -> None:
    car()
    return_car(ReturnCar(trip_id=ADAS))
    assert car(BOBS).plate == "ZH1"
