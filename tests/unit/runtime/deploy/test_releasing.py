"""What is deployed is found, kept and recorded, or refused before anything is written."""

import importlib
import shutil
import sys

import pytest

from saga.runtime.data_directory import NotOurs
from saga.runtime.deploy import releasing as module
from saga.runtime.deploy.history import deployments
from saga.runtime.deploy.lock import installed_on, lock_here
from saga.runtime.deploy.releasing import Releasing
from saga.runtime.deploy.target import Instance
from saga.runtime.errors import SagaError
from saga.runtime.settings import ORDERS, Settings
from saga.runtime.system.state import System
from saga.runtime.system.wanted import instance_name

WRAP, SEND = "parcel.wrap", "parcel.send"
STACK = 'service = "{0}"\npackage = "{0}"\ndatabase = "{0}"\n[functions.wrap]\n[functions.send]\n'


class FakeTarget:
    """Runs whatever it is given, on an image as `docker build` left it last."""

    shares_ports = True

    def __init__(self):
        self.image = "sha256:1"
        self.running = {}

    def instances(self):
        return [*self.running.values()]

    def check(self, release, numbers):
        pass

    def start(self, release, number):
        name = instance_name(release.name, number)
        image = release.provenance.image or self.image
        self.running[name] = Instance(
            name,
            release.name,
            "function",
            release.version,
            "ready",
            image=image,
            generation=release.generation,
        )
        return name

    def is_ready(self, name):
        return True

    def keep(self, name):
        pass

    def remove(self, names):
        for name in names:
            del self.running[name]


