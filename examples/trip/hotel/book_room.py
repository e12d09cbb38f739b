"""Book a room: the trip's second step."""

from saga.runtime import Rejected, function

from .messages import BookRoom, RoomBooked
from .store import Hotel, Room


@function
def book_room(command: BookRoom) -> RoomBooked:
    """Take a room out of the free ones, and hold it for the trip."""
    hotel = Hotel.get_or_none(name=command.hotel)
    if hotel is None:
        raise Rejected("no_such_hotel", f"there is no hotel {command.hotel}")
    free = Hotel.update(rooms=Hotel.rooms - 1).where(Hotel.name == command.hotel, Hotel.rooms > 0)
    if not free.execute():
        raise Rejected("hotel_full", f"the {command.hotel} has no room left")
    Room.create(
        trip_id=command.trip_id,
        hotel=command.hotel,
        traveller=command.traveller,
        arrival=command.arrival,
        nights=command.nights,
    )
    return RoomBooked(trip_id=command.trip_id, room_price=hotel.price * command.nights)
