"""Everything that the environment may set, read in one place."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from .address import checked_host
from .secrets import database_password, secrets_folder

EMBEDDED = "embedded"
KAFKA = "kafka"
# Milliseconds; enough for three heartbeats. A clean stop leaves its group at once, which one with a
# `group.instance.id` would not.
OWN_SESSION_TIMEOUT = 1_000

MOST_LOG_FILES = 100
ORDERS = Path(__file__).parent.parent / "stacks"  # of the built-in order system

TargetName = Literal["process", "docker"]
ConsoleMode = Literal["on", "read-only", "off"]

LogFormat = Literal["text", "json"]
LogLevel = Annotated[str, Field(pattern="(?i)^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")]


SecurityProtocol = Annotated[str, Field(pattern="(?i)^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$")]
SaslMechanism = Annotated[
    str, Field(pattern="(?i)^(GSSAPI|PLAIN|SCRAM-SHA-256|SCRAM-SHA-512|OAUTHBEARER)$")
]


class _Files(SecretsSettingsSource):
    """The secrets' folder."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Read a file; an empty one is none."""
        value, name, is_complex = super().get_field_value(field, field_name)
        return value or None, name, is_complex


def stacks_here() -> Path:
    """Return the folder `stacks` of where we are, or that of the orders where it has no stacks."""
    here = Path("stacks")
    return here if any(here.glob("[!.]*.toml")) and not here.samefile(ORDERS) else ORDERS


class Settings(BaseSettings):
    """A process's settings; each may be given as an environment variable, in capitals.

    Without the variable, a file of that name in the secrets' folder counts. What is empty counts
    as not given.

    Times ending in `_ms` are milliseconds, as librdkafka counts them.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    saga_data: Path = Path(".saga")
    saga_stacks: Path = Field(default_factory=stacks_here)
    saga_host: Annotated[str, AfterValidator(checked_host)] = "127.0.0.1"
    saga_log_level: LogLevel = "INFO"
    saga_log_format: LogFormat = "text"
    saga_access_log: bool = True  # a line for each answer of an adapter
    # Of each process's log, before it is rotated, and how many files of it there are.
    saga_log_bytes: Annotated[int, Field(ge=1_000)] = 10_000_000
    saga_log_files: Annotated[int, Field(ge=2, le=MOST_LOG_FILES)] = 3
    # The system's name: a Docker network, the containers' labels and the first part of their names.
    saga_system: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")] = "saga"
    saga_target: TargetName = "process"
    saga_image: str = f"saga-functions:{version('saga-functions')}"
    saga_artifacts: str = "{data}/artifacts"  # a folder, or s3://BUCKET/PREFIX
    saga_code: Path | None = None  # the code of a deployed version, before what is installed
    saga_version: str | None = None  # that of what the process hosts, for its logs
    saga_replicas: Annotated[int, Field(ge=1)] = 1  # there are so many of it, as far as it is told
    saga_health: Path | None = None  # a file that says that the process does its work
    # Sagas of one declaration in flight, beyond which an adapter starts no more.
    saga_in_flight: Annotated[int, Field(ge=1)] = 5_000
    saga_batch_work: bool = True  # what `saga up` starts, while it has the machine for itself
    saga_metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 9464  # on saga_host; 0: no metrics
    saga_counts: Path | None = None  # files in which a supervised process counts
    saga_console: ConsoleMode = "on"  # beside the API of a saga
    # Names, with commas between them, under which adapters are asked for, beside localhost and IP
    # addresses: no other site's name that leads here may act in a person's browser.
    saga_hosts: str = ""
    saga_maven_repository: str | None = None  # a mirror of Maven Central, for Apache Kafka's jars
    saga_crash_points: Path | None = None  # for tests: see saga.runtime.crash
    # {data}, {service} and {password} are filled in; a container has the URL of its own service.
    saga_database_url: SecretStr = SecretStr("sqlite:///{data}/{service}.db")

    kafka_bootstrap_servers: str | None = None
    kafka_is_embedded: bool = False  # the broker tells nobody that it came back empty
    kafka_replication_factor: Annotated[int, Field(ge=1)] | None = None  # None: the broker's own
    # Before each topic and group, so that systems which share a broker keep to themselves.
    kafka_prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{0,100}$")] = ""
    kafka_security_protocol: SecurityProtocol | None = None
    kafka_sasl_mechanism: SaslMechanism | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_ca_location: str | None = None
    kafka_ssl_certificate_location: str | None = None
    kafka_ssl_key_location: str | None = None
    # How long a killed process keeps its partitions from the one that takes its place; brokers
    # allow no less than 6 s by default.
    kafka_session_timeout_ms: Annotated[int, Field(ge=1_000, le=300_000)] = 6_000

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as pydantic-settings has it
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, then the environment, then the secrets' folder where there is one."""
        folder = secrets_folder()
        files = [_Files(settings_cls, folder)] if folder.is_dir() else []
        return (init_settings, env_settings, *files)

    @property
    def deployed_on(self) -> str:
        """Whose deployments are recorded together: the system's name and its target."""
        return f"{self.saga_system}/{self.saga_target}"

    @property
    def hosted_version(self) -> str | None:
        """The version of what the process hosts, where that is one: its code's folder has its name.

        In a container, the folder has another.
        """
        return self.saga_version or (self.saga_code.name if self.saga_code else None)

    @property
    def artifacts(self) -> str:
        """Where artifacts are kept: a folder's absolute path, or an s3:// URL."""
        place = self.saga_artifacts.replace("{data}", str(self.saga_data.absolute()))
        return place if place.startswith("s3://") else str(Path(place).absolute())

    def database_url(self, service: str) -> str:
        """Return the URL of a service's database, its password included."""
        template = self.saga_database_url.get_secret_value()
        # Not str.format: a password may hold a brace.
        url = template.replace("{service}", service)
        if "{password}" in url:
            url = url.replace("{password}", quote(database_password(service), safe=""))
        return url.replace("{data}", str(self.saga_data.absolute()))

    def on_broker(self, address: str, broker: str | None = None) -> "Settings":
        """Return these settings for a broker at `address`; `broker` says if it is one of our own.

        Ours let a killed process go soon, unless another time is set.
        """
        changes: dict[str, object] = {"kafka_bootstrap_servers": address}
        if broker == EMBEDDED:
            changes["kafka_is_embedded"] = True
        if broker in (EMBEDDED, KAFKA) and "kafka_session_timeout_ms" not in self.model_fields_set:
            changes["kafka_session_timeout_ms"] = OWN_SESSION_TIMEOUT
        return self.model_copy(update=changes)
