"""What a start finds of earlier ones."""

import shutil

import pytest

from saga.runtime.deploy import first_versions, history, lock
from saga.runtime.deploy.artifact import ArtifactError, is_whole
from saga.runtime.deploy.first_versions import prepare, record, recover, restore
from saga.runtime.deploy.history import deployments
from saga.runtime.deploy.store import open_store
from saga.runtime.settings import Settings
from saga.runtime.system.stack import find_stacks
from saga.runtime.system.wanted import Wanted, read_record, write_wanted


def running(*found):
    return {str(n): Wanted(deployed=of, version=v) for n, (of, v) in enumerate(found)}


def test_a_start_removes_earlier_versions_and_nothing_of_the_users(tmp_path):
    for name in ("mine", "0f" * 32):
        (tmp_path / "code" / name).mkdir(parents=True)
    prepare(Settings(saga_data=tmp_path), {})
    assert [path.name for path in (tmp_path / "code").iterdir()] == ["mine"]


def test_first_versions_are_recorded_with_their_packages_and_once(tmp_path):
    settings = Settings(saga_data=tmp_path)
    wanted = prepare(settings, find_stacks(settings.saga_stacks))
    versions = {one.deployed: one.version for one in wanted.values()}
    for _ in range(2):
        record(settings, wanted)
    store = open_store(settings.artifacts)
    assert len(store.keys("deploys/")) == 1
    found = deployments(store, settings.deployed_on)
    assert {entry.name: entry.version for entry in found} == versions
    for entry in found:
        assert store.get(f"locks/{entry.lock}.txt")


def test_version_whose_files_have_changed_since_is_recorded_without_its_origin(tmp_path):
    settings = Settings(saga_data=tmp_path)
    record(settings, running(("order.create_order", "0f" * 32)))
    [entry] = deployments(open_store(settings.artifacts), settings.deployed_on)
    assert (entry.version, entry.commit, entry.lock) == ("0f" * 32, None, None)


def test_what_a_deploy_replaces_meanwhile_is_recorded_by_that_alone(tmp_path, monkeypatch):
    settings = Settings(saga_data=tmp_path)
    store, system = open_store(settings.artifacts), settings.deployed_on

    def while_it_is_deployed(*_):
        history.record(store, [history.deployment(system, "order", "new")])
        return {}

    monkeypatch.setattr(first_versions, "_provenances", while_it_is_deployed)
    record(settings, running(("order", "old"), ("user", "old"), ("shop", "old"), ("shop", "new")))
    found = [(entry.name, entry.version) for entry in deployments(store, system)]
    assert found == [("order", "new"), ("user", "old")]


def test_code_that_a_power_cut_has_spoilt_is_unpacked_anew(tmp_path):
    settings = Settings(saga_data=tmp_path)
    stacks = {path: one for path, one in find_stacks(settings.saga_stacks).items() if one.port}
    wanted = prepare(settings, stacks)
    write_wanted(tmp_path, wanted)
    places = {tmp_path / "code" / one.version for one in wanted.values()}
    assert len(places) == 4
    spoilt, gone, unreadable, _ = places
    (spoilt / "stack.toml").write_text("")
    (unreadable / "lost.py").symlink_to("/proc/self/mem")  # which nobody can read from its begin
    shutil.rmtree(gone)
    assert recover(settings).wanted == wanted
    assert [place for place in places if not is_whole(place)] == []


def test_code_whose_artifact_is_gone_stays_as_it_is(tmp_path):
    settings = Settings(saga_data=tmp_path)
    place = tmp_path / "code" / ("0f" * 32)
    place.mkdir(parents=True)
    write_wanted(tmp_path, {"a.f": Wanted(deployed="a.f", version=place.name)})
    assert list(recover(settings).wanted) == ["a.f"]
    assert place.exists()


@pytest.mark.parametrize("how", ["whole folder", "one file"])
def test_code_that_was_removed_is_unpacked_anew(tmp_path, how):
    settings = Settings(saga_data=tmp_path)
    version = next(iter(prepare(settings, find_stacks(settings.saga_stacks)).values())).version
    code = tmp_path / "code" / version
    before = {path.relative_to(code) for path in code.rglob("*")}
    if how == "whole folder":
        shutil.rmtree(tmp_path / "code")
    else:
        next(code.rglob("*.py")).unlink()
    restore(settings, version)
    assert {path.relative_to(code) for path in code.rglob("*")} == before
    shutil.rmtree(tmp_path / "artifacts")
    restore(settings, version)  # it is whole
    (code / "stack.toml").unlink()
    with pytest.raises(ArtifactError, match=r"code was removed, and artifact .* `saga up` make it"):
        restore(settings, version)


def test_a_damaged_record_is_told_and_brings_back_nothing(tmp_path):
    (tmp_path / "wanted.json").write_text("{")
    found = recover(Settings(saga_data=tmp_path))
    assert found.wanted is None
    assert "its record is damaged" in found.told


@pytest.fixture
def left(tmp_path, monkeypatch):
    """What a kill leaves: versions that are wanted and recorded, with what they ran on."""
    settings = Settings(saga_data=tmp_path)
    wanted = prepare(settings, find_stacks(settings.saga_stacks))
    record(settings, wanted)
    write_wanted(tmp_path, wanted)
    return settings, wanted


def test_what_ran_on_these_packages_is_brought_back(left):
    settings, wanted = left
    assert recover(settings).wanted == wanted


def test_what_ran_on_other_packages_is_not_brought_back(left, monkeypatch):
    settings, _ = left
    here = {**lock.lock_here((), ()), "ribbon": "2.0"}
    monkeypatch.setattr(lock, "lock_here", lambda *_: here)
    before = read_record(settings.saga_data)
    told = (
        r"^orchestrator \w{12} ran on other packages than are installed here: "
        r"ribbon none -> 2\.0; install those again, "
        r"or `saga up --fresh` starts the code as it is now$"
    )
    with pytest.raises(ArtifactError, match=told):
        recover(settings)
    assert read_record(settings.saga_data) == before


def test_what_is_known_of_no_packages_is_brought_back_as_it_is(left, monkeypatch):
    settings, wanted = left
    shutil.rmtree(settings.saga_data / "artifacts" / "deploys")
    monkeypatch.setattr(lock, "lock_here", lambda *_: {"ribbon": "2.0"})
    assert recover(settings).wanted == wanted
