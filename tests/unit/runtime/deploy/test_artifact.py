"""An artifact is the same for the same code, holds what is needed, and is checked when unpacked."""

import io
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from saga.runtime.deploy.artifact import (
    Artifact,
    ArtifactError,
    bundle,
    contents,
    remove_unpacked,
    unpack,
    version_of,
)
from saga.runtime.errors import SagaError
from saga.runtime.settings import Settings
from saga.runtime.system.stack import read_stack

STACK = 'service = "shop"\npackage = "bakery.shop"\ndatabase = "shop"\n[functions.bake]\n'
BAKE = """
import json, requests
from bakery import money
from . import oven
from ..mill.messages import GrindFlour
from sys import path
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that no other test's is taken for: each has a top-level package of its own."""
    root = tmp_path / "project"
    files = {
        "stacks/shop.toml": STACK,
        "bakery/shop/__init__.py": "",
        "bakery/shop/bake.py": BAKE,
        "bakery/shop/oven.py": "",
        "bakery/shop/prices.json": "{}",
        "bakery/shop/test_bake.py": "",
        "bakery/shop/conftest.py": "",
        "bakery/shop/.env": "SECRET=1",
        "bakery/shop/__pycache__/bake.pyc": "",
        "bakery/money.py": "import bakery.rounding",
        "bakery/rounding.py": "",
        "bakery/unrelated.py": "",
        "bakery/mill/__init__.py": "",
        "bakery/mill/messages.py": "",
        "bakery/mill/grind.py": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.syspath_prepend(root)
    yield root
    for name in [name for name in sys.modules if name.partition(".")[0] == "bakery"]:
        del sys.modules[name]


def pack(project):
    path = project / "stacks/shop.toml"
    return bundle(path, read_stack(path))


def names(artifact):
    return [str(name) for name, _ in contents(artifact)]


def test_service_comes_with_what_it_imports_of_the_project(project):
    assert names(pack(project)) == [
        "bakery/mill/__init__.py",
        "bakery/mill/messages.py",
        "bakery/money.py",
        "bakery/rounding.py",
        "bakery/shop/__init__.py",
        "bakery/shop/bake.py",
        "bakery/shop/oven.py",
        "bakery/shop/prices.json",
        "stack.toml",
    ]


def test_nothing_of_the_service_is_imported_for_it(project):
    (project / "bakery/shop/bake.py").write_text("raise SystemExit('imported')")
    pack(project)
    assert not {"bakery.shop.bake", "bakery.money"} & sys.modules.keys()


def test_nothing_installed_is_imported_for_it(project, tmp_path, monkeypatch):
    flour = tmp_path / "site-packages" / "flour"
    flour.mkdir(parents=True)
    (flour / "__init__.py").write_text("raise SystemExit('imported')")
    (flour / "rye.py").touch()
    monkeypatch.syspath_prepend(flour.parent)
    (project / "bakery/money.py").write_text("import flour.rye\nfrom flour.rye import dark")
    assert not [name for name in names(pack(project)) if "flour" in name]


def test_orchestrator_brings_the_messages_of_the_services_it_calls_and_no_runtime():
    path = Settings().saga_stacks / "orchestrator.toml"
    found = names(bundle(path, read_stack(path)))
    assert {"saga/functions/product/messages.py", "saga/http/orchestrator.py"} <= set(found)
    assert "saga/functions/product/store.py" not in found
    assert not [name for name in found if name.startswith(("saga/runtime", "saga/stacks"))]


def test_same_code_is_the_same_version_wherever_and_whenever_it_lies(project):
    before = pack(project)
    for path in project.rglob("*"):
        path.touch()
        path.chmod(0o755)
    assert pack(project) == before
    assert before.version == version_of(before.data)


@pytest.mark.parametrize("file", ["bakery/shop/bake.py", "bakery/money.py", "stacks/shop.toml"])
def test_changed_file_is_another_version(project, file):
    before = pack(project)
    (project / file).write_text((project / file).read_text() + "# changed\n")
    assert pack(project).version != before.version


def test_changed_test_is_the_same_version(project):
    before = pack(project)
    (project / "bakery/shop/test_bake.py").write_text("assert False")
    assert pack(project) == before


VERSION = "e4abf761674fee09ab7b2fce360d164a"  # its first digits


def test_version_of_the_same_files_is_what_it_always_was(project):
    """Or else a system that is upgraded would take all of its code for new."""
    assert pack(project).version[:32] == VERSION


# Paths in the package's folder, and how each gets there.
OUTSIDE = {
    "a link to a file of the machine": ("users.txt", lambda path: path.symlink_to("/etc/passwd")),
    "a link to a module elsewhere": ("oil.py", lambda path: path.symlink_to("../unrelated.py")),
    "a link to a folder elsewhere": ("flour", lambda path: path.symlink_to("../mill")),
    "a link to a hidden file": ("secrets.txt", lambda path: path.symlink_to(".env")),
    "a link to nothing": ("nothing.txt", lambda path: path.symlink_to("missing")),
    "a link to itself": ("self.txt", lambda path: path.symlink_to("self.txt")),
    "a pipe": ("pipe", os.mkfifo),
    "a socket": ("socket", lambda path: os.mknod(path, stat.S_IFSOCK)),
    "an environment of secrets": (".env.local", Path.touch),
    "a copy of Emacs'": ("bake.py~", Path.touch),
    "a rescue of Emacs'": ("#bake.py#", Path.touch),
    "a lock of Emacs'": (".#bake.py", lambda path: path.symlink_to("me@host.1")),
    "a swap file of Vim's": (".bake.py.swp", Path.touch),
    "what a patch has left": ("bake.py.orig", Path.touch),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_what_is_not_the_packages_stays_outside(project, case):
    before = pack(project)
    name, make = OUTSIDE[case]
    make(project / "bakery/shop" / name)
    assert pack(project) == before


def test_link_within_the_package_is_the_file_that_it_leads_to(project):
    (project / "bakery/shop/today.json").symlink_to("prices.json")
    assert dict(contents(pack(project)))[PurePosixPath("bakery/shop/today.json")] == b"{}"


def test_package_that_is_a_link_itself_is_whole(project):
    before = pack(project)
    (project / "bakery/shop").rename(project / "elsewhere")
    (project / "bakery/shop").symlink_to("../elsewhere")
    assert pack(project) == before


IGNORING = {
    "a file": "bakery/shop/prices.json",
    "a pattern": "*.json",
    "a comment and a blank line": "# big\n\n*.json\n",
    "a pattern of the top": "/bakery/**/prices.*",
    "all but the code": "bakery/shop/*\n!*.py\n",
}


@pytest.mark.parametrize("case", IGNORING)
def test_what_the_ignore_file_names_stays_outside(project, case):
    before = names(pack(project))
    (project / ".sagaignore").write_text(IGNORING[case])
    assert names(pack(project)) == [name for name in before if name != "bakery/shop/prices.json"]


def test_module_that_is_imported_stays_outside_where_the_ignore_file_names_it(project):
    (project / ".sagaignore").write_text("money.py\n")
    assert "bakery/money.py" not in names(pack(project))


def test_link_to_what_the_ignore_file_names_stays_outside(project):
    (project / "bakery/shop/today.json").symlink_to("prices.json")
    (project / ".sagaignore").write_text("prices.json")
    assert not [name for name in names(pack(project)) if name.endswith(".json")]


def test_nearest_ignore_file_counts(project):
    (project / ".sagaignore").write_text("*.json")
    (project / "bakery/shop/.sagaignore").write_text("/oven.py")
    (project / "bakery/shop/bake.py").touch()
    found = names(pack(project))
    assert "bakery/shop/prices.json" in found
    assert "bakery/shop/oven.py" not in found


def test_ignore_file_that_names_nothing_of_the_package_changes_no_version(project):
    before = pack(project)
    (project / ".sagaignore").write_text("*.parquet\nnotes/\n")
    assert pack(project) == before


def test_ignore_file_beyond_the_repository_is_somebody_elses(project):
    before = pack(project)
    (project / ".sagaignore").write_text("*.json")
    (project / "bakery/.git").mkdir()
    assert pack(project) == before


@pytest.mark.parametrize("text", [b"!", b"\xff"])
def test_ignore_file_that_can_not_be_read_is_told_with_its_name(project, text):
    (project / ".sagaignore").write_bytes(text)
    with pytest.raises(SagaError, match=rf"^{project}/\.sagaignore: "):
        pack(project)


def test_code_that_can_not_be_parsed_is_told_with_its_place(project):
    (project / "bakery/shop/bake.py").write_text("def bake(:\n")
    with pytest.raises(ArtifactError, match=r"bake\.py: invalid syntax .*line 1"):
        pack(project)


def test_missing_package_is_told(project):
    path = project / "stacks/shop.toml"
    path.write_text(STACK.replace("bakery.shop", "bakery.none"))
    with pytest.raises(ArtifactError, match=r"no package bakery\.none"):
        pack(project)


def test_too_large_package_is_refused_with_its_largest_file(project):
    with (project / "bakery/shop/ovens.bin").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(
        ArtifactError,
        match=r"50,000,000 at most; .*/ovens\.bin has 1,0.*,000: a line in \.sagaignore leaves",
    ):
        pack(project)


def test_unpacked_twice_is_one_folder_with_all_files(project, tmp_path):
    artifact = pack(project)
    place = unpack(artifact, tmp_path / "code")
    assert unpack(artifact, tmp_path / "code") == place
    assert (place / "bakery/shop/bake.py").read_text() == BAKE
    assert [path.name for path in (tmp_path / "code").iterdir()] == [artifact.version]


def test_code_whose_bytecode_is_just_being_written_stays(project, tmp_path):
    place = unpack(pack(project), tmp_path / "code")
    written = place / "bakery/shop/__pycache__/bake.cpython-311.pyc.140037"
    written.parent.mkdir()
    written.touch()
    assert unpack(pack(project), tmp_path / "code") == place
    assert written.exists()


def test_damaged_artifact_is_refused_and_leaves_nothing(project, tmp_path):
    artifact = pack(project)
    damaged = Artifact(artifact.version, artifact.data[:-1] + b"x")
    with pytest.raises(ArtifactError, match="is damaged"):
        unpack(damaged, tmp_path / "code")
    assert not list((tmp_path / "code").iterdir())


@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "a/../../evil"])
def test_artifact_can_not_write_outside_of_its_folder(tmp_path, name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    artifact = Artifact(version_of(buffer.getvalue()), buffer.getvalue())
    with pytest.raises(ArtifactError, match="outside of itself"):
        unpack(artifact, tmp_path / "code")


def test_bytes_that_are_no_zip_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="not a zip"):
        unpack(Artifact(version_of(b"no zip"), b"no zip"), tmp_path / "code")


