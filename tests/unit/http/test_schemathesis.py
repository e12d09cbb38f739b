"""Requests that schemathesis thinks of, right and wrong ones, are answered as documented."""

import asyncio
import random
import re
import sys
from pathlib import Path

import pytest

from saga.stacks.ledger import TABLES

pytestmark = pytest.mark.proof

COMMAND = Path(sys.executable).with_name("schemathesis")
THOROUGH = ["--mode=all", "--checks=all", "--continue-on-failure"]
# An answer that is a stream has no end to wait for.
THOROUGH += ["--exclude-path-regex=/events$"]
CONFIGS = {"orchestrator": "orchestrator.toml"}
# DELETE cancels a saga, which is there afterwards.
EXCLUDED = {"orchestrator": ["--exclude-checks=use_after_free"]}


async def run(*command, folder):
    """Run a command while the server, which has the same loop, answers it."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    written, _ = await process.communicate()
    return process.returncode, written.decode()


@pytest.fixture(params=TABLES)
def explore(request, serve, tmp_path):
    """Try a service's operations, and return what schemathesis says; fail where it finds something.

    The folder is empty, so that it finds no examples and no settings of another time.
    """
    api = serve(request.param)
    config = Path(__file__).with_name(CONFIGS.get(request.param, "tagged.toml"))
    url = f"http://{api.client.host}:{api.client.port}/openapi.json"

    def explore(*options):
        start = [COMMAND, "--no-color", f"--config-file={config}", "run", *THOROUGH]
        start += EXCLUDED.get(request.param, [])
        status, written = api.run(run(*start, *options, url, folder=tmp_path))
        assert status == 0, written
        return written

    return explore


def test_any_requests_are_answered_as_documented(explore, pytestconfig, capsys):
    seed = pytestconfig.getoption("hypothesis_seed") or str(random.randrange(10**9))
    with capsys.disabled():
        sys.stdout.write(f"\n--hypothesis-seed={seed} ")
    written = explore("--max-examples=20", f"--seed={seed}")
    assert f"Seed: {seed}" in written
    assert re.search(r"API Links: +[1-9]", written), "nothing that was made was used"
