"""The names of metrics are those that others expect, and say what they are."""

import pytest
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv._incubating.metrics import messaging_metrics
from opentelemetry.semconv.attributes import error_attributes, http_attributes
from opentelemetry.semconv.metrics import http_metrics

from saga.runtime.metrics import catalogue

ATTRIBUTES = {
    messaging_attributes.MESSAGING_SYSTEM,
    messaging_attributes.MESSAGING_OPERATION_NAME,
    messaging_attributes.MESSAGING_DESTINATION_NAME,
    messaging_attributes.MESSAGING_CONSUMER_GROUP_NAME,
    error_attributes.ERROR_TYPE,
    http_attributes.HTTP_REQUEST_METHOD,
    http_attributes.HTTP_ROUTE,
    http_attributes.HTTP_RESPONSE_STATUS_CODE,
}


@pytest.mark.parametrize(
    ("metric", "name", "suffix"),
    [
        (catalogue.RECEIVED, messaging_metrics.MESSAGING_CLIENT_CONSUMED_MESSAGES, "_total"),
        (catalogue.SENT, messaging_metrics.MESSAGING_CLIENT_SENT_MESSAGES, "_total"),
        (catalogue.HANDLED, messaging_metrics.MESSAGING_PROCESS_DURATION, "_seconds"),
        (catalogue.REQUESTS, http_metrics.HTTP_SERVER_REQUEST_DURATION, "_seconds"),
    ],
)
def test_name_is_opentelemetrys_as_prometheus_writes_it(metric, name, suffix):
    assert metric.name == name.replace(".", "_") + suffix


def test_labels_of_opentelemetrys_metrics_are_its_attributes():
    theirs = {name.replace(".", "_") for name in ATTRIBUTES} | {"service"}
    for metric in catalogue.ALL:
        if metric.name.startswith(("messaging_", "http_")):
            assert set(metric.labels) <= theirs


def test_each_metric_is_listed_once():
    names = [metric.name for metric in catalogue.ALL]
    assert len(names) == len(set(names)) > 15
    assert all(
        (metric.kind == "counter") == metric.name.endswith("_total") for metric in catalogue.ALL
    )
    assert all(bool(metric.buckets) == (metric.kind == "histogram") for metric in catalogue.ALL)


def test_no_label_is_an_id():
    labels = {label for metric in catalogue.ALL for label in metric.labels}
    assert [label for label in sorted(labels) if "id" in label.split("_")] == []


@pytest.mark.parametrize(
    ("metric", "unit"), [(catalogue.HANDLED, "seconds"), (catalogue.COMMANDS, "")]
)
def test_unit_is_told_by_the_name(metric, unit):
    assert metric.unit == unit
