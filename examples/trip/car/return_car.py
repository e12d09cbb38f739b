"""Return a trip's car: undoes `rent_car`."""

from saga.runtime import function

from .messages import CarReturned, ReturnCar
from .store import Car


@function
def return_car(command: ReturnCar) -> CarReturned:
    """Make the car free again."""
    free = {"trip_id": None, "arrival": None, "nights": None}
    Car.update(free).where(Car.trip_id == command.trip_id).execute()
    return CarReturned(trip_id=command.trip_id)
