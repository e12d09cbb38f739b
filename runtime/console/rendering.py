"""Pages from templates: whatever a value holds, it is text."""

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from ..clock import length
from ..metrics.scrape import told
from ..saga_state import SagaState
from . import words
from .assets import ROOT, address

FOLDER = Path(__file__).with_name("templates")
# How each status is shown: a sign, and the class of its colour.
SIGNS = {
    "RUNNING": ("dots", "active"),
    "COMPLETED": ("check", "good"),
    "COMPENSATING": ("back", "turning"),
    "COMPENSATED": ("undone", "turned"),
    "FAILED": ("cross", "bad"),
    "UNREADABLE": ("ask", "bad"),
    "PENDING": ("circle", "idle"),
    "DONE": ("check", "good"),
    "REJECTED": ("bar", "bad"),
    "UNDOING": ("back", "turning"),
    "UNDONE": ("undone", "turned"),
    "UNDO_FAILED": ("cross", "bad"),
    "ready": ("check", "good"),
    "starting": ("dots", "active"),
    "restarting": ("again", "turning"),
    "unhealthy": ("cross", "bad"),
    "draining": ("drain", "turning"),
    "stopping": ("drain", "turning"),
    "stopped": ("bar", "idle"),
    "not running": ("bar", "bad"),
    "unknown": ("ask", "idle"),
}


def render(name: str, **values: Any) -> str:
    """Fill a template in; a value that it asks for and is not given raises an error."""
    return _environment().get_template(name).render(values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "length": length,
        "lasting": words.lasting,
        "count": len,
        "instant": words.instant,
        "moment": words.moment,
        "told": told,
        "exact": words.exact,
        "as_json": words.as_json,
        "without": lambda text, end: text.removesuffix(end),
        "said": lambda status: str(status).replace("_", " ").capitalize(),
    }
    environment.globals |= {
        "root": ROOT,
        "address": address,
        "signs": SIGNS,
        "took": _took,
        "step_of": _step_of,
    }
    return environment


def _took(state: SagaState, now: datetime) -> int:
    """Return a saga's time so far, in microseconds."""
    end = state.updated_at if state.ended else max(now, state.updated_at)
    return int((end - state.created_at).total_seconds() * 1_000_000)


def _step_of(state: SagaState) -> str:
    """Return the step that is in flight, or that a saga failed in."""
    if state.in_flight is not None:
        return state.steps[state.in_flight].name
    return state.failure.step if state.failure else ""
