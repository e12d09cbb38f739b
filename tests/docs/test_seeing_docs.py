"""What docs/seeing.md says of metrics is so."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from saga.runtime.metrics.catalogue import ALL
from saga.runtime.settings import Settings
from support.ports import free_port
from support.prometheus import promtool
from support.system import RunningSystem, run_system

TEXT = (Path(__file__).parents[2] / "docs" / "seeing.md").read_text()
FILES = dict(re.findall(r"<!-- test: file (\S+) -->\n```yaml\n(.*?)```", TEXT, re.DOTALL))


def commands(name: str) -> list[str]:
    """Return the commands of a block, without `saga` and what is said of them."""
    [block] = re.findall(rf"<!-- test: {name} -->\n```sh\n(.*?)```", TEXT, re.DOTALL)
    return [line.partition("#")[0].strip() for line in block.splitlines()]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """A system that serves its metrics."""
    port = str(free_port())
    folder = tmp_path_factory.mktemp("system")
    told = {"SAGA_METRICS_PORT": port}
    with run_system(folder, prepare=lambda system: system.environment.update(told)) as system:
        yield system


def test_every_metric_is_told_as_it_is() -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \| (\w+) \| (.*) \| (.*) \|$", TEXT)
    assert rows == [
        (one.name, one.kind, " ".join(f"`{label}`" for label in one.labels), one.help)
        for one in ALL
    ]


def test_prometheus_takes_the_files(
    tmp_path: Path, system: RunningSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in commands("run"):
        system.saga(*command.removeprefix("saga ").split())
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
        assert "SUCCESS" in promtool("check", "config", name)
    assert json.loads((tmp_path / "grafana.json").read_text())["panels"]
    assert len(FILES) == 2


def test_top_tells_of_each_function(system: RunningSystem) -> None:
    once, *others = [command.removeprefix("saga ").split() for command in commands("run top")]
    assert once == ["top"]
    for command in (once, *others):
        told = system.saga(*command).stdout
        assert "order.create_order" in told


def test_top_writes_numbers_for_programs(system: RunningSystem) -> None:
    system.order(system.make_user(), system.make_product())
    told = json.loads(system.saga("top", "--json").stdout)
    [function] = [one for one in told["functions"] if one["name"] == "order.create_order"]
    assert (function["members"], function["lag_seconds"] is None) == (1, False)


def test_default_port_is_the_one_that_is_told() -> None:
    port = Settings.model_fields["saga_metrics_port"].default
    assert TEXT.count(str(port)) == 3
