"""The car service's table."""

import peewee
from saga.runtime import Table


class Car(Table):
    """A car of some size, free unless a trip holds it."""

    plate = peewee.CharField(max_length=10, primary_key=True)
    size = peewee.CharField(max_length=20, index=True)
    trip_id = peewee.UUIDField(null=True, unique=True)
    arrival = peewee.DateField(null=True)
    nights = peewee.IntegerField(null=True)