def test_versions_are_removed_and_nothing_else(tmp_path):
    """Be it the user's, in a folder of the same name."""
    theirs = [tmp_path / name for name in ("main.py", "abc", "f" * 63, "f" * 65, "F" * 64)]
    ours = [tmp_path / name for name in ("0f" * 32, ".fresh-x1_2y")]
    for folder in [*theirs, *ours]:
        folder.mkdir()
        (folder / "file").touch()
    remove_unpacked(tmp_path)
    remove_unpacked(tmp_path / "nowhere")
    assert {*tmp_path.iterdir()} == {*theirs}


def test_unpacked_code_is_imported_before_what_is_installed(tmp_path):
    path = Settings().saga_stacks / "order.toml"
    place = unpack(bundle(path, read_stack(path)), tmp_path)
    code = (
        "import sys; from pathlib import Path; from saga.runtime.system import code;"
        "code.import_from(Path(sys.argv[1]));"
        "import saga.functions.order.create_order as f, saga.http.order as h, saga.runtime as r;"
        "print(f.__file__, h.__file__, r.__file__, sep='\\n')"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, place], capture_output=True, text=True, check=True
    )
    function, adapter, runtime = (Path(line) for line in told.stdout.split())
    assert function.is_relative_to(place)
    assert adapter.is_relative_to(place)
    assert not runtime.is_relative_to(place)
