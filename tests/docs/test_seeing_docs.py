"""What docs/seeing.md says of metrics is so; `integration/test_saga_seen.py` runs its commands."""

import re
from pathlib import Path

from saga.runtime.metrics.catalogue import ALL
from saga.runtime.settings import Settings

TEXT = (Path(__file__).parents[2] / "docs" / "seeing.md").read_text()


def test_every_metric_is_told_as_it_is() -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \| (\w+) \| (.*) \| (.*) \|$", TEXT)
    assert rows == [
        (one.name, one.kind, " ".join(f"`{label}`" for label in one.labels), one.help)
        for one in ALL
    ]


def test_default_port_is_the_one_that_is_told() -> None:
    port = Settings.model_fields["saga_metrics_port"].default
    assert TEXT.count(str(port)) == 3
