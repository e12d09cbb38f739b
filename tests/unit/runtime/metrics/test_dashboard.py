"""The dashboard shows every metric, by expressions that Prometheus can read."""

import json
from itertools import combinations
from pathlib import Path

import pytest

from saga.runtime.metrics import catalogue
from saga.runtime.metrics.catalogue import ALL
from saga.runtime.metrics.dashboard import dashboard, expressions
from support.prometheus import promtool


def panels():
    return dashboard()["panels"]


def test_each_metric_has_a_panel_under_its_groups_row():
    shown, row = [], ""
    for panel in panels():
        if panel["type"] == "row":
            row = panel["title"]
        else:
            shown.append((row, panel["title"]))
    assert shown == [(metric.group, metric.name) for metric in ALL]


def test_no_panel_is_over_another():
    places = [panel["gridPos"] for panel in panels()]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or apart


def test_each_panel_has_a_number_of_its_own_and_each_query_a_letter():
    numbers = [panel["id"] for panel in panels()]
    assert len(set(numbers)) == len(numbers)
    for panel in panels():
        letters = [target["refId"] for target in panel.get("targets", [])]
        assert letters == list("AB")[: len(letters)]


def test_it_is_json():
    assert json.loads(json.dumps(dashboard())) == dashboard()


@pytest.mark.parametrize(
    ("metric", "shown"),
    [
        (
            catalogue.COMMANDS,
            {
                "sum by (function, outcome) (rate(saga_commands_total[5m]))": (
                    "{{function}} {{outcome}}"
                )
            },
        ),
        (
            catalogue.OLDEST,
            {"max by (saga) (saga_oldest_open_age_seconds)": "{{saga}}"},
        ),
        (
            catalogue.LAG,
            {
                "sum by (consumergroup) (max by (consumergroup, topic, partition)"
                " (kafka_consumergroup_lag))": "{{consumergroup}}"
            },
        ),
    ],
)
def test_metric_is_shown_by_its_kind(metric, shown):
    assert expressions(metric, "5m") == shown


def test_parts_are_shown_as_what_one_attempt_takes():
    [query] = expressions(catalogue.PARTS, "5m")
    assert query == (
        "sum by (saga, step, action, part) (rate(saga_step_seconds_total[5m])) "
        "/ on (saga, step, action) group_left () "
        "sum by (saga, step, action) (rate(saga_step_attempts_total[5m]))"
    )


def test_histogram_shows_what_half_and_nearly_all_take():
    shown = expressions(catalogue.DURATION)
    assert list(shown.values()) == ["{{saga}} {{status}} p50", "{{saga}} {{status}} p99"]
    assert all("saga_duration_seconds_bucket[$__rate_interval]" in query for query in shown)


def test_units_are_grafanas():
    units = {
        panel["title"]: panel["fieldConfig"]["defaults"]["unit"]
        for panel in panels()
        if panel["type"] != "row"
    }
    assert units[catalogue.DURATION.name] == "s"
    assert units[catalogue.PARTS.name] == "s"
    assert units[catalogue.COMMANDS.name] == "short"


def test_prometheus_can_read_each_expression(tmp_path: Path):
    rules = [
        {"record": f"shown:{number}", "expr": query}
        for number, query in enumerate(q for metric in ALL for q in expressions(metric, "5m"))
    ]
    file = tmp_path / "rules.json"  # which is YAML, too
    file.write_text(json.dumps({"groups": [{"name": "shown", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))
