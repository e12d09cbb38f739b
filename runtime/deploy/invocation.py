"""Invoke one function: send it a command of no saga, and wait for the event that answers it.

The handler runs for real, with all that it writes. No saga waits for the answer, so none goes on.
"""

import json

from pydantic import ValidationError
from uuid_utils.compat import uuid7

from .. import body
from ..clock import utcnow
from ..envelope import Envelope, message_id
from ..errors import SagaError
from ..function import Function
from ..kafka.admin import create_topics
from ..kafka.request import request
from ..message import reasons
from ..saga_host import HostedSaga
from ..secret_fields import Kinds, hidden
from ..settings import Settings
from ..system.code import STACK_FILE, import_from
from ..system.stack import Stack, read_stack, read_stacks


def invoke(settings: Settings, name: str, data: str, timeout: float) -> str:
    """Send one command with the JSON body `data`; return the answering event as JSON.

    Raises `SagaError` when the function takes no such command, or has not answered within `timeout`
    seconds, and `BrokerUnavailable`.
    """
    function = _load(settings, name)
    if not isinstance(function, Function) or function.command is None:
        raise SagaError(f"{name} answers no commands: it can't be invoked")
    try:
        sent = body.write(body.read(function.command, data))
    except ValidationError as error:
        why = "; ".join(reasons(error, root="JSON"))
        raise SagaError(f"--body is no {function.command.__name__}: {why}") from None
    command = Envelope(
        topic=function.command.topic,
        id=message_id(str(uuid7()), function.command.step_name(), "do"),
        type=function.command.__name__,
        source="/invoke",
        time=utcnow().isoformat(),
        data=sent,
    )
    # Without a saga that reads it, the topic comes with its first event only.
    create_topics(settings, {function.command.event.topic: 1})
    answer = request(settings, command, function.command.event.topic, timeout)
    return _as_json(answer, (function.command.event, function.command))


def _load(settings: Settings, name: str) -> Function | HostedSaga:
    service, _, entry = name.partition(".")
    if settings.saga_code is not None:
        import_from(settings.saga_code)
        stacks: list[Stack] = [read_stack(settings.saga_code / STACK_FILE)]
    else:
        stacks = read_stacks(settings.saga_stacks)
    for stack in stacks:
        if stack.service == service and entry in stack.entries:
            return stack.load_entry(entry)
    raise SagaError(f"{name}: no such function")


def _as_json(answer: Envelope, kinds: Kinds) -> str:
    data = hidden(kinds, json.loads(answer.data))
    shown = {"type": answer.type, "outcome": answer.outcome, "data": data}
    return json.dumps(shown, ensure_ascii=False, indent=1)
