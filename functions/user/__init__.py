"""The user service: its messages, tables and functions."""
