"""Rent a car: the trip's last step."""

from saga.runtime import Rejected, function

from .messages import CarRented, RentCar
from .store import Car


@function
def rent_car(command: RentCar) -> CarRented:
    """Hold any free car of the size asked for."""
    for car in (
        Car.select().where(Car.size == command.car, Car.trip_id.is_null()).order_by(Car.plate)
    ):
        changes = {
            "trip_id": command.trip_id,
            "arrival": command.arrival,
            "nights": command.nights,
        }
        # Somebody may have been faster: the guard is in the UPDATE.
        if Car.update(changes).where(Car.plate == car.plate, Car.trip_id.is_null()).execute():
            return CarRented(trip_id=command.trip_id, plate=car.plate)
    raise Rejected("no_car", f"there is no {command.car} car left")
