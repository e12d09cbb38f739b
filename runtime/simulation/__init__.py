"""The simulation: a saga's whole system in one process, from one seed."""

from .simulator import GIVEN_UP, Run, Simulator, Workload

__all__ = ["GIVEN_UP", "Run", "Simulator", "Workload"]
