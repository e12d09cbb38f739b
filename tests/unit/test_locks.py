"""The locks in `requirements/` hold what pyproject.toml asks for, each version with its hashes."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCKS = ["run", "dev", "uv", "peers"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEPENDENCIES = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]


def lock(name):
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def requirements(name):
    """List a lock's requirements, each with its hashes."""
    lines = re.sub(r"(?m)^ *#.*\n", "", lock(name)).replace("\\\n", "").splitlines()
    parts = [line.partition("--hash=") for line in lines]
    return [(Requirement(first), rest.replace("--hash=", "").split()) for first, _, rest in parts]


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def versions(name):
    """Return the versions that a lock pins a package to: more than one where a marker tells."""
    pinned = {}
    for requirement, _ in requirements(name):
        pin = str(requirement.specifier).removeprefix("==")
        pinned.setdefault(plain(requirement.name), set()).add(pin)
    return pinned


def fits(asked, pinned):
    wanted = Requirement(asked)
    found = pinned.get(plain(wanted.name), set())
    return bool(found) and all(wanted.specifier.contains(pin) for pin in found)


def unlocked(asked, name):
    """Return those requirements that a lock does not hold: `make lock` is to be run."""
    pinned = versions(name)
    return [one for one in asked if not one.startswith("saga-functions") and not fits(one, pinned)]


def test_run_lock_holds_what_the_project_depends_on():
    assert unlocked(DEPENDENCIES, "run") == []


def test_run_lock_holds_what_builds_the_project():
    assert unlocked(PROJECT["build-system"]["requires"], "run") == []


def test_dev_lock_holds_all_extras_too():
    assert unlocked([*DEPENDENCIES, *EXTRAS["s3"], *EXTRAS["dev"]], "dev") == []


@pytest.mark.parametrize("name", ["run", "uv"])
def test_dev_lock_agrees_with_the_others(name):
    dev = versions("dev")
    assert {package: dev.get(package) for package in versions(name)} == versions(name)


def test_peers_lock_holds_what_is_asked_for():
    asked = (ROOT / "requirements" / "peers.in").read_text().split()
    assert unlocked(asked, "peers") == []


def test_uvs_lock_holds_nothing_but_uv():
    assert list(versions("uv")) == ["uv"]


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_one_version_with_hashes(name):
    for requirement, hashes in requirements(name):
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement


@pytest.mark.parametrize("name", LOCKS)
def test_lock_names_no_index_and_no_place(name):
    lines = [line for line in lock(name).splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in lines if re.match(r"-|.*( @ |://|/)", line)] == []
    assert "://" not in lock(name)


@pytest.mark.parametrize("name", ["run", "dev"])
def test_an_unmet_requirement_would_be_seen(name):
    missing = ["no-such-package>=1", "sanic>=99", "Sanic<1"]
    assert unlocked(missing, name) == missing
