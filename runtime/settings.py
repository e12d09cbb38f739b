"""Everything that the environment may set, read in one place."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

EMBEDDED = "embedded"
KAFKA = "kafka"


LogLevel = Annotated[str, Field(pattern="(?i)^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")]


class Settings(BaseSettings):
    """A process's settings; each may be given as an environment variable, in capitals.

    Times ending in `_ms` are milliseconds, as librdkafka counts them.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    saga_data: Path = Path(".saga")
    saga_stacks: Path = Path(__file__).parent.parent / "stacks"
    saga_host: str = "127.0.0.1"
    saga_log_level: LogLevel = "INFO"
    saga_crash_points: Path | None = None  # for tests: see saga.runtime.crash
    # {data} and {service} are filled in; a container sets the whole URL of its own service.
    saga_database_url: SecretStr = SecretStr("sqlite:///{data}/{service}.db")

    kafka_bootstrap_servers: str | None = None
    kafka_replication_factor: int = 1
    kafka_security_protocol: str | None = None
    kafka_sasl_mechanism: str | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_ca_location: str | None = None
    kafka_ssl_certificate_location: str | None = None
    kafka_ssl_key_location: str | None = None
    # How long a fetch waits at the broker for a first record.
    kafka_fetch_wait_ms: Annotated[int, Field(ge=1, le=30_000)] = 500
    # How long a killed process keeps its partitions from the one that takes its place.
    kafka_session_timeout_ms: Annotated[int, Field(ge=1_000, le=300_000)] = 10_000

    def database_url(self, service: str) -> str:
        """Return the URL of a service's database, its password included."""
        template = self.saga_database_url.get_secret_value()
        # Not str.format: a password may hold a brace.
        url = template.replace("{service}", service)
        return url.replace("{data}", str(self.saga_data.absolute()))

    def on_broker(self, address: str, broker: str | None = None) -> "Settings":
        """Return these settings for a broker at `address`; `broker` says if it is one of our own.

        Ours let a killed process go soon. The embedded one also holds a waiting fetch for half of
        the wait, whatever arrives meanwhile: it is short there.
        """
        changes: dict[str, object] = {"kafka_bootstrap_servers": address}
        if broker in (EMBEDDED, KAFKA):
            changes["kafka_session_timeout_ms"] = 3_000
        if broker == EMBEDDED:
            changes["kafka_fetch_wait_ms"] = 10
        return self.model_copy(update=changes)
