"""Invoke one function: send it a command of no saga, and wait for the event that answers it.

The handler runs for real, with all that it writes. No saga waits for the answer, so none goes on.
"""

import json
import time
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from pydantic import ValidationError
from uuid_utils.compat import uuid7

from ..clock import utcnow
from ..errors import BrokerUnavailable, SagaError, Undecodable
from ..function import Function
from ..kafka.transport import (
    ADMIN_TIMEOUT,
    Sender,
    application,
    create_topics,
    to_record,
)
from ..message import Envelope, decode, message_id, reasons, reply_id
from ..settings import Settings
from ..system.stack import FunctionEntry, Stack, read_stack, read_stacks
from .artifact import STACK_FILE, import_from

POLL = 0.2  # seconds


def invoke(settings: Settings, name: str, data: str, timeout: float) -> str:
    """Send one command with the JSON body `data`; return the answering event as JSON.

    Raises `SagaError` when the function takes no such command, or has not answered within `timeout`
    seconds, and `BrokerUnavailable`.
    """
    function = _load(settings, name)
    if function.command is None:
        raise SagaError(f"{name} answers no commands: it can't be invoked")
    try:
        body = function.command.model_validate_json(data).model_dump_json()
    except ValidationError as error:
        why = "; ".join(reasons(error, root="JSON"))
        raise SagaError(f"--data is no {function.command.__name__}: {why}") from None
    command = Envelope(
        topic=function.command.topic,
        id=message_id(str(uuid7()), function.command.step_name(), "do"),
        type=function.command.__name__,
        source="/invoke",
        time=utcnow().isoformat(),
        data=body,
    )
    # Without a saga that reads it, the topic comes with its first event only.
    create_topics(settings, {function.command.event.topic: FunctionEntry().partitions})
    try:
        answer = _exchange(settings, command, function.command.event.topic, timeout)
    except KafkaException as error:
        raise BrokerUnavailable(f"the broker does not answer: {error}") from error
    return _as_json(answer)


def _load(settings: Settings, name: str) -> Function:
    service, _, function = name.partition(".")
    if settings.saga_code is not None:
        import_from(settings.saga_code)
        stacks: list[Stack] = [read_stack(settings.saga_code / STACK_FILE)]
    else:
        stacks = read_stacks(settings.saga_stacks)
    for stack in stacks:
        if stack.service == service and function in stack.functions:
            return stack.load_function(function)
    raise SagaError(f"{name}: no such function")


def _exchange(settings: Settings, command: Envelope, answers: str, timeout: float) -> Envelope:
    with application(settings, "saga.invoke").get_consumer(auto_commit_enable=False) as consumer:
        topic = consumer.list_topics(answers, timeout=ADMIN_TIMEOUT).topics[answers]
        ends = [TopicPartition(answers, number) for number in topic.partitions]
        for end in ends:  # what is on the topic already is no answer
            end.offset = consumer.get_watermark_offsets(end, timeout=ADMIN_TIMEOUT)[1]
        if not ends:
            raise BrokerUnavailable(f"there is no topic {answers}")
        consumer.assign(ends)
        Sender(settings).send([command])
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if answer := _answer(consumer.poll(POLL), command):
                return answer
    raise SagaError(f"no answer from {command.topic} within {timeout:g} s: see `saga logs`")


def _answer(message: Any, command: Envelope) -> Envelope | None:
    if message is None or message.error():
        return None
    try:
        found = decode(to_record(message))
    except Undecodable:
        return None
    return found if found.id == reply_id(command.id) else None


def _as_json(answer: Envelope) -> str:
    shown = {"type": answer.type, "outcome": answer.outcome, "data": json.loads(answer.data)}
    return json.dumps(shown, ensure_ascii=False, indent=1)
