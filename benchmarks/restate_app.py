"""The order saga on Restate: one service that does all steps, and one that calls three others."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import restate

from .peer_store import STEPS, PeerStore

Order = dict[str, int]

store = PeerStore(Path(os.environ["BENCHMARKS_FOLDER"]))
answers_yes_or_no = restate.RunOptions(type_hint=bool)


async def place(do: Callable[[str], Awaitable[bool]]) -> str:
    """Do an order's steps, or undo what was done; return how the order has ended."""
    await do("create")
    if await do("reserve"):
        if await do("pay"):
            await do("complete")
            return "COMPLETED"
        await do("release")
    await do("cancel")
    return "CANCELLED"


async def _write(step: str, order: Order) -> bool:
    return store.do(step, order)  # tens of microseconds: no thread is worth it


async def alone(ctx: restate.Context, order: Order) -> str:
    """Do all steps in this service, each remembered by Restate."""

    async def do(step: str) -> bool:
        done: bool = await ctx.run_typed(step, _write, answers_yes_or_no, step, order)
        return done

    return await place(do)


async def calls(ctx: restate.Context, order: Order) -> str:
    """Call the service of each step."""

    async def do(step: str) -> bool:
        done: bool = await ctx.service_call(handlers[step], arg=order)
        return done

    return await place(do)


def _handler(step: str) -> Any:
    async def handle(ctx: restate.Context, order: Order) -> bool:  # noqa: ARG001
        return await _write(step, order)

    return services[STEPS[step][0]].handler(step)(handle)


services = {name: restate.Service(name) for name, _ in STEPS.values()}
handlers = {step: _handler(step) for step in STEPS}
orchestrator = restate.Service("orchestrator")
orchestrator.handler("alone")(alone)
orchestrator.handler("calls")(calls)
app = restate.app(services=[orchestrator, *services.values()])
