"""The simulation: a saga's whole system in one process, from one seed."""

from .simulator import Run, Simulator, Workload

__all__ = ["Run", "Simulator", "Workload"]
