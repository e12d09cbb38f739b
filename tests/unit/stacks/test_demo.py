"""`saga demo` waits until the system is ready, or says what is not, in one line."""

from collections.abc import Sequence
from typing import Any

import pytest

from saga.runtime.deploy.target import Instance, State
from saga.runtime.errors import NotRunning, SagaError
from saga.stacks import demo


class Looks:
    """A target that shows one list of instances after the other, the last one for ever."""

    def __init__(self, *looks: Sequence[Instance], log: Sequence[str] = ()) -> None:
        self._looks = [*looks]
        self._log = [*log]

    def instances(self) -> list[Instance]:
        return [*(self._looks.pop(0) if self._looks[1:] else self._looks[0])]

    def last_lines(self, name: str) -> list[str]:
        return [f"{name}: {line}" for line in self._log]


def instance(name: str, state: State = "ready", kind: str = "function") -> Instance:
    return Instance(name, name.partition("-")[0], kind, "image", state)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "LOOK_EVERY", 0.001)


def wait(target: Any) -> list[Instance]:
    return demo.wait_until_ready(target, "docker")


def test_it_waits_until_all_are_ready_and_tells_what_for(capsys: Any) -> None:
    ready = [instance("user"), instance("order")]
    first = [instance("user", "starting"), instance("order", "restarting")]
    second = [instance("user"), instance("order", "unhealthy")]
    assert wait(Looks(first, first, second, second, ready)) == ready
    assert capsys.readouterr().out == "waiting for user, order\nwaiting for order\n"


def test_what_another_instance_does_is_not_waited_for(capsys: Any) -> None:
    running = [instance("order"), instance("order-2", "stopped"), instance("order-3", "starting")]
    assert wait(Looks(running)) == running
    assert capsys.readouterr().out == ""


def test_what_is_not_ready_in_time_is_told_in_one_line_with_its_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo, "READY_TIMEOUT", 0.05)
    running = [
        instance("order", "starting", "adapter"),
        instance("kafka", "unhealthy", "broker"),
        instance("user"),
    ]
    with pytest.raises(SagaError) as told:
        wait(Looks(running, log=["began", "no memory  "]))
    assert str(told.value) == (
        "kafka is still unhealthy after 0.05 s, see `saga logs kafka --target docker`; "
        "its log ends with: kafka: no memory"
    )


def test_what_has_stopped_is_not_waited_for() -> None:
    with pytest.raises(SagaError) as told:
        wait(Looks([instance("kafka", "starting", "broker"), instance("order", "stopped")]))
    assert str(told.value) == (
        "order is stopped, see `saga logs order --target docker`; it has logged nothing"
    )


def test_what_is_not_there_is_told_at_once() -> None:
    class Nothing:
        def instances(self) -> list[Instance]:
            raise NotRunning("no system runs")

    with pytest.raises(NotRunning):
        wait(Nothing())
