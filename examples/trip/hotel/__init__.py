"""The hotel service: its messages, tables and functions."""
