"""The orchestrator: the order saga, as a list."""
