"""The order service: its messages, tables and functions."""
