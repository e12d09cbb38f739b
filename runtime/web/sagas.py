"""A saga as the API shows it."""

from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ..saga_state import SagaState, SagaStatus, StepStatus

StepName = Literal["create_order", "reserve_product", "process_payment", "complete_order"]


class Error(BaseModel):
    """Why a step failed."""

    model_config = ConfigDict(from_attributes=True)

    code: str
    message: str


class Failure(Error):
    """Why a saga failed, and in which step."""

    step: str


class SagaStep(BaseModel):
    """How far one step of a saga is."""

    model_config = ConfigDict(from_attributes=True)

    name: StepName
    status: StepStatus
    attempts: int
    undo_attempts: int
    started_at: datetime | None
    finished_at: datetime | None
    error: Error | None


class SagaInput(BaseModel):
    """What was ordered."""

    user_id: int
    product_id: int
    quantity: int


class Saga(BaseModel):
    """A saga. `due_at` is when it is looked after next; null once it has ended."""

    saga_id: UUID
    order_id: UUID
    name: str
    status: SagaStatus
    input: SagaInput
    failure: Failure | None
    steps: list[SagaStep]
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None

    @classmethod
    def of(cls, state: SagaState) -> Self:
        """Show of a saga's state what concerns a client."""
        shown = {name: getattr(state, name) for name in cls.model_fields if hasattr(state, name)}
        ids = {"saga_id": state.id, "order_id": state.input["order_id"]}
        return cls.model_validate({**shown, **ids})
