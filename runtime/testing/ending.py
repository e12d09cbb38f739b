"""How a saga's row tells its end: what people and programs read there must fit together."""

from collections.abc import Iterator

from ..saga_state import SagaState, StepState

OVER = ("DONE", "REJECTED", "FAILED", "UNDONE", "UNDO_FAILED")  # of a step


def ending_problems(state: SagaState) -> Iterator[str]:
    """Say what does not fit together about a saga that has ended."""
    if not state.ended:
        return
    if state.due_at is not None or state.awaiting:
        yield f"has ended, and still waits: due_at {state.due_at}, awaiting {state.awaiting}"
    if (state.status == "COMPLETED") != (state.failure is None):
        yield f"is {state.status}, and its failure is {state.failure}"
    if state.updated_at not in {step.finished_at for step in state.steps}:
        yield f"has ended at {state.updated_at}, when no step has"
    for step in state.steps:
        yield from _step_problems(step)
        if step.status == "REJECTED":
            yield from _rejection_problems(state, step)


def _step_problems(step: StepState) -> Iterator[str]:
    if (step.attempts > 0) != (step.started_at is not None):
        yield f"{step.name} was sent {step.attempts} times, and started at {step.started_at}"
    if (step.status in OVER) != (step.finished_at is not None):
        yield f"{step.name} is {step.status}, and finished at {step.finished_at}"
    if step.status == "DONE" and step.error is not None:
        yield f"{step.name} is DONE, and its error is {step.error}"


def _rejection_problems(state: SagaState, step: StepState) -> Iterator[str]:
    failure = (state.failure.step, state.failure.code) if state.failure else None
    rejection = (step.name, step.error.code if step.error else "")
    if failure != rejection:
        yield f"was rejected by {rejection}, and its failure is {failure}"
