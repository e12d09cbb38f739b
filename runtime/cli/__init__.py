"""The command `saga`: one file per group of commands."""
