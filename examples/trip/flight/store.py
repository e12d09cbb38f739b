"""The flight service's tables."""

import peewee
from saga.runtime import Table


class Flight(Table):
    """A flight. `seats` counts the free ones: those that are held have left it."""

    number = peewee.CharField(max_length=10, primary_key=True)
    arrival = peewee.DateField()
    seats = peewee.IntegerField(constraints=[peewee.Check("seats >= 0")])


class Seat(Table):
    """The seat that one trip holds."""

    trip_id = peewee.UUIDField(primary_key=True)
    flight = peewee.CharField(max_length=10)
    traveller = peewee.CharField(max_length=100)
