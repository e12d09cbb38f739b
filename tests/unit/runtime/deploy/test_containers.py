"""What a container is made of, shown without an engine; what its errors say."""

import io
import json
import tarfile
from types import SimpleNamespace

import docker
import pytest
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from saga.runtime.deploy.artifact import Artifact, bundle, contents
from saga.runtime.deploy.container import USER
from saga.runtime.deploy.container_options import code_archive
from saga.runtime.deploy.container_state import to_instance
from saga.runtime.deploy.containers import Containers, explain
from saga.runtime.deploy.provenance import Provenance
from saga.runtime.deploy.target import Release
from saga.runtime.errors import SagaError, StackError
from saga.runtime.settings import ORDERS, Settings
from saga.runtime.system.stack import Stack, find_stacks

SECRET = "hunter2"  # in every value that nobody may see
STACK = Stack.model_validate(
    {
        "service": "shop",
        "package": "shop",
        "database": "pantry",
        "adapter": "shop.http",
        "port": 8007,
        "memory": "512m",
        "environment": {"LEVEL": "1"},
        "functions": {
            "bake": {
                "secrets": ["OVEN_PIN"],
                "cpu": 0.5,
                "memory": "2g",
                "environment": {"COLOUR": "red"},
            },
            "sell": {"secrets": ["BANK_PIN"]},
        },
    }
)


class FakeContainer:
    """Takes what is put into it."""

    def __init__(self, fails=""):
        self.files = {}
        self.done = []
        self._fails = fails

    def put_archive(self, path, data):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                self.files[f"{path}/{entry.name}"] = (entry, archive.extractfile(entry).read())

    def start(self):
        if self._fails:
            raise APIError(self._fails)
        self.done.append("start")

    def remove(self, **_):
        self.done.append("remove")


class FakeDocker:
    """An engine with an image, a network and no container."""

    def __init__(self):
        self.container = FakeContainer()
        self.created = []
        self.image = "saga-functions:test"
        self.taken = set()
        self.made = []
        self.volumes = SimpleNamespace(list=lambda filters: [])
        self.networks = SimpleNamespace(
            list=lambda names: [], create=lambda name, **options: self.made.append((name, options))
        )
        self.images = SimpleNamespace(get=self._image)
        self.others = []
        self.containers = SimpleNamespace(
            create=self._create, get=self._get, list=lambda **_: self.others
        )

    def ping(self):
        pass

    def _image(self, name):
        if name != self.image:
            raise ImageNotFound(name)

    def _get(self, name):
        if name not in self.taken:
            raise NotFound(name)
        return SimpleNamespace(labels={})

    def _create(self, **options):
        self.created.append(options)
        return self.container


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch, tmp_path):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("SAGA_SECRETS", str(tmp_path / "none"))
    monkeypatch.setenv("OVEN_PIN", f"{SECRET}-oven")
    monkeypatch.setenv("BANK_PIN", f"{SECRET}-bank")
    monkeypatch.setenv("SHOP_DATABASE_PASSWORD", f"{SECRET}-shop")
    monkeypatch.setenv("PANTRY_DATABASE_PASSWORD", f"{SECRET}/db")


@pytest.fixture
def engine(monkeypatch):
    fake = FakeDocker()
    monkeypatch.setattr(docker, "from_env", lambda **_: fake)
    return fake


@pytest.fixture(scope="module")
def artifact():
    path, stack = next(iter(find_stacks(ORDERS).items()))
    return bundle(path, stack)


def start(name, artifact=None, number=1, image=None, generation="", **settings):
    version = artifact.version if artifact else "image"
    target = Containers(Settings(saga_image="saga-functions:test", **settings))
    release = Release(name, STACK, version, artifact, Provenance(image=image), generation)
    target.check(release, [number])
    return target.start(release, number)


def put(engine, folder="/run/secrets/"):
    files = engine.container.files.items()
    return {path.removeprefix(folder): data for path, (_, data) in files if folder in path}


def test_container_is_named_and_labelled_for_its_system(engine):
    assert start("shop.bake", number=2, saga_system="bakery") == "shop.bake-2"
    [options] = engine.created
    assert options["name"] == "bakery-shop.bake-2"
    assert options["labels"] == {
        "saga.system": "bakery",
        "saga.stack": "shop",
        "saga.kind": "function",
        "saga.name": "shop.bake",
        "saga.version": "image",
    }
    assert options["network"] == "bakery"
    assert engine.made == [("bakery", {"driver": "bridge", "labels": {"saga.system": "bakery"}})]
    assert engine.container.done == ["start"]


