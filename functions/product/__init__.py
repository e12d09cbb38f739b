"""The product service: its messages, tables and functions."""