@pytest.fixture
def target(monkeypatch):
    found = FakeTarget()
    monkeypatch.setattr(module, "open_target", lambda _: found)
    return found


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The code of two services."""
    (tmp_path / "stacks").mkdir()
    for service in ("parcel", "letter"):
        (tmp_path / "stacks" / f"{service}.toml").write_text(STACK.format(service))
        (tmp_path / service).mkdir()
        (tmp_path / service / "wrap.py").write_text("PAPER = 'red'")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("parcel", "letter"):
        sys.modules.pop(name, None)


def edit(project, colour, service="parcel"):
    (project / service / "wrap.py").write_text(f"PAPER = '{colour}'")


def system(project, name="saga", target="docker"):
    return Releasing(
        Settings(
            saga_data=project / name,
            saga_system=name,
            saga_target=target,
            saga_stacks=project / "stacks",
            saga_artifacts=str(project / "shelf"),
        ),
        lambda _: None,
    )


@pytest.mark.usefixtures("target")
def test_stacks_of_the_running_system_are_meant_where_there_are_none_here(
    project, tmp_path_factory, monkeypatch
):
    started_with = tmp_path_factory.mktemp("orders")
    running = System(broker="127.0.0.1:9", stacks=started_with, processes=[])
    monkeypatch.setattr(module, "read_system", lambda _: running)
    monkeypatch.delenv("SAGA_STACKS", raising=False)

    def meant(folder):
        monkeypatch.chdir(folder)
        return Releasing(Settings(), lambda _: None).settings.saga_stacks.absolute()

    assert meant(started_with) == started_with
    assert meant(project) == project / "stacks"
    monkeypatch.setenv("SAGA_STACKS", str(ORDERS))
    assert meant(started_with) == ORDERS


def files(folder):
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_dry_run_writes_nothing_anywhere(project, target):
    before = files(project)
    changes = system(project).dry_run([])
    assert [change.release.name for change in changes] == [
        *("letter.wrap", "letter.send"),
        *(WRAP, SEND),
    ]
    assert files(project) == before
    assert target.running == {}


def test_dry_run_tells_what_is_in_the_way(project, target):
    def check(release, numbers):
        raise SagaError("no image")

    target.check = check
    with pytest.raises(SagaError, match="no image"):
        system(project).dry_run([WRAP])


def test_refused_deploy_writes_nothing_into_a_folder_of_somebody_elses(project, target):
    (project / "saga").mkdir()
    (project / "saga/letters.txt").touch()
    before = files(project)
    with pytest.raises(NotOurs):
        system(project).deploy([WRAP])
    assert files(project) == before


def test_image_that_a_version_ran_on_is_recorded_and_comes_back_with_it(project, target):
    one = system(project)
    one.deploy([WRAP])
    edit(project, "blue")
    target.image = "sha256:2"
    one.deploy([WRAP])
    one.roll_back(WRAP, None)
    [instance] = target.running.values()
    assert instance.image == "sha256:1"
    past = deployments(one.store, "saga/docker", WRAP)
    assert [entry.image for entry in past] == ["sha256:1", "sha256:2", "sha256:1"]
    assert [entry.replaced_image for entry in past] == [None, "sha256:1", "sha256:2"]


def test_more_instances_run_the_image_of_the_first(project, target):
    one = system(project)
    one.deploy([WRAP])
    target.image = "sha256:2"
    one.scale({WRAP: 2})
    assert {instance.image for instance in target.running.values()} == {"sha256:1"}


def test_forced_rollback_takes_the_image_that_is_there(project, target):
    one = system(project)
    one.deploy([WRAP])
    edit(project, "blue")
    target.image = "sha256:2"
    one.deploy([WRAP])
    one.roll_back(WRAP, None, force=True)
    assert [instance.image for instance in target.running.values()] == ["sha256:2"]


def test_instance_that_is_gone_when_it_is_recorded_has_no_image(project, target):
    def is_ready(name):
        target.running.clear()
        return True

    target.is_ready = is_ready
    system(project).deploy([WRAP])
    [entry] = deployments(system(project).store, "saga/docker", WRAP)
    assert entry.image is None


@pytest.fixture
def staged(project, target):
    """A version that another system has run, and whose code is here no more."""
    [release] = system(project, "staging").deploy([WRAP])
    target.running.clear()
    edit(project, "blue")
    return release.version


def test_version_that_another_system_has_run_is_deployed_as_it_ran_there(project, target, staged):
    target.image = "sha256:2"
    system(project).deploy([f"{WRAP}@{staged[:8]}"])
    [instance] = target.running.values()
    assert (instance.version, instance.image) == (staged, "sha256:1")
    [entry] = deployments(system(project).store, "saga/docker", WRAP)
    assert (entry.version, entry.image) == (staged, "sha256:1")
    assert len(deployments(system(project).store, "staging/docker")) == 1


def test_promoted_version_needs_no_code_here(project, target, staged):
    shutil.rmtree(project / "stacks")
    shutil.rmtree(project / "parcel")
    system(project).deploy([f"{WRAP}@{staged}"])
    assert [instance.version for instance in target.running.values()] == [staged]


def test_another_function_of_the_promoted_service_is_in_it(project, target, staged):
    [release] = system(project).deploy([f"{SEND}@{staged}"])
    assert (release.name, release.version) == (SEND, staged)


def test_forced_promotion_takes_the_image_that_is_there(project, target, staged):
    target.image = "sha256:2"
    system(project).deploy([f"{WRAP}@{staged}"], force=True)
    assert [instance.image for instance in target.running.values()] == ["sha256:2"]


def test_promoted_version_runs_beside_code_of_here(project, target, staged):
    releases = system(project).deploy([f"{WRAP}@{staged}", SEND])
    assert {release.name: release.version == staged for release in releases} == {
        WRAP: True,
        SEND: False,
    }


REFUSED = {
    "one version twice": (
        [f"{WRAP}@{{0}}", WRAP],
        "parcel.wrap is named twice",
    ),
    "no such function in it": (["parcel.post@{0}"], "version {1} has no parcel.post"),
    "another service's": (["letter.wrap@{0}"], "that is a version of parcel, not of this service"),
    "never run": ([f"{WRAP}@ffff"], "no system that shares this artifact store has run it"),
    "no version": ([f"{WRAP}@"], "give 4 digits of a version at least"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_version_that_can_not_be_promoted_is_told_and_nothing_starts(project, target, staged, case):
    words, told = REFUSED[case]
    with pytest.raises(SagaError) as error:
        system(project).deploy([word.format(staged) for word in words])
    assert told.format(staged, staged[:12]) in str(error.value)
    assert target.running == {}


def test_promoted_version_whose_artifact_is_gone_is_told(project, target, staged):
    (project / f"shelf/artifacts/{staged}.zip").unlink()
    with pytest.raises(SagaError, match="is not in the store"):
        system(project).deploy([f"{WRAP}@{staged}"])


@pytest.fixture
def ribbon(project, tmp_path, monkeypatch):
    """Installs a package that the code imports, in some version."""
    place = tmp_path / "site-packages"

    def install(version):
        shutil.rmtree(place, ignore_errors=True)
        info = place / f"ribbon-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ribbon\nVersion: {version}\n")
        (info / "top_level.txt").write_text("ribbon\n")
        (place / "ribbon.py").touch()
        importlib.invalidate_caches()
        lock_here.cache_clear()
        installed_on.cache_clear()

    install("1.0")
    monkeypatch.syspath_prepend(place)
    (project / "parcel/wrap.py").write_text("import ribbon")
    return install


def test_process_is_not_rolled_back_to_what_ran_on_other_packages(project, target, ribbon):
    one = system(project, target="process")
    [old] = one.deploy([WRAP])
    ribbon("2.0")
    edit(project, "blue")
    one = system(project, target="process")
    one.deploy([WRAP])
    before, there = dict(target.running), files(project)
    with pytest.raises(SagaError) as error:
        one.roll_back(WRAP, None)
    assert str(error.value) == (
        f"{WRAP} {old.version[:12]} ran on other packages than are installed here: "
        "ribbon 1.0 -> 2.0; install those again, or run it on these with --force"
    )
    assert (target.running, files(project)) == (before, there)
    one.roll_back(WRAP, None, force=True)
    assert [instance.version for instance in target.running.values()] == [old.version]
    past = deployments(one.store, "saga/process", WRAP)
    assert past[0].lock != past[2].lock


def test_process_is_rolled_back_to_what_ran_on_these_packages(project, target, ribbon):
    [old] = system(project, target="process").deploy([WRAP])
    edit(project, "blue")
    system(project, target="process").deploy([WRAP])
    system(project, target="process").roll_back(WRAP, None)
    assert [instance.version for instance in target.running.values()] == [old.version]


def test_process_is_not_promoted_from_other_packages(project, target, ribbon):
    [release] = system(project, "staging", "process").deploy([WRAP])
    target.running.clear()
    ribbon("2.0")
    with pytest.raises(SagaError, match=r"ribbon 1\.0 -> 2\.0"):
        system(project, target="process").deploy([f"{WRAP}@{release.version}"])
    system(project, target="process").deploy([f"{WRAP}@{release.version}"], force=True)
    assert [instance.version for instance in target.running.values()] == [release.version]


def test_more_of_what_runs_need_no_look_at_packages(project, target, ribbon):
    system(project, target="process").deploy([WRAP])
    ribbon("2.0")
    system(project, target="process").scale({WRAP: 2})
    assert len(target.running) == 2


def test_containers_have_their_packages_in_their_image(project, target, ribbon):
    one = system(project)
    one.deploy([WRAP])
    ribbon("2.0")
    edit(project, "blue")
    one.deploy([WRAP])
    one.roll_back(WRAP, None)
    assert {entry.lock for entry in deployments(one.store, "saga/docker")} == {None}


def test_dry_run_of_a_process_writes_nothing_either(project, target, ribbon):
    before = files(project)
    system(project, target="process").dry_run([WRAP])
    assert files(project) == before


def test_what_was_never_deployed_is_not_rolled_back(project, target):
    with pytest.raises(SagaError, match=r"^no deployment of parcel\.wrp is known"):
        system(project).roll_back("parcel.wrp", None)


def test_adapter_has_no_more_instances_than_a_stack_file_may_say(project, target):
    (project / "stacks/parcel.toml").write_text(
        'adapter = "parcel.wrap"\nport = 8200\n' + STACK.format("parcel")
    )
    here = system(project)
    here.deploy(["parcel"])
    with pytest.raises(SagaError, match="parcel can have 100 instances at most"):
        here.scale({"parcel": 101})
    assert [*target.running] == ["parcel"]


def test_deploy_begins_a_generation_and_what_is_scaled_joins_it(project, target):
    generations = lambda: [instance.generation for instance in target.running.values()]  # noqa: E731
    system(project).deploy([WRAP])
    [first] = generations()
    system(project).scale({WRAP: 2})
    assert generations() == [first, first]
    system(project).deploy([WRAP], force=True)
    assert len({*generations()}) == 1
    assert first not in generations()
    system(project).scale({WRAP: 0})
    system(project).scale({WRAP: 2})
    assert len({*generations()}) == 1


@pytest.mark.parametrize("from_then_on", [["remove"], ["is_ready", "remove"]])
def test_forced_deploy_that_was_killed_leaves_as_many_as_before(
    project, target, monkeypatch, from_then_on
):
    def killed(*_):
        raise SystemError("killed")

    system(project).deploy([WRAP])
    system(project).scale({WRAP: 2})
    with monkeypatch.context() as patch:
        for name in from_then_on:
            patch.setattr(target, name, killed)
        with pytest.raises(SystemError):
            system(project).deploy([WRAP], force=True)
    assert len(target.running) == 4
    system(project).deploy([WRAP], force=True)
    assert len(target.running) == 2
