"""A lock lists what a version needs of what is installed, and tells how it differs from another."""

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.runtime.deploy.artifact import Artifact, ArtifactError, version_of
from saga.runtime.deploy.lock import (
    Locks,
    difference,
    digest_of,
    find_installed,
    imported_by,
    lock_in,
    needed,
    shortened,
    text_of,
)
from saga.runtime.deploy.store import FolderStore

# Names and what they require, as metadata has it.
INSTALLED = {
    "oven": [
        "Flour_Mill (>=1)",
        'grill>=2; sys_platform == "linux"',
        "oven[steam]; extra == 'all'",
    ],
    "flour-mill": ["water[Still,cold]<3"],
    "grill": ["oven"],
    "water": [
        'filter==1; python_version > "3" and extra == "still"',
        'gas; "fizzy" == extra',
        'gas; python_version < "3"',
        "gas (from the shop)",
        "not-installed",
    ],
    "filter": [],
    "gas": [],
    "tests": ["oven"],
}

NEEDED = {
    "nothing": ([], []),
    "one that requires nothing": (["filter"], ["filter"]),
    "one that is not installed": (["sauna"], []),
    "another spelling": (["Flour.Mill"], ["filter", "flour-mill", "water"]),
    "an extra that nobody asks for": (["water"], ["water"]),
    "a circle": (["oven"], ["filter", "flour-mill", "grill", "oven", "water"]),
    "two": (["gas", "filter"], ["filter", "gas"]),
}


def find(name):
    return ("1.0", INSTALLED[name]) if name in INSTALLED else None


@pytest.mark.parametrize("case", NEEDED)
def test_lock_has_what_is_needed_and_nothing_else(case):
    roots, names = NEEDED[case]
    assert list(needed(roots, find)) == names


DIFFERENCES = {
    "none": ({"oven": "1"}, {"oven": "1"}, []),
    "another version": ({"oven": "1"}, {"oven": "2"}, ["oven 1 -> 2"]),
    "one is new": ({}, {"oven": "2"}, ["oven none -> 2"]),
    "one is gone": ({"oven": "1"}, {}, ["oven 1 -> none"]),
    "some": ({"b": "1", "a": "1", "c": "1"}, {"c": "1", "a": "2"}, ["a 1 -> 2", "b 1 -> none"]),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_difference_of_two_locks(case):
    old, new, found = DIFFERENCES[case]
    assert difference(old, new) == found


def test_many_differences_are_told_in_one_line():
    assert shortened([]) == ""
    assert shortened("abcde") == "a, b, c, d, e"
    assert shortened("abcdefg") == "a, b, c, d, e and 2 more"


names = st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True)
locks = st.dictionaries(names, st.sampled_from(["1.0", "2.0.post1", "3!1+local"]))


@given(locks, locks)
def test_locks_differ_where_their_hashes_do(one, two):
    one, two = dict(sorted(one.items())), dict(sorted(two.items()))
    assert (digest_of(one) == digest_of(two)) == (difference(one, two) == [])
    assert lock_in(text_of(one)) == one


def packed(**modules):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in modules.items():
            archive.writestr(f"bakery/{name}.py", text)
        archive.writestr("bakery/prices.txt", "import prices")
    return Artifact(version_of(buffer.getvalue()), buffer.getvalue())


def test_imports_are_those_of_other_packages():
    artifact = packed(
        bake="import os, flour.rye as rye\nfrom . import sell\nfrom water.cold import ice",
        sell="def sell():\n    import till\n    from bakery.bake import rye",
    )
    assert imported_by(artifact) == ["flour", "till", "water"]


def test_module_of_another_python_is_told():
    with pytest.raises(ArtifactError, match=r"^bakery/bake\.py: invalid syntax"):
        imported_by(packed(bake="import import"))


def test_runtime_is_in_every_lock(tmp_path):
    own = Locks(FolderStore(tmp_path))
    digest = own.digest(packed(bake=""))
    own.keep([digest, None, "another"])
    [file] = tmp_path.rglob("*.txt")
    assert file.relative_to(tmp_path).as_posix() == f"locks/{digest}.txt"
    lines = file.read_text().splitlines()
    version, _ = find_installed("pydantic")
    assert f"pydantic=={version}" in lines
    assert "saga-functions" in lock_in(file.read_bytes())
    assert not [line for line in lines if line.startswith(("pytest", "mypy"))]


@pytest.mark.parametrize("data", [None, b"oven==1\n", b"\xff"])
def test_lock_that_is_gone_or_damaged_is_told(tmp_path, data):
    own = Locks(FolderStore(tmp_path))
    here = own.digest(packed(bake=""))
    if data is not None:
        own._store.put("locks/old.txt", data)
    assert own.compared("old", here) == "which those were is not known any more"


def test_what_a_build_has_left_in_a_folder_is_not_what_is_installed(tmp_path, monkeypatch):
    installed = find_installed("pydantic")
    left = tmp_path / "pydantic.egg-info"
    left.mkdir()
    (left / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: pydantic\nVersion: 0.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_installed("pydantic") == installed
    assert find_installed("not-there-at-all") is None
