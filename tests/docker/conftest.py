"""What the tests on a Docker engine share: the engine, with all images."""

import gc
import subprocess
import warnings
from collections.abc import Iterator

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

from saga.runtime.settings import Settings
from support.images import STAND_INS
from support.missing import missing, need_programs


def connect() -> docker.DockerClient:
    with warnings.catch_warnings():
        # The client forgets to close the socket where nobody answers.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return docker.from_env()
        except DockerException as error:
            reason = f"no Docker engine answers: run tests/docker/engine ({error})"
        gc.collect()
    return missing(reason)


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The Docker engine, with all images that a system is made of."""
    client = connect()
    need_programs("docker-compose", packages="docker-compose")
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        missing("`docker compose` is missing: run tests/docker/engine")
    own = Settings.model_fields["saga_image"].default
    for image in (own, *STAND_INS.values(), "saga-test/systemd"):
        try:
            client.images.get(image)
        except ImageNotFound:
            missing(f"there is no image {image}: run tests/docker/images")
    yield client
    client.close()
