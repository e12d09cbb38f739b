"""The project of docker-compose's that a system runs in, which knows its containers by labels.

A container that is deployed takes the place of the project's own one, with its labels: so
`docker-compose down`, `stop`, `ps` and `logs` mean it, too. `up` makes a container anew where the
hash of its service in the file, which is a label, is not the file's; it leaves ours as it is.
"""

from collections.abc import Mapping, Sequence

PREFIX = "com.docker.compose."
PROJECT, SERVICE = PREFIX + "project", PREFIX + "service"
NUMBER, ONE_OFF = PREFIX + "container-number", PREFIX + "oneoff"
HASH = PREFIX + "config-hash"
NO_HASH = "deployed"  # of a service that never ran from the file; Compose 2 passes over one without
PASSING = (PREFIX + "slug", PREFIX + "replace")  # of one container alone


def service_name(name: str) -> str:
    """Return the name of a function's, saga's or adapter's service in docker-compose.yml."""
    return name if "." in name else f"{name}-http"


def project_labels(others: Sequence[Mapping[str, str]], name: str, number: int) -> dict[str, str]:
    """Return the labels that put a container into the project that others are in, if any are.

    `others` has the labels of the system's other containers.
    """
    inside = [labels for labels in others if PROJECT in labels]
    if not inside:
        return {}
    service = service_name(name)
    before = next((labels for labels in inside if labels.get(SERVICE) == service), None)
    if before is None:
        kept = {key: value for key, value in inside[0].items() if key.startswith(PROJECT)}
        kept[HASH] = NO_HASH
    else:
        kept = {key: value for key, value in before.items() if key.startswith(PREFIX)}
    own = {SERVICE: service, NUMBER: str(number), ONE_OFF: "False"}
    return {key: value for key, value in (kept | own).items() if key not in PASSING}
