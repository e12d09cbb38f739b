"""The trip: the saga as a list, and the functions that drive it."""
