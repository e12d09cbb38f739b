"""Where artifacts and the records of deployments are kept: a folder, or a bucket of S3's kind."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from .artifact import SHOWN, Artifact, ArtifactError, verify


class Store(Protocol):
    """Bytes by key; a key is a path of plain names. All calls raise `ArtifactError`."""

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes under a key; readers see all of them or none."""

    def get(self, key: str) -> bytes | None:
        """Return the bytes under a key, None if there are none."""

    def keys(self, prefix: str) -> list[str]:
        """List the keys that begin with `prefix`, sorted."""


def open_store(place: str) -> Store:
    """Open the store at a folder or at `s3://BUCKET/PREFIX`."""
    return S3Store(place) if place.startswith("s3://") else FolderStore(Path(place))


def save(store: Store, artifact: Artifact) -> None:
    """Keep an artifact, unless it is there."""
    if store.get(_key(artifact.version)) != artifact.data:
        store.put(_key(artifact.version), artifact.data)


def fetch(store: Store, version: str) -> Artifact:
    """Return an artifact; raise `ArtifactError` when it is missing or damaged."""
    data = store.get(_key(version))
    if data is None:
        raise ArtifactError(f"artifact {version[:SHOWN]} is not in the store")
    artifact = Artifact(version, data)
    verify(artifact)
    return artifact


def _key(version: str) -> str:
    return f"artifacts/{version}.zip"


class FolderStore:
    """A store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, key: str, data: bytes) -> None:
        """Write a file beside, then rename it: a full disk leaves the old one."""
        path = self.folder / key
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                fresh.write_bytes(data)
                fresh.replace(path)
            finally:
                fresh.unlink(missing_ok=True)
        except OSError as error:
            raise ArtifactError(f"the artifact store can't be written: {error}") from error

    def get(self, key: str) -> bytes | None:
        """Read a file."""
        try:
            return (self.folder / key).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            return None
        except OSError as error:
            raise ArtifactError(f"the artifact store can't be read: {error}") from error

    def keys(self, prefix: str) -> list[str]:
        """List the files below a folder."""
        found = (self.folder / prefix).glob("[!.]*")
        return sorted(path.relative_to(self.folder).as_posix() for path in found)


class S3Store:
    """A store in a bucket; boto3 takes credentials, region and endpoint from AWS_… variables."""

    def __init__(self, place: str) -> None:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise ArtifactError(
                "artifacts on S3 need boto3: pip install 'saga-functions[s3]'"
            ) from None
        parts = urlsplit(place)
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        config = Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3})  # seconds
        self._place = place
        with self._told():
            self._client = boto3.client("s3", config=config)

    def put(self, key: str, data: bytes) -> None:
        """Put an object."""
        with self._told():
            self._client.put_object(Bucket=self.bucket, Key=self._path(key), Body=data)

    def get(self, key: str) -> bytes | None:
        """Get an object."""
        with self._told():
            try:
                found = self._client.get_object(Bucket=self.bucket, Key=self._path(key))
            except self._client.exceptions.NoSuchKey:
                return None
            return bytes(found["Body"].read())

    def keys(self, prefix: str) -> list[str]:
        """List objects, page by page."""
        with self._told():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._path(prefix)
            )
            found = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return sorted(key.removeprefix(f"{self.prefix}/") for key in found)

    def _path(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn whatever boto3 raises into one line."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, ValueError) as error:  # ValueError: a bad endpoint
            raise ArtifactError(f"the artifact store {self._place}: {error}") from error
