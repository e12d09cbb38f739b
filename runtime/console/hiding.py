"""What is declared secret, taken out before anything is shown; all, where nobody knows what is."""

from collections.abc import Iterable
from functools import partial

from ..dead_letter import DeadLetter
from ..saga import Saga
from ..saga_state import SagaState, altered
from ..secret_fields import HIDDEN, classes_of, hidden, hidden_text, hidden_whole


def without_secrets(state: SagaState, saga: Saga | None) -> SagaState:
    """Return a saga as it may be shown; `saga` is its declaration, None where it is not known."""
    hide = hidden_whole if saga is None else partial(hidden, classes_of(saga))
    steps = tuple(altered(step, told=hide(step.told), body=None) for step in state.steps)
    return altered(state, input=hide(state.input), events=hide(state.events), steps=steps)


def body_of(dead_letter: DeadLetter, sagas: Iterable[Saga]) -> str:
    """Return the body of a record as it may be shown; the topic of none of the sagas is unknown."""
    text = (dead_letter.record.value or b"").decode(errors="backslashreplace")
    of_topic = [
        kinds
        for kinds in map(classes_of, sagas)
        if any(getattr(kind, "topic", None) == dead_letter.record.topic for kind in kinds)
    ]
    known = tuple(kind for kinds in of_topic for kind in kinds)
    return hidden_text(known, text) if known or not text else HIDDEN
