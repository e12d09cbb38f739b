"""`saga demo`: three orders on a running system, and what becomes of them."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from uuid_utils.compat import uuid7

from saga.runtime.address import web_address
from saga.runtime.cli.app import Data, Where, settings_for
from saga.runtime.cli.terminal import coloured, console, line
from saga.runtime.deploy.target import DEPLOYED, Instance, Target, instances_of
from saga.runtime.deploy.targets import open_target
from saga.runtime.errors import SagaError
from saga.runtime.polling import poll_until
from saga.runtime.settings import TargetName

Json = dict[str, Any]
READY_TIMEOUT = 120.0  # seconds; on a fresh machine, containers of two cores take half a minute
LOOK_EVERY = 0.5  # seconds
END_TIMEOUT = 30.0  # seconds for one saga


def demo(data: Data = None, target: Where = None) -> None:
    """Place three orders: one completes, two are compensated."""
    settings = settings_for(data, target)
    instances = wait_until_ready(open_target(settings), settings.saga_target)
    # A proxy in the environment is for what is not on this machine.
    with httpx.Client(timeout=10, trust_env=False) as client:

        def call(method: str, service: str, path: str, body: Json | None = None) -> Json:
            port = instances_of(instances, service)[0].port
            url = web_address(settings.saga_host, port) + path
            try:
                response = client.request(method, url, json=body)
            except httpx.TransportError as error:
                raise SagaError(f"{method} {url}: {error}") from error
            if response.is_error:
                raise SagaError(f"{method} {url} answered {response.status_code}: {response.text}")
            answer: Json = response.json()
            return answer

        _tell(call)


def wait_until_ready(target: Target, kind: TargetName) -> list[Instance]:
    """Wait until all that is deployed does its work; return what runs.

    Raises `SagaError` when something has stopped, or is not ready after `READY_TIMEOUT`.
    """
    instances: list[Instance] = []
    unready: list[Instance] = []

    def is_over() -> bool:
        before = len(unready)
        instances[:] = target.instances()
        unready[:] = _unready(instances)
        if unready and len(unready) != before:
            names = ", ".join(instance.name for instance in unready)
            console.print(line((f"waiting for {names}", "dim")))
        return not unready or unready[0].state == "stopped"

    if not poll_until(is_over, READY_TIMEOUT, LOOK_EVERY):
        how = f"still {unready[0].state} after {READY_TIMEOUT:g} s"
        raise SagaError(_told(target, kind, unready[0].name, how))
    if unready:
        raise SagaError(_told(target, kind, unready[0].name, unready[0].state))
    return instances


def _unready(instances: Sequence[Instance]) -> list[Instance]:
    """List what does not work; first what never will by itself, then what the others wait for."""
    ready = {instance.deployed for instance in instances if instance.state == "ready"}
    unready = [instance for instance in instances if instance.deployed not in ready]
    return sorted(unready, key=lambda i: (i.state != "stopped", i.kind in DEPLOYED))


def _told(target: Target, kind: TargetName, name: str, how: str) -> str:
    last = target.last_lines(name)[-1:]
    said = f"its log ends with: {last[0].strip()}" if last else "it has logged nothing"
    return f"{name} is {how}, see `saga logs {name} --target {kind}`; {said}"


def _tell(call: Callable[..., Json]) -> None:
    run = uuid7().hex[-8:]
    ada = _make(
        call, "user", "/users", name="Ada", email=f"ada.{run}@example.org", balance="100.00"
    )
    bob = _make(call, "user", "/users", name="Bob", email=f"bob.{run}@example.org", balance="5.00")
    lamp = _make(call, "product", "/products", name="Lamp", price="19.99", stock=3)
    _order(call, "Ada orders 2 lamps", ada, lamp, 2)
    _order(call, "Ada orders 5 lamps, of which 1 is left", ada, lamp, 5)
    _order(call, "Bob orders 1 lamp, with 5.00 in his account", bob, lamp, 1)
    console.print()
    for user in (ada, bob):
        now = call("GET", "user", f"/users/{user['id']}")
        console.print(f"{now['name']} had {user['balance']} and has {now['balance']}.")
    left = call("GET", "product", f"/products/{lamp['id']}")["stock"]
    console.print(f"There were {lamp['stock']} lamps and {left} is left.")


def _make(call: Callable[..., Json], service: str, path: str, **fields: Any) -> Json:
    made = call("POST", service, path, fields)
    words = ", ".join(f"{name} {value}" for name, value in fields.items())
    console.print(line((f"made {service} {made['id']}: {words}", "dim")))
    return made


def _order(call: Callable[..., Json], title: str, user: Json, product: Json, quantity: int) -> None:
    console.print(line("\n", (title, "bold")))
    body = {"user_id": user["id"], "product_id": product["id"], "quantity": quantity}
    saga = call("POST", "orchestrator", "/orders", body)
    shown = {step["name"]: "PENDING" for step in saga["steps"]}
    deadline = time.monotonic() + END_TIMEOUT
    while True:
        changed = [step for step in saga["steps"] if step["status"] != shown[step["name"]]]
        # What ended comes before what was begun because of it.
        for step in sorted(changed, key=lambda step: step["status"] in ("RUNNING", "UNDOING")):
            shown[step["name"]] = step["status"]
            error = f"  {step['error']['message']}" if step["error"] else ""
            console.print(line(f"  {step['name']:<16} ", coloured(step["status"]), error))
        if saga["status"] not in ("RUNNING", "COMPENSATING"):
            break
        if time.monotonic() > deadline:
            raise SagaError(f"saga {saga['saga_id']} has not ended after {END_TIMEOUT:g} s")
        time.sleep(0.01)
        saga = call("GET", "orchestrator", f"/sagas/{saga['saga_id']}")
    hint = f"   saga show {saga['saga_id']}"
    console.print(line("  saga ", coloured(saga["status"]), (hint, "dim")))
