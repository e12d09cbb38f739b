"""What a start finds of earlier ones."""

from saga.runtime.deploy.first_versions import prepare, record
from saga.runtime.deploy.history import deployments
from saga.runtime.deploy.store import open_store
from saga.runtime.settings import Settings
from saga.runtime.system.stack import find_stacks


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
        record(settings, versions)
    store = open_store(settings.artifacts)
    assert len(store.keys("deploys/")) == 1
    found = deployments(store, settings.deployed_on)
    assert {entry.name: entry.version for entry in found} == versions
    for entry in found:
        assert store.get(f"locks/{entry.lock}.txt")


def test_version_whose_files_have_changed_since_is_recorded_without_its_origin(tmp_path):
    settings = Settings(saga_data=tmp_path)
    record(settings, {"order.create_order": "0f" * 32})
    [entry] = deployments(open_store(settings.artifacts), settings.deployed_on)
    assert (entry.version, entry.commit, entry.lock) == ("0f" * 32, None, None)
