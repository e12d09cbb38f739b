"""Stock the three services: `python stock.py`, once, before the first trip."""

from datetime import date
from decimal import Decimal

from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.settings import Settings

from car.store import Car
from flight.store import Flight, Seat
from hotel.store import Hotel, Room

SERVICES = {"flight": [Flight, Seat], "hotel": [Hotel, Room], "car": [Car]}


def stock(settings: Settings) -> None:
    """Add a flight with three seats, a hotel with two rooms and one small car."""
    for service, tables in SERVICES.items():
        bind(connect(settings.database_url(service)), tables)
    Flight.insert(number="LX318", arrival=date(2027, 5, 1), seats=3).execute()
    Hotel.insert(name="Ritz", price=Decimal("210.00"), rooms=2).execute()
    Car.insert(plate="ZH1", size="small").execute()


if __name__ == "__main__":
    stock(Settings())
