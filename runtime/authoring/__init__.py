"""What helps to write functions: `saga check` and `saga new`."""
