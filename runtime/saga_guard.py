"""What holds up one saga, and none of the others: whose change raises an error."""

import logging
from collections.abc import Callable
from datetime import datetime

from . import transition
from .errors import ContractError, first_line
from .saga import Saga
from .saga_state import SagaState
from .transition import Transition

log = logging.getLogger(__name__)


def apply(
    saga: Saga, state: SagaState, change: Callable[[SagaState], Transition], now: datetime
) -> Transition:
    """Change a saga; one whose change raises an error is given up.

    One that no longer fits its declaration stays as it is. The database's errors are everybody's.
    """
    try:
        try:
            return change(state)
        except transition.MENDABLE:
            raise
        except Exception as error:
            log.error("saga %s is given up: %s", state.id, first_line(error))
            return transition.break_off(saga, state, error, now)
    except ContractError as error:
        log.error("saga %s stays %s: %s", state.id, state.status, error)
        return state, []
