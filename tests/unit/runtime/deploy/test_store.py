"""A store of artifacts, in a folder and in a bucket: one suite of facts for both."""

import errno
import time
from functools import cache
from pathlib import Path

import boto3
import pytest
from botocore.loaders import JSONFileLoader, Loader
from moto import mock_aws

from saga.runtime.deploy.artifact import Artifact, ArtifactError, version_of
from saga.runtime.deploy.store import FolderStore, S3Store, fetch, open_store, save
from support.ports import free_port

PLACES = ["folder", "s3://shelf", "s3://shelf/of/mine"]
CODE = Artifact(version_of(b"code"), b"code")


@pytest.fixture(scope="module", autouse=True)
def models():
    """Look for boto3's models, and read them, once: each client of another session would anew."""
    load, services = cache(JSONFileLoader().load_file), cache(Loader().list_available_services)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "list_available_services", lambda _, type_name: services(type_name))
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: load(path))
        yield


@pytest.fixture
def s3(monkeypatch):
    """An S3 in this process, with one bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="shelf")
        yield client


@pytest.fixture(params=PLACES)
def store(request, tmp_path):
    if request.param == "folder":
        return open_store(str(tmp_path / "artifacts"))
    request.getfixturevalue("s3")
    return open_store(request.param)


def test_what_was_put_is_got(store):
    store.put("artifacts/1.zip", b"\0code\xff")
    assert store.get("artifacts/1.zip") == b"\0code\xff"


def test_empty_bytes_are_there(store):
    store.put("artifacts/empty", b"")
    assert store.get("artifacts/empty") == b""
    assert store.keys("artifacts/") == ["artifacts/empty"]


def test_what_was_never_put_is_not_there(store):
    assert store.get("artifacts/1.zip") is None
    assert store.keys("artifacts/") == []


def test_later_value_replaces_the_earlier(store):
    store.put("key", b"long, and first")
    store.put("key", b"second")
    assert store.get("key") == b"second"


def test_keys_are_those_of_one_folder_in_order(store):
    for key in ("a/b/2", "a/b/1", "a/c/3", "ab/4", "a/b/10"):
        store.put(key, b"")
    assert store.keys("a/b/") == ["a/b/1", "a/b/10", "a/b/2"]
    assert store.keys("a/") != []
    assert store.keys("none/") == []


def test_function_and_its_adapter_have_keys_of_their_own(store):
    for key in ("deployments/saga/order/1.json", "deployments/saga/order.create_order/2.json"):
        store.put(key, b"")
    assert store.keys("deployments/saga/order/") == ["deployments/saga/order/1.json"]


def test_saved_artifact_is_fetched(store):
    save(store, CODE)
    save(store, CODE)
    assert fetch(store, CODE.version) == CODE
    assert store.keys("artifacts/") == [f"artifacts/{CODE.version}.zip"]


def test_missing_artifact_is_told_by_its_first_digits(store):
    with pytest.raises(ArtifactError, match=f"^artifact {CODE.version[:12]} is not in the store$"):
        fetch(store, CODE.version)


@pytest.mark.parametrize("data", [b"", b"cod", b"Code", b"code "])
def test_damaged_artifact_is_told_and_saving_it_again_mends_it(store, data):
    store.put(f"artifacts/{CODE.version}.zip", data)
    with pytest.raises(ArtifactError, match=f"^artifact {CODE.version[:12]} is damaged"):
        fetch(store, CODE.version)
    save(store, CODE)
    assert fetch(store, CODE.version) == CODE


def test_more_keys_than_one_answer_holds_are_all_listed(s3, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # a real one gives 1,000 at once
    names = [f"many/{number:02d}" for number in range(25)]
    for name in names:
        s3.put_object(Bucket="shelf", Key=f"mine/{name}", Body=b"")
    assert s3.list_objects_v2(Bucket="shelf")["IsTruncated"]
    assert S3Store("s3://shelf/mine").keys("many/") == names


def test_prefix_keeps_systems_in_one_bucket_apart(s3):
    mine, other = S3Store("s3://shelf/mine"), S3Store("s3://shelf/mine2/")
    mine.put("key", b"1")
    other.put("key", b"2")
    assert (mine.get("key"), other.get("key")) == (b"1", b"2")
    found = s3.list_objects_v2(Bucket="shelf")["Contents"]
    assert [entry["Key"] for entry in found] == ["mine/key", "mine2/key"]


CALLS = {
    "put": lambda store: store.put("key", b""),
    "get": lambda store: store.get("key"),
    "keys": lambda store: store.keys("folder/"),
}


@pytest.mark.parametrize("call", CALLS)
def test_missing_bucket_is_one_line_that_names_it(s3, call):
    with pytest.raises(ArtifactError) as told:
        CALLS[call](S3Store("s3://none/mine"))
    assert str(told.value).startswith("the artifact store s3://none/mine: ")
    assert str(told.value).endswith("The specified bucket does not exist")


@pytest.fixture
def nobody(monkeypatch):
    """An endpoint where nobody listens."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it would know credentials of before
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("call", CALLS)
def test_endpoint_that_is_away_is_told_soon(call):
    begin = time.monotonic()
    with pytest.raises(ArtifactError, match=r"^the artifact store s3://shelf: .*connect"):
        CALLS[call](S3Store("s3://shelf"))
    assert time.monotonic() - begin < 120  # seconds


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("call", CALLS)
def test_s3_without_credentials_is_told(monkeypatch, tmp_path, call):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(ArtifactError, match="Unable to locate credentials"):
        CALLS[call](S3Store("s3://shelf"))


def test_folder_that_can_not_be_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = FolderStore(tmp_path / "file" / "artifacts")
    with pytest.raises(ArtifactError, match=r"^the artifact store can't be written: "):
        store.put("a/key", b"")
    with pytest.raises(ArtifactError, match=r"^the artifact store can't be read: "):
        store.get("a/key")
    assert store.keys("a/") == []


def test_full_disk_leaves_the_old_value_and_nothing_else(tmp_path, monkeypatch):
    store = FolderStore(tmp_path)
    store.put("a/key", b"old")
    write = Path.write_bytes

    def write_half(path, data):
        write(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(ArtifactError, match="No space left on device"):
        store.put("a/key", b"new")
    assert store.get("a/key") == b"old"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["key"]


def test_half_written_file_of_a_killed_writer_is_no_key(tmp_path):
    store = FolderStore(tmp_path)
    store.put("a/key", b"")
    (tmp_path / "a" / ".key.4711").write_bytes(b"ha")
    assert store.keys("a/") == ["a/key"]
