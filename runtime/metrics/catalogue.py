"""Every metric there is: its name, kind, help, labels and buckets.

Names are OpenTelemetry's where its conventions have one, as Prometheus writes them, and those of
Kafka's usual exporters where dashboards look for them. Times are in seconds. No label holds an id.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Group = Literal["Functions", "Kafka", "Sagas", "HTTP"]

# OpenTelemetry's advice, and two below: a handler on SQLite takes less than a millisecond.
ADVISED = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
HANDLER = (0.00025, 0.001, *ADVISED)
WHOLE_SAGA = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
REQUEST = (0.005, 0.025, 0.1, 0.5, 2.5, 10)  # few: there is a series for each, route and status


@dataclass(frozen=True, slots=True, eq=False)  # each is one of its own, and looked up often
class Metric:
    """One metric; `name` is as Prometheus shows it, `buckets` are those of a histogram.

    `by` are the labels by which it is shown: what differs in others is summed up. A counter of
    which each is a part of one `per` another counter is shown as that.
    """

    group: Group
    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()
    by: tuple[str, ...] = ()
    per: "Metric | None" = None

    @property
    def unit(self) -> str:
        """The unit of its values: seconds, or nothing where it counts."""
        return "seconds" if "_seconds" in self.name else ""


MESSAGING = ("messaging_system", "messaging_operation_name", "messaging_destination_name")
GROUP = "messaging_consumer_group_name"
PARTITION = ("consumergroup", "topic", "partition")

RECEIVED = Metric(
    "Functions",
    "messaging_client_consumed_messages_total",
    "counter",
    "Records that a function or a saga's host has received.",
    (*MESSAGING, GROUP),
    by=(GROUP,),
)
SENT = Metric(
    "Functions",
    "messaging_client_sent_messages_total",
    "counter",
    "Records that the broker has taken.",
    MESSAGING,
    by=("messaging_destination_name",),
)
HANDLED = Metric(
    "Functions",
    "messaging_process_duration_seconds",
    "histogram",
    "Time in the handler of a command; error_type is empty where it was done.",
    (*MESSAGING, GROUP, "error_type"),
    HANDLER,
    by=(GROUP,),
)
COMMANDS = Metric(
    "Functions",
    "saga_commands_total",
    "counter",
    "Received commands by what became of them: done, rejected, failed, duplicate or dead.",
    ("function", "outcome"),
)
DEAD_LETTERS = Metric(
    "Functions",
    "saga_dead_letters_total",
    "counter",
    "Dead letters written, by the topic whose record they hold.",
    ("topic",),
)
INSTANCES = Metric(
    "Functions",
    "saga_instances",
    "gauge",
    "Processes of the system by their state.",
    ("function", "state"),
)
RESTARTS = Metric(
    "Functions",
    "saga_restarts_total",
    "counter",
    "Restarts of the processes that run now.",
    ("function",),
)
LAG = Metric(
    "Kafka",
    "kafka_consumergroup_lag",
    "gauge",
    "Records that a consumer group has not committed yet.",
    PARTITION,
    by=("consumergroup",),
)
LAG_SECONDS = Metric(
    "Kafka",
    "saga_lag_seconds",
    "gauge",
    "Age of the oldest record that a consumer group has not committed yet; 0 where there is none.",
    ("consumergroup", "topic"),
)
COMMITTED = Metric(
    "Kafka",
    "kafka_consumergroup_current_offset",
    "gauge",
    "The offset up to which a consumer group has committed.",
    PARTITION,
    by=("consumergroup",),
)
END = Metric(
    "Kafka",
    "kafka_topic_partition_current_offset",
    "gauge",
    "The offset at which a partition ends.",
    ("topic", "partition"),
    by=("topic",),
)
MEMBERS = Metric(
    "Kafka",
    "kafka_consumergroup_members",
    "gauge",
    "Members of a consumer group.",
    ("consumergroup",),
)
SAGAS = Metric(
    "Sagas",
    "saga_sagas",
    "gauge",
    "Sagas in the database by their status.",
    ("saga", "status"),
)
OLDEST = Metric(
    "Sagas",
    "saga_oldest_open_age_seconds",
    "gauge",
    "Age of the oldest saga that has not ended; absent where all have.",
    ("saga",),
)
DEADLINE = Metric(
    "Sagas",
    "saga_deadline_seconds",
    "gauge",
    "Time after which a saga is undone, as it is declared.",
    ("saga",),
)
ENDED = Metric(
    "Sagas",
    "saga_ended_total",
    "counter",
    "Sagas that have ended, by how.",
    ("saga", "status"),
)
DURATION = Metric(
    "Sagas",
    "saga_duration_seconds",
    "histogram",
    "Time from a saga's start to its end.",
    ("saga", "status"),
    WHOLE_SAGA,
)
ATTEMPTS = Metric(
    "Sagas",
    "saga_step_attempts_total",
    "counter",
    "Attempts of a step that were answered.",
    ("saga", "step", "action"),
)
PARTS = Metric(
    "Sagas",
    "saga_step_seconds_total",
    "counter",
    "Time of attempts by its parts: queue, turn, handler, commit, reply; and retry, the back-off.",
    ("saga", "step", "action", "part"),
    per=ATTEMPTS,
)
RETRIES = Metric(
    "Sagas",
    "saga_retries_total",
    "counter",
    "Attempts of a step after its first one.",
    ("saga", "step", "action"),
)
COMPENSATIONS = Metric(
    "Sagas",
    "saga_compensations_total",
    "counter",
    "Sagas that have begun to be undone, by the step and the code of their failure.",
    ("saga", "step", "code"),
)
FAILED_UNDOS = Metric(
    "Sagas",
    "saga_failed_undos_total",
    "counter",
    "Undos that were given up, which a person has to see to.",
    ("saga", "step"),
)
SWEPT = Metric(
    "Sagas",
    "saga_sweeps_total",
    "counter",
    "Sagas that a sweep has acted on, as they were due.",
    ("saga",),
)
REQUESTS = Metric(
    "HTTP",
    "http_server_request_duration_seconds",
    "histogram",
    "Time to answer a request.",
    ("service", "http_request_method", "http_route", "http_response_status_code"),
    REQUEST,
    by=("service", "http_route"),
)

ALL = tuple(value for value in [*vars().values()] if isinstance(value, Metric))
