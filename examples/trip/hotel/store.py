"""The hotel service's tables."""

import peewee
from saga.runtime import Money, Table


class Hotel(Table):
    """A hotel. `rooms` counts the free ones: those that are held have left it."""

    name = peewee.CharField(max_length=100, primary_key=True)
    price = Money()
    rooms = peewee.IntegerField(constraints=[peewee.Check("rooms >= 0")])


class Room(Table):
    """The room that one trip holds."""

    trip_id = peewee.UUIDField(primary_key=True)
    hotel = peewee.CharField(max_length=100)
    traveller = peewee.CharField(max_length=100)
    arrival = peewee.DateField()
    nights = peewee.IntegerField()
