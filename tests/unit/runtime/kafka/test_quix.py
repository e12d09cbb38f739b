"""Quix Streams, which brings the clients of a schema registry: here only once one is called."""

import warnings
from importlib import import_module

import pytest

from saga.runtime.kafka import quix


@pytest.fixture
def real():
    with warnings.catch_warnings(record=True):  # of authlib's, about its own HTTP client
        warnings.simplefilter("ignore")
        return import_module(quix.REGISTRY)


def test_a_schema_registry_is_there_for_who_calls_it(real):
    from quixstreams.models.serializers.json import SchemaRegistryClient

    client = SchemaRegistryClient({"url": "http://127.0.0.1:1"})

    assert SchemaRegistryClient is not real.SchemaRegistryClient  # which was not imported
    assert isinstance(client, real.SchemaRegistryClient)


def test_a_default_of_its_settings_does_what_the_real_one_does(real):
    from quixstreams.models.serializers import SchemaRegistrySerializationConfig

    strategy = SchemaRegistrySerializationConfig().as_dict()["subject.name.strategy"]
    context = real.SerializationContext("orders", real.MessageField.VALUE)

    assert strategy is not real.topic_subject_name_strategy
    assert strategy(context, "Order") == "orders-value"
