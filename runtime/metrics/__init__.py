"""Metrics: what is counted, where it is counted, and how it is served and shown."""
