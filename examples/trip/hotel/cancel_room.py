"""Cancel a trip's room: undoes `book_room`."""

from saga.runtime import function

from .messages import CancelRoom, RoomCancelled
from .store import Hotel, Room


@function
def cancel_room(command: CancelRoom) -> RoomCancelled:
    """Give the room back, once."""
    held = Room.delete().where(Room.trip_id == command.trip_id).returning(Room.hotel)
    for room in held.execute():
        Hotel.update(rooms=Hotel.rooms + 1).where(Hotel.name == room.hotel).execute()
    return RoomCancelled(trip_id=command.trip_id)
