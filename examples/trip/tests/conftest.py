"""The services' tables, in memory and stocked."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind

from car.store import Car
from flight.store import Flight, Seat
from hotel.store import Hotel, Room


@pytest.fixture(autouse=True)
def _tables() -> Iterator[None]:
    database = connect("sqlite://")
    bind(database, [Car, Flight, Seat, Hotel, Room])
    Flight.insert(number="LX318", arrival=date(2027, 5, 1), seats=1).execute()
    Hotel.insert(name="Ritz", price=Decimal("210.00"), rooms=1).execute()
    Car.insert(plate="ZH1", size="small").execute()
    yield
    database.close()
