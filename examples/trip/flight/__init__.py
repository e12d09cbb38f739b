"""The flight service: its messages, tables and functions."""
