"""The order saga on DBOS, behind an ASGI app of the least: a workflow, whose steps are DBOS's.

`python -m benchmarks.dbos_app` makes DBOS's tables.
"""

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dbos import DBOS, SetWorkflowID

from .peer_store import STEPS, PeerStore

THREADS = 2  # of each process: with more of them, orders wait for each other and nothing is faster

DBOS(
    config={
        "name": "benchmarks",
        "application_version": "1",
        "executor_id": str(os.getpid()),
        "log_level": "ERROR",
        "system_database_url": os.environ["BENCHMARKS_DATABASE"],
        # A SELECT before each use of a connection, which a server on loopback does not need.
        "db_engine_kwargs": {"pool_pre_ping": False},
    }
)
store = PeerStore(Path(os.environ["BENCHMARKS_FOLDER"]))
threads = ThreadPoolExecutor(THREADS)


def _step(name: str) -> Any:
    def do(order: dict[str, int]) -> bool:
        return store.do(name, order)

    return DBOS.step(name=name)(do)


steps = {name: _step(name) for name in STEPS}


def _place(order: dict[str, int]) -> str:
    steps["create"](order)
    if steps["reserve"](order):
        if steps["pay"](order):
            steps["complete"](order)
            return "COMPLETED"
        steps["release"](order)
    steps["cancel"](order)
    return "CANCELLED"


place = DBOS.workflow(name="place")(_place)


def _place_one(order: dict[str, int]) -> str:
    with SetWorkflowID(f"order-{order['number']}"):
        status: str = place(order)
    return status


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer a POST of an order with how it ended, once it has."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    body = b""
    while True:
        part = await receive()
        body += part.get("body", b"")
        if not part.get("more_body"):
            break
    order = json.loads(body)
    status = await asyncio.get_running_loop().run_in_executor(threads, _place_one, order)
    answer = json.dumps(status).encode()
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _live(receive: Any, send: Any) -> None:
    await receive()
    DBOS.launch()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    DBOS.destroy()
    await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    DBOS.launch()
    DBOS.destroy()
