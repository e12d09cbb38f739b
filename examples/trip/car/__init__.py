"""The car service: its messages, tables and functions."""
