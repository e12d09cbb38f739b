"""A version tells the commit that it was made of, and whether its files were as in that."""

import subprocess
from pathlib import Path

import pytest

from saga.runtime.deploy.artifact import Artifact
from saga.runtime.deploy.provenance import Provenance, git_provenance

FILES = ("stacks/gift.toml", "gift/wrap.py", "gift/with blank*.json")


def git(folder, *words):
    identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    done = subprocess.run(
        ["git", *identity, "-C", folder, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path):
    for name in (*FILES, "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def repository(tree):
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "Begin")
    return tree


def provenance(tree, files=FILES):
    return git_provenance(Artifact("1", b"", tuple(tree / name for name in files)))


def test_version_of_what_is_committed_is_clean(repository):
    head = git(repository, "rev-parse", "HEAD")
    assert provenance(repository) == Provenance(commit=head, dirty=False)


DIRTY = {
    "a changed file": ("gift/wrap.py", FILES),
    "a changed stack file": ("stacks/gift.toml", FILES),
    "a name with a pattern in it": ("gift/with blank*.json", FILES),
    "a new file": ("gift/send.py", (*FILES, "gift/send.py")),
}


@pytest.mark.parametrize("case", DIRTY)
def test_version_of_what_is_not_committed_is_dirty(repository, case):
    changed, files = DIRTY[case]
    (repository / changed).write_text("changed")
    assert provenance(repository, files).dirty is True


def test_file_that_git_ignores_is_not_as_in_the_commit(repository):
    (repository / ".gitignore").write_text("made.py")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Ignore")
    (repository / "gift/made.py").touch()
    assert provenance(repository, (*FILES, "gift/made.py")).dirty is True


def test_what_is_no_part_of_the_version_makes_it_not_dirty(repository):
    (repository / "README.md").write_text("changed")
    (repository / "gift/notes.txt").touch()
    assert provenance(repository).dirty is False


def test_looking_changes_nothing(repository):
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    (repository / "gift/wrap.py").touch()
    before[repository / "gift/wrap.py"] = (repository / "gift/wrap.py").stat().st_mtime_ns
    provenance(repository)
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


def test_stack_file_may_lie_outside_of_the_repository(repository, tmp_path_factory):
    stack = tmp_path_factory.mktemp("stacks") / "gift.toml"
    stack.touch()
    assert provenance(repository, (stack, *FILES[1:])).dirty is False


def test_imported_module_may_lie_outside_of_the_repository(repository, tmp_path_factory):
    module = tmp_path_factory.mktemp("elsewhere") / "shared.py"
    module.touch()
    assert provenance(repository, (*FILES, module)).commit == git(repository, "rev-parse", "HEAD")


def test_hook_of_another_repository_is_not_asked(repository, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("GIT_DIR", str(tmp_path_factory.mktemp("other")))
    assert provenance(repository).commit == git_head(repository, monkeypatch)


def git_head(repository, monkeypatch):
    monkeypatch.delenv("GIT_DIR")
    return git(repository, "rev-parse", "HEAD")


NOTHING_KNOWN = {
    "no repository": lambda tree, patch: None,
    "no commit": lambda tree, patch: git(tree, "init", "-q"),
    "no git": lambda tree, patch: patch.setenv("PATH", str(tree)),
}


@pytest.mark.parametrize("case", NOTHING_KNOWN)
def test_nothing_is_known_where_there_is(tree, monkeypatch, case):
    NOTHING_KNOWN[case](Path(tree), monkeypatch)
    assert provenance(tree) == Provenance()
