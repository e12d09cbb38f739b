"""The labels by which docker-compose takes a deployed container for one of its project's."""

from saga.runtime.deploy.compose_project import project_labels, service_name

PREFIX = "com.docker.compose."
KAFKA = {
    f"{PREFIX}project": "shop",
    f"{PREFIX}project.config_files": "docker-compose.yml",
    f"{PREFIX}service": "kafka",
    f"{PREFIX}config-hash": "1234",
    f"{PREFIX}container-number": "1",
    f"{PREFIX}oneoff": "False",
    "saga.kind": "broker",
}
ORDER = {
    **KAFKA,
    f"{PREFIX}service": "order-http",
    f"{PREFIX}config-hash": "5678",
    f"{PREFIX}image": "sha256:90",
    f"{PREFIX}slug": "abc",
    f"{PREFIX}replace": "def",
    "saga.kind": "adapter",
}


def test_system_outside_of_docker_compose_gets_none() -> None:
    assert project_labels([], "order", 1) == {}
    assert project_labels([{"saga.kind": "broker"}], "order", 1) == {}


def test_successor_takes_over_what_its_service_is_known_by() -> None:
    """The file's hash of the service among it: `up` sees nothing to do."""
    assert project_labels([{}, KAFKA, ORDER], "order", 2) == {
        f"{PREFIX}project": "shop",
        f"{PREFIX}project.config_files": "docker-compose.yml",
        f"{PREFIX}service": "order-http",
        f"{PREFIX}config-hash": "5678",
        f"{PREFIX}image": "sha256:90",
        f"{PREFIX}container-number": "2",
        f"{PREFIX}oneoff": "False",
    }


def test_service_that_did_not_run_is_in_the_project_with_a_hash_that_no_file_has() -> None:
    assert project_labels([KAFKA, ORDER], "order.create_order", 1) == {
        f"{PREFIX}project": "shop",
        f"{PREFIX}project.config_files": "docker-compose.yml",
        f"{PREFIX}service": "order.create_order",
        f"{PREFIX}config-hash": "deployed",
        f"{PREFIX}container-number": "1",
        f"{PREFIX}oneoff": "False",
    }


def test_container_that_ran_once_by_hand_makes_no_other_like_it() -> None:
    once = {**ORDER, f"{PREFIX}oneoff": "True"}
    assert project_labels([once], "order", 1)[f"{PREFIX}oneoff"] == "False"


def test_adapter_has_a_name_of_its_own_there() -> None:
    assert [service_name(name) for name in ("order", "order.create_order")] == [
        "order-http",
        "order.create_order",
    ]
