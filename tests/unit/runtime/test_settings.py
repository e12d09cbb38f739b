"""Settings come from the environment."""

from pathlib import Path

import pytest

from saga.runtime.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings_outside(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_each_service_has_a_file_in_the_data_directory(tmp_path):
    settings = Settings(saga_data=tmp_path)
    assert settings.database_url("user") == f"sqlite:///{tmp_path}/user.db"


def test_data_directory_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Settings().database_url("user") == f"sqlite:///{tmp_path}/.saga/user.db"


def test_whole_url_can_be_set(monkeypatch):
    monkeypatch.setenv("SAGA_DATABASE_URL", "postgresql://ann:pw@db/shop")
    assert Settings().database_url("user") == "postgresql://ann:pw@db/shop"


def test_url_may_hold_the_services_name(monkeypatch):
    monkeypatch.setenv("SAGA_DATABASE_URL", "postgresql://db/{service}_db")
    assert Settings().database_url("user") == "postgresql://db/user_db"


def test_braces_in_the_data_directory_are_only_braces(tmp_path):
    settings = Settings(saga_data=tmp_path / "{service}")
    assert settings.database_url("user") == f"sqlite:///{tmp_path}/{{service}}/user.db"


def test_passwords_are_not_shown(monkeypatch):
    monkeypatch.setenv("SAGA_DATABASE_URL", "postgresql://ann:hunter2@db/shop")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2")
    assert "hunter2" not in repr(Settings())


def test_environment_sets_what_it_names(monkeypatch):
    monkeypatch.setenv("SAGA_DATA", "/somewhere")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:9092")
    monkeypatch.setenv("KAFKA_FETCH_WAIT_MS", "7")
    settings = Settings()
    assert settings.saga_data == Path("/somewhere")
    assert settings.kafka_bootstrap_servers == "broker:9092"
    assert settings.kafka_fetch_wait_ms == 7


@pytest.mark.parametrize("value", ["0", "-1", "30001", "soon"])
def test_fetch_wait_out_of_range_is_refused(monkeypatch, value):
    monkeypatch.setenv("KAFKA_FETCH_WAIT_MS", value)
    with pytest.raises(ValueError, match="kafka_fetch_wait_ms"):
        Settings()


def test_embedded_broker_waits_shorter_than_kafka():
    kafka = Settings(saga_log_level="DEBUG")
    embedded = kafka.on_broker("127.0.0.1:1", "embedded")
    assert embedded.kafka_bootstrap_servers == "127.0.0.1:1"
    assert embedded.kafka_fetch_wait_ms < kafka.kafka_fetch_wait_ms
    assert embedded.kafka_session_timeout_ms < kafka.kafka_session_timeout_ms
    assert embedded.saga_log_level == "DEBUG"