def test_container_is_in_the_project_of_docker_compose_that_its_system_runs_in(engine):
    labels = {"com.docker.compose.project": "shop", "saga.kind": "broker"}
    engine.others = [SimpleNamespace(labels=labels)]
    start("shop.bake")
    [options] = engine.created
    found = options["labels"]
    assert found["com.docker.compose.project"] == "shop"
    assert found["com.docker.compose.service"] == found["saga.name"] == "shop.bake"
    assert found["saga.kind"] == "function"


def test_container_may_do_little(engine):
    start("shop.bake")
    [options] = engine.created
    assert options["image"] == "saga-functions:test"
    assert options["command"] == ["run", "shop.bake"]
    assert options["user"] == "10001:10001"
    assert options["read_only"] is True
    assert options["cap_drop"] == ["ALL"]
    assert options["security_opt"] == ["no-new-privileges"]
    assert not options.get("privileged")


@pytest.mark.parametrize(
    ("name", "memory", "cpus"),
    [
        ("shop.bake", "2g", 500_000_000),
        ("shop.sell", "512m", None),
        ("shop", "512m", None),
    ],
)
def test_limits_are_those_of_the_stack_file(engine, name, memory, cpus):
    start(name)
    [options] = engine.created
    assert (options["mem_limit"], options["nano_cpus"]) == (memory, cpus)
    assert options["pids_limit"] > 0


def test_adapter_is_published_on_its_port_and_a_function_is_not(engine):
    start("shop", saga_host="127.0.0.2")
    start("shop.bake")
    adapter, function = engine.created
    assert adapter["ports"] == {"8007/tcp": ("127.0.0.2", 8007)}
    assert adapter["labels"]["saga.kind"] == "adapter"
    assert function["ports"] == {}


def test_container_of_a_deploy_is_labelled_with_its_generation(engine):
    start("shop.bake", generation="second")
    [options] = engine.created
    assert options["labels"]["saga.generation"] == "second"
    host = {"PortBindings": None}
    attrs = {"State": {"Pid": 1}, "HostConfig": host, "Image": "sha256:1"}
    container = SimpleNamespace(
        name="saga-shop.bake", status="running", attrs=attrs, labels=options["labels"]
    )
    assert to_instance(container).generation == "second"


def test_rehearsal_is_not_published_and_is_nobodys_instance(engine):
    engine.others = [SimpleNamespace(labels={"com.docker.compose.project": "shop"})]
    target = Containers(Settings(saga_image="saga-functions:test"))
    assert target.rehearse(Release("shop", STACK, "image", None)) == "shop-rehearsal"
    [options] = engine.created
    assert options["name"] == "saga-shop-rehearsal"
    assert options["ports"] == {}
    labels = options["labels"]
    assert labels["saga.kind"] == labels["saga.version"] == "rehearsal"
    assert not [label for label in labels if label.startswith("com.docker.compose")]
    assert put(engine).keys() == {"saga_database_url"}


def test_container_that_was_prepared_is_only_started(engine):
    target = Containers(Settings(saga_image="saga-functions:test"))
    release = Release("shop", STACK, "image", None)
    target.prepare(release, 2)
    assert (len(engine.created), engine.container.done) == (1, [])
    assert target.start(release, 2) == "shop-2"
    assert (len(engine.created), engine.container.done) == (1, ["start"])


def test_environment_is_the_stack_files_with_the_runtimes_own_on_top(engine):
    start(
        "shop.bake",
        kafka_security_protocol="sasl_ssl",
        saga_log_level="DEBUG",
        saga_metrics_port=0,
        saga_console="read-only",
        saga_hosts="shop.example",
    )
    [options] = engine.created
    assert options["environment"] == {
        "LEVEL": "1",
        "COLOUR": "red",
        "SAGA_HOSTS": "shop.example",
        "KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
        "SAGA_LOG_LEVEL": "DEBUG",
        "SAGA_METRICS_PORT": "0",
        "SAGA_CONSOLE": "read-only",
        "SAGA_LOG_FORMAT": "text",
        "SAGA_ACCESS_LOG": "true",
        "SAGA_VERSION": "image",
        "SAGA_REPLICAS": "1",
    }


