"""Alert rules for Prometheus, made of the catalogue: what a person has to look at."""

from collections.abc import Iterable, Iterator
from typing import Any

from .catalogue import DEAD_LETTERS, DEADLINE, LAG_SECONDS, MEMBERS, OLDEST, SAGAS

BEHIND = 60  # seconds that a group may be behind
Rule = dict[str, Any]


def alerts(groups: Iterable[str]) -> dict[str, Any]:
    """Return the rules; `groups` are the consumer groups of which each needs a member."""
    return {"groups": [{"name": "saga-functions", "rules": list(_rules(groups))}]}


def _rules(groups: Iterable[str]) -> Iterator[Rule]:
    behind = f"max by ({', '.join(LAG_SECONDS.labels)}) ({LAG_SECONDS.name}%s)"
    yield _rule(
        "SagaLagRising",
        f"{behind % ''} > {BEHIND} and {behind % ''} > {behind % ' offset 5m'}",
        "{{ $labels.consumergroup }} falls behind on {{ $labels.topic }}",
        "Its oldest unread record is {{ $value | humanizeDuration }} old, and that grows: see "
        "`saga top`, `saga logs {{ $labels.consumergroup }}`; `saga scale` starts more.",
        patience="2m",
    )
    yield _rule(
        "SagaDeadLetter",
        f"sum by (topic) (increase({DEAD_LETTERS.name}[10m])) > 0",
        "a record of {{ $labels.topic }} could not be read",
        "`saga dlq list --topic {{ $labels.topic }}` shows it, and why.",
    )
    yield _rule(
        "SagaUndoFailed",
        f'max by (saga) ({SAGAS.name}{{status="FAILED"}}) > 0',
        "{{ $value }} of {{ $labels.saga }} could not be undone",
        "`saga sagas --status FAILED` lists them; `saga retry` or `saga skip`, once it is mended.",
    )
    yield _rule(
        "SagaOverDeadline",
        f"max by (saga) ({OLDEST.name}) > max by (saga) ({DEADLINE.name})",
        "a {{ $labels.saga }} is over its deadline, and has not ended",
        "It has begun {{ $value | humanizeDuration }} ago: `saga sagas` and `saga show` tell what "
        "it waits for.",
        patience="1m",
    )
    for group in groups:
        there = f'{MEMBERS.name}{{consumergroup="{group}"}}'
        yield _rule(
            "SagaWithoutMembers",
            f"(max({there}) or vector(0)) == 0",
            f"nobody runs {group}",
            "Its messages wait. `saga ps` and `saga logs` tell more.",
            patience="1m",
            labels={"consumergroup": group},
        )


def _rule(
    name: str,
    condition: str,
    summary: str,
    description: str,
    *,
    patience: str | None = None,
    labels: dict[str, str] | None = None,
) -> Rule:
    waits = {"for": patience} if patience else {}
    return {
        "alert": name,
        "expr": condition,
        **waits,
        "labels": {"severity": "warning", **(labels or {})},
        "annotations": {"summary": summary, "description": description},
    }
