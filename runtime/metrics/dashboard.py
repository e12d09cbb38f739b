"""A Grafana dashboard, made of the catalogue: a row for each group, a panel for each metric."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from .catalogue import ALL, Metric

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS, WIDTH, HEIGHT = 24, 8, 8  # of Grafana's grid
WINDOW = "$__rate_interval"
UNITS = {"seconds": "s", "": "short"}


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    return {
        "uid": "saga-functions",
        "title": "Saga Functions",
        "tags": ["saga-functions"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                }
            ]
        },
        "panels": [{"id": number, **panel} for number, panel in enumerate(_panels(), start=1)],
    }


def expressions(metric: Metric, window: str = WINDOW) -> dict[str, str]:
    """Return the queries that show a metric, each with what its line is called."""
    by = metric.by or metric.labels
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    per, name = ", ".join(by), metric.name
    if metric.kind == "counter":
        rate = f"sum by ({per}) (rate({name}[{window}]))"
        if metric.per is None:
            return {rate: legend}
        whole = ", ".join(metric.per.labels)
        count = f"sum by ({whole}) (rate({metric.per.name}[{window}]))"
        return {f"{rate} / on ({whole}) group_left () {count}": legend}
    if metric.kind == "histogram":
        rate = f"sum by (le, {per}) (rate({name}_bucket[{window}]))"
        return {f"histogram_quantile({q}, {rate})": f"{legend} p{100 * q:g}" for q in (0.5, 0.99)}
    # What several instances tell is one and the same.
    once = f"max by ({', '.join(metric.labels)}) ({name})"
    return {once if by == metric.labels else f"sum by ({per}) ({once})": legend}


def _panels() -> Iterator[dict[str, Any]]:
    y = 0
    for group, metrics in groupby(ALL, lambda metric: metric.group):
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        yield {"type": "row", "title": group, "collapsed": False, "gridPos": place, "panels": []}
        y += 1
        for number, metric in enumerate(metrics):
            row, column = divmod(number, COLUMNS // WIDTH)
            place = {"x": column * WIDTH, "y": y + row * HEIGHT, "w": WIDTH, "h": HEIGHT}
            yield _panel(metric, place)
        y = place["y"] + HEIGHT


def _panel(metric: Metric, place: dict[str, int]) -> dict[str, Any]:
    is_rate = metric.kind == "counter" and metric.per is None
    unit = UNITS["" if is_rate else metric.unit]
    return {
        "type": "timeseries",
        "title": metric.name,
        "description": metric.help,
        "gridPos": place,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(expressions(metric).items())
        ],
    }
