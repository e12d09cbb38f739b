"""Settings come from the environment."""

from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from saga.runtime.cli.app import settings_for
from saga.runtime.errors import SagaError
from saga.runtime.settings import ORDERS, Settings


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


def test_stacks_are_those_of_the_folder_where_it_has_some(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stacks = tmp_path / "stacks"
    assert Settings().saga_stacks == ORDERS
    stacks.mkdir()
    (stacks / ".hidden.toml").touch()
    assert Settings().saga_stacks == ORDERS
    (stacks / "gift.toml").touch()
    assert Settings().saga_stacks.absolute() == stacks
    monkeypatch.setenv("SAGA_STACKS", "others")
    assert Settings().saga_stacks == Path("others")


def test_stacks_of_the_orders_own_folder_are_theirs(monkeypatch):
    monkeypatch.chdir(ORDERS.parent)
    assert Settings().saga_stacks == ORDERS


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
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_MS", "7000")
    settings = Settings()
    assert settings.saga_data == Path("/somewhere")
    assert settings.kafka_bootstrap_servers == "broker:9092"
    assert settings.kafka_session_timeout_ms == 7_000


@pytest.mark.parametrize("name", Settings.model_fields)
def test_empty_variable_or_file_counts_as_not_given(secrets, monkeypatch, name):
    default = Settings()
    (secrets / name).write_text("\n")
    assert Settings() == default
    monkeypatch.setenv(name.upper(), "")
    assert Settings() == default
    assert Settings().model_fields_set == set()


@pytest.mark.parametrize("value", ["0", "-1", "300001", "soon"])
def test_session_timeout_out_of_range_is_refused(monkeypatch, value):
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_MS", value)
    with pytest.raises(ValueError, match="kafka_session_timeout_ms"):
        Settings()


@pytest.mark.parametrize("prefix", ["", "shop.", "Shop_2-", "a" * 100])
def test_prefix_may_have_all_that_kafka_allows(monkeypatch, prefix):
    monkeypatch.setenv("KAFKA_PREFIX", prefix)
    assert Settings().kafka_prefix == prefix


@pytest.mark.parametrize("prefix", ["two words", "größe", "a/", "shop.\n", "a" * 101])
def test_prefix_that_no_kafka_takes_is_refused(monkeypatch, prefix):
    monkeypatch.setenv("KAFKA_PREFIX", prefix)
    with pytest.raises(ValueError, match="kafka_prefix"):
        Settings()


@pytest.mark.parametrize("broker", ["embedded", "kafka"])
def test_a_killed_process_is_let_go_within_a_second_by_a_broker_of_our_own(broker):
    elsewhere = Settings(saga_log_level="DEBUG")
    own = elsewhere.on_broker("127.0.0.1:1", broker)
    assert own.kafka_bootstrap_servers == "127.0.0.1:1"
    assert own.kafka_session_timeout_ms == 1_000
    assert own.saga_log_level == "DEBUG"


@pytest.mark.parametrize(
    ("broker", "embedded"), [("embedded", True), ("kafka", False), (None, False)]
)
def test_embedded_broker_is_known_as_such(broker, embedded):
    assert Settings().on_broker("127.0.0.1:1", broker).kafka_is_embedded is embedded


@pytest.fixture
def secrets(tmp_path, monkeypatch):
    """A folder of secret files; the passwords of databases are not in the environment."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("SAGA_SECRETS", str(folder))
    monkeypatch.delenv("USER_DATABASE_PASSWORD", raising=False)
    return folder


@pytest.mark.parametrize("name", ["saga_database_url", "SAGA_DATABASE_URL"])
def test_secret_file_sets_what_it_names(secrets, name):
    (secrets / name).write_text("postgresql://ann:pw@db/shop\n")
    assert Settings().database_url("user") == "postgresql://ann:pw@db/shop"


def test_environment_goes_before_a_secret_file(secrets, monkeypatch):
    (secrets / "kafka_sasl_password").write_text("file")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "variable")
    assert Settings().kafka_sasl_password.get_secret_value() == "variable"


def test_secrets_of_functions_are_no_settings(secrets):
    (secrets / "API_KEY").write_text("s3cr3t")
    assert "s3cr3t" not in repr(Settings())


def test_missing_folder_of_secrets_sets_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SAGA_SECRETS", str(tmp_path / "none"))
    assert Settings().saga_log_level == "INFO"


def test_url_may_hold_the_services_password_whatever_is_in_it(secrets, monkeypatch):
    (secrets / "USER_DATABASE_PASSWORD").write_text("a/b:c@d%e {data}+ü\n")
    monkeypatch.setenv("SAGA_DATABASE_URL", "postgresql://{service}:{password}@db/{service}")
    url = Settings().database_url("user")
    assert url == "postgresql://user:a%2Fb%3Ac%40d%25e%20%7Bdata%7D%2B%C3%BC@db/user"
    assert unquote(str(urlsplit(url).password)) == "a/b:c@d%e {data}+ü"


def test_password_is_the_services_name_if_none_is_set(secrets, monkeypatch):
    monkeypatch.setenv("SAGA_DATABASE_URL", "postgresql://{service}:{password}@db/{service}")
    assert Settings().database_url("user") == "postgresql://user:user@db/user"


def test_password_is_not_read_where_the_url_has_no_place_for_it(secrets, monkeypatch):
    monkeypatch.setenv("USER_DATABASE_PASSWORD", "s3cr3t")
    monkeypatch.setenv("SAGA_DATABASE_URL", "postgresql://{service}@db/{service}")
    assert Settings().database_url("user") == "postgresql://user@db/user"


def test_artifacts_are_in_the_data_directory(tmp_path):
    assert Settings(saga_data=tmp_path).artifacts == f"{tmp_path}/artifacts"


def test_artifacts_folder_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_ARTIFACTS", "shelf")
    assert Settings().artifacts == f"{tmp_path}/shelf"
    monkeypatch.delenv("SAGA_ARTIFACTS")
    assert Settings().artifacts == f"{tmp_path}/.saga/artifacts"


def test_artifacts_may_lie_in_a_bucket(monkeypatch):
    monkeypatch.setenv("SAGA_ARTIFACTS", "s3://bucket/some/where")
    assert Settings().artifacts == "s3://bucket/some/where"


@pytest.mark.parametrize("name", ["KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM", "SAGA_HOST"])
def test_what_nobody_understands_is_refused_by_its_name(monkeypatch, name):
    monkeypatch.setenv(name, "no sense")
    with pytest.raises(SagaError, match=f"^environment variable {name}: .+$"):
        settings_for(None)


@pytest.mark.parametrize("protocol", ["SASL_SSL", "sasl_plaintext", "ssl", "Plaintext"])
def test_security_protocol_may_be_written_either_way(monkeypatch, protocol):
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", protocol)
    assert Settings().kafka_security_protocol == protocol


@pytest.mark.parametrize("name", ["saga", "a", "my-system_2", "a" * 41])
def test_system_may_be_called(monkeypatch, name):
    monkeypatch.setenv("SAGA_SYSTEM", name)
    assert Settings().saga_system == name


@pytest.mark.parametrize("name", ["Saga", "2nd", "-a", "a b", "a/b", "../a", "a.b", "a" * 42])
def test_system_may_not_be_called(monkeypatch, name):
    monkeypatch.setenv("SAGA_SYSTEM", name)
    with pytest.raises(ValueError, match="saga_system"):
        Settings()


def test_image_is_that_of_this_version(monkeypatch):
    assert Settings().saga_image == f"saga-functions:{version('saga-functions')}"


def test_target_is_one_of_two(monkeypatch):
    assert Settings().saga_target == "process"
    monkeypatch.setenv("SAGA_TARGET", "docker")
    assert Settings().saga_target == "docker"
    monkeypatch.setenv("SAGA_TARGET", "cloud")
    with pytest.raises(ValueError, match="saga_target"):
        Settings()


def test_the_version_of_what_is_hosted_is_the_name_of_its_codes_folder_or_is_told(tmp_path):
    assert Settings().hosted_version is None
    assert Settings(saga_code=tmp_path / "86a99a").hosted_version == "86a99a"
    assert Settings(saga_code=tmp_path / "code", saga_version="86a99a").hosted_version == "86a99a"
