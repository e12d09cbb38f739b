"""The business: one folder per service, one file per function."""
