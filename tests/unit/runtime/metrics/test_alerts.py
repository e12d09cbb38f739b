"""The alerts are raised by what a person has to look at, and by nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saga.runtime.metrics.alerts import alerts
from support.prometheus import promtool

BAKE, PAY = "bakery.bake", "user.pay"
# Series of a system in which all is well, a sample a minute.
WELL = {
    f'kafka_consumergroup_members{{consumergroup="{BAKE}"}}': "1x60",
    f'kafka_consumergroup_members{{consumergroup="{PAY}"}}': "3x60",
    f'saga_lag_seconds{{consumergroup="{BAKE}",topic="bake"}}': "0x60",
    'saga_dead_letters_total{topic="bake"}': "7x60",
    'saga_sagas{saga="feast",status="FAILED"}': "0x60",
    'saga_sagas{saga="feast",status="COMPLETED"}': "5+1x60",
    'saga_oldest_open_age_seconds{saga="feast"}': "299x60",
    'saga_deadline_seconds{saga="feast"}': "300x60",
}
LAG = f'saga_lag_seconds{{consumergroup="{BAKE}",topic="bake"}}'

Raised = dict[str, dict[str, str]]


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., None]:
    """See that after so many minutes these alerts are raised, and no other."""

    def check(changes: dict[str, str | None], minute: int, raised: Raised) -> None:
        rules = alerts([BAKE, PAY])
        (tmp_path / "alerts.yml").write_text(json.dumps(rules))
        series = {name: values for name, values in {**WELL, **changes}.items() if values}
        test: dict[str, Any] = {
            "rule_files": ["alerts.yml"],
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": [{"series": n, "values": v} for n, v in series.items()],
                    "alert_rule_test": [
                        {
                            "eval_time": f"{minute}m",
                            "alertname": rule["alert"],
                            "exp_alerts": [
                                {"exp_labels": {"severity": "warning", **raised[rule["alert"]]}}
                            ]
                            if rule["alert"] in raised
                            else [],
                        }
                        for rule in rules["groups"][0]["rules"]
                    ],
                }
            ],
        }
        for rule in rules["groups"][0]["rules"]:  # what they say is judged below
            rule.pop("annotations")
        (tmp_path / "alerts.yml").write_text(json.dumps(rules))
        (tmp_path / "test.yml").write_text(json.dumps(test))
        promtool("test", "rules", str(tmp_path / "test.yml"))

    return check


def test_promtool_finds_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "alerts.yml"
    file.write_text(json.dumps(alerts([BAKE, PAY])))
    assert "6 rules found" in promtool("check", "rules", str(file))


@pytest.mark.parametrize("minute", [0, 1, 10, 50])
def test_nothing_is_raised_where_all_is_well(check: Callable[..., None], minute: int) -> None:
    check({}, minute, {})


def test_lag_that_rises_is_raised(check: Callable[..., None]) -> None:
    check({LAG: "0+30x60"}, 20, {"SagaLagRising": {"consumergroup": BAKE, "topic": "bake"}})


@pytest.mark.parametrize("values", ["300-1x60", "0+1x60", "_x60"])
def test_lag_that_falls_or_is_small_or_unknown_is_not(
    check: Callable[..., None], values: str
) -> None:
    check({LAG: values}, 20, {})


def test_dead_letter_is_raised(check: Callable[..., None]) -> None:
    letters = 'saga_dead_letters_total{topic="bake"}'
    check({letters: "0x10 1x50"}, 12, {"SagaDeadLetter": {"topic": "bake"}})
    check({letters: "0x10 1x50"}, 40, {})


def test_failed_undo_is_raised(check: Callable[..., None]) -> None:
    failed = {'saga_sagas{saga="feast",status="FAILED"}': "0x10 1x50"}
    check(failed, 9, {})
    check(failed, 15, {"SagaUndoFailed": {"saga": "feast"}})


def test_saga_over_its_deadline_is_raised(check: Callable[..., None]) -> None:
    oldest = {'saga_oldest_open_age_seconds{saga="feast"}': "0+60x60"}
    check(oldest, 5, {})
    check(oldest, 8, {"SagaOverDeadline": {"saga": "feast"}})


@pytest.mark.parametrize("members", ["1x10 0x50", "1x10", None])
def test_function_without_members_is_raised_also_where_nobody_is_left_to_say_so(
    check: Callable[..., None], members: str | None
) -> None:
    there = {f'kafka_consumergroup_members{{consumergroup="{BAKE}"}}': members}
    check(there, 20, {"SagaWithoutMembers": {"consumergroup": BAKE}})


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in alerts([BAKE])["groups"][0]["rules"]:
        told = rule["annotations"]
        assert told["summary"]
        assert "saga " in told["description"]
