"""A running system: its stack files, its processes, and what they record."""
