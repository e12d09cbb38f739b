"""The simulation: a saga's whole system in one process, from one seed."""