def test_what_is_set_of_traces_is_passed_on_but_for_what_may_be_a_key(engine, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://there:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "key=hunter2")
    start("shop.bake")
    [options] = engine.created
    set_of_it = {k: v for k, v in options["environment"].items() if k.startswith("OTEL_")}
    assert set_of_it == {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there:4318"}


def test_function_gets_its_own_secrets_and_its_own_database_as_files(engine):
    start("shop.bake")
    assert put(engine) == {
        "OVEN_PIN": b"hunter2-oven",
        "saga_database_url": b"postgresql://pantry:hunter2%2Fdb@postgres/pantry",
    }


def test_adapter_gets_no_functions_secrets(engine):
    start("shop")
    assert put(engine).keys() == {"saga_database_url"}


def test_whole_url_of_a_database_is_passed_on(engine):
    start("shop.bake", saga_database_url=f"postgresql://u:{SECRET}@db/{{service}}")
    assert put(engine)["saga_database_url"] == b"postgresql://u:hunter2@db/pantry"


def test_files_that_kafka_needs_are_secrets_and_their_settings_name_them_there(engine, tmp_path):
    (tmp_path / "ca.pem").write_text("the certificate")
    start(
        "shop.bake",
        kafka_ssl_ca_location=str(tmp_path / "ca.pem"),
        kafka_sasl_username="ann",
        kafka_sasl_password=SECRET,
    )
    found = put(engine)
    assert found["kafka_ssl_ca_location"] == b"the certificate"
    assert found["kafka_sasl_password"] == SECRET.encode()
    environment = engine.created[0]["environment"]
    assert environment["KAFKA_SSL_CA_LOCATION"] == "/run/secrets/kafka_ssl_ca_location"
    assert environment["KAFKA_SASL_USERNAME"] == "ann"
    assert "KAFKA_SASL_PASSWORD" not in environment


def test_missing_file_that_kafka_needs_is_told_and_nothing_is_made(engine, tmp_path):
    with pytest.raises(SagaError, match=r"^KAFKA_SSL_CA_LOCATION: .*No such file"):
        start("shop.bake", kafka_ssl_ca_location=str(tmp_path / "none.pem"))
    assert engine.created == []


@pytest.mark.parametrize("name", ["shop.bake", "shop.sell", "shop"])
def test_no_secret_is_in_anything_that_the_engine_shows(engine, artifact, name):
    password = {"kafka_sasl_password": SECRET, "kafka_sasl_username": "ann"}
    start(name, artifact, **password, saga_database_url=f"postgresql://u:{SECRET}@db/x")
    assert SECRET in json.dumps([data.decode() for data in put(engine).values()])
    assert SECRET not in repr(engine.created)
    assert not [path for path, (_, data) in code(engine) if SECRET.encode() in data]


def code(engine):
    return [item for item in engine.container.files.items() if item[0].startswith("/code/")]


def test_secrets_can_be_read_by_the_containers_user_alone(engine):
    start("shop.bake")
    entries = [entry for entry, _ in engine.container.files.values()]
    assert {(e.mode, e.uid, e.gid) for e in entries} == {(0o400, USER, USER)}
    assert all(entry.isreg() for entry in entries)


def test_code_can_be_read_and_not_written_by_the_containers_user(engine, artifact):
    start("shop.bake", artifact)
    found = code(engine)
    assert {(e.mode, e.uid, e.gid) for _, (e, _) in found} == {(0o644, 0, 0)}
    assert "/code/stack.toml" in dict(found)
    [options] = engine.created
    assert options["environment"]["SAGA_CODE"] == options["environment"]["SAGA_STACKS"] == "/code"
    assert {mount["Target"] for mount in options["mounts"]} == {"/code", "/run/secrets"}
    assert {mount["Type"] for mount in options["mounts"]} == {"volume"}
    owners = [mount["VolumeOptions"]["Labels"]["saga.system"] for mount in options["mounts"]]
    assert owners == ["saga", "saga"]


def test_version_of_the_image_gets_no_code(engine):
    start("shop.bake")
    [options] = engine.created
    assert code(engine) == []
    assert "SAGA_CODE" not in options["environment"]
    assert [mount["Target"] for mount in options["mounts"]] == ["/run/secrets"]


def test_missing_secret_is_told_before_anything_is_made(engine, monkeypatch):
    monkeypatch.delenv("OVEN_PIN")
    with pytest.raises(StackError, match="no secret OVEN_PIN"):
        start("shop.bake")
    assert engine.created == []


def test_missing_image_is_told_with_how_to_build_it(engine):
    engine.image = "another"
    with pytest.raises(SagaError, match=r"^image saga-functions:test is not on .* `make image`"):
        start("shop.bake")
    assert engine.created == []


def test_container_runs_the_image_that_its_version_ran_on(engine):
    engine.image = "sha256:old"
    start("shop.bake", image="sha256:old")
    [options] = engine.created
    assert options["image"] == "sha256:old"


def test_image_that_the_version_ran_on_and_that_is_gone_is_told(engine):
    with pytest.raises(
        SagaError,
        match=r"^image sha256:old, which this version ran on, is not on .* "
        r"take saga-functions:test with --force$",
    ):
        start("shop.bake", image="sha256:old")
    assert engine.created == []


def test_foreign_container_of_the_same_name_is_told_and_left_alone(engine):
    engine.taken.add("saga-shop.bake")
    with pytest.raises(SagaError, match=r"^there is a container saga-shop\.bake that is not"):
        start("shop.bake")
    assert engine.created == []


def test_container_that_does_not_start_is_removed(engine):
    engine.container = FakeContainer(fails="port is already allocated")
    with pytest.raises(SagaError, match="a port is taken"):
        start("shop")
    assert engine.container.done == ["remove"]


def test_container_with_a_damaged_artifact_is_removed_unstarted(engine, artifact):
    with pytest.raises(SagaError, match="is damaged"):
        start("shop.bake", Artifact(artifact.version, artifact.data[:-1]))
    assert engine.container.done in ([], ["remove"])


def test_engine_that_is_away_is_one_line_with_its_address(monkeypatch):
    def away(**_):
        raise DockerException("Error while fetching server API version:\nConnection refused")

    monkeypatch.setattr(docker, "from_env", away)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(SagaError) as error:
        Containers(Settings())
    assert str(error.value).startswith("no Docker engine answers at tcp://127.0.0.1:1: ")
    assert "\n" not in str(error.value)


class FakeNetwork:
    """The system's, with the containers that the engine says are on it, of which it knows none."""

    name = "saga"

    def __init__(self, *on_it):
        labels = {"saga.system": "saga"}
        self.attrs = {"Labels": labels, "Containers": {each: {} for each in on_it}}
        self.removed = False

    def reload(self):
        pass

    def remove(self):
        self.removed = True

    @property
    def containers(self):
        raise NotFound("one of them has just gone")


@pytest.mark.parametrize("on_it", [(), ("ep-1",)])
def test_down_removes_its_network_unless_somebody_is_on_it(engine, on_it):
    network = FakeNetwork(*on_it)
    engine.networks.list = lambda names: [network]
    Containers(Settings()).down()
    assert network.removed == (not on_it)


EXPLAINED = {
    "a port": (
        APIError("500", explanation="Bind for 127.0.0.1:8000 failed: port is already allocated"),
        "a port is taken on the engine's machine: Bind for 127.0.0.1:8000",
    ),
    "another's port": (
        APIError("500", explanation="listen tcp4 127.0.0.1:8000: bind: address already in use"),
        "a port is taken on the engine's machine: ",
    ),
    "the disk": (
        APIError("500", explanation="write /var/lib/x: no space left on device"),
        "the engine's disk is full: ",
    ),
    "a network that the engine has miscounted": (
        APIError("403", explanation="error while removing network: saga has active endpoints"),
        "the network counts as used; if nobody is on it, restart the Docker engine: error while ",
    ),
    "anything else": (
        APIError("409", explanation="Conflict.\nThe name is in use\n"),
        "the Docker engine refused: Conflict. The name is in use",
    ),
    "no explanation": (APIError("418 I'm a teapot"), "the Docker engine refused: 418 I'm a teapot"),
    "no engine": (
        DockerException("Connection aborted."),
        "no Docker engine answers at unix:///var/run/docker.sock: is it running? "
        "(Connection aborted.)",
    ),
}


@pytest.mark.parametrize("what", EXPLAINED)
def test_errors_are_explained_in_one_line(monkeypatch, what):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    error, line = EXPLAINED[what]
    assert explain(error).startswith(line)
    assert "\n" not in explain(error)


def test_archive_holds_the_artifacts_files(artifact):
    with tarfile.open(fileobj=io.BytesIO(code_archive(artifact))) as archive:
        files = [(name, archive.extractfile(name).read()) for name in archive.getnames()]
    assert files == [(str(name), data) for name, data in contents(artifact)]
