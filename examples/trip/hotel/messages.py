"""What the hotel service is asked, and what it answers."""

from datetime import date
from decimal import Decimal
from uuid import UUID

from pydantic import PositiveInt
from saga.runtime import Command, Event


class HotelEvent(Event, topic="hotel.events"):
    """Base of the hotel service's events."""

    trip_id: UUID


class RoomBooked(HotelEvent):
    """A room is held for the trip; `room_price` is what all its nights cost together."""

    room_price: Decimal


class RoomCancelled(HotelEvent):
    """The room is free again."""


class BookRoom(Command, topic="hotel.book_room", event=RoomBooked):
    """Hold a room for a trip, from the day of its arrival."""

    trip_id: UUID
    traveller: str
    hotel: str
    arrival: date
    nights: PositiveInt


class CancelRoom(Command, topic="hotel.cancel_room", event=RoomCancelled):
    """Undo `BookRoom`."""

    trip_id: UUID
