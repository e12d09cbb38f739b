"""The data directory is known as ours, and nothing is made in any other folder."""

import pytest

from saga.runtime.data_directory import MARKER, NotOurs, check_no_file, claim, is_ours, make_folder


@pytest.mark.parametrize(
    ("names", "ours"),
    [
        ([], True),
        (["lost+found"], True),
        ([MARKER, "code", "README.md"], True),
        (["lock", "logs", "health", "code", "user.db"], True),
        (["code"], False),
        (["lost+found", "code"], False),
        (["lock", "logs"], False),
        ([".git"], False),
    ],
)
def test_folder_is_ours_by_what_it_holds(names, ours):
    assert is_ours(names) is ours


@pytest.mark.parametrize("there", [False, True])
def test_empty_folder_becomes_a_data_directory(tmp_path, there):
    folder = tmp_path / "a" / "b"
    if there:
        folder.mkdir(parents=True)
    claim(folder)
    (folder / "code").mkdir()
    claim(folder)
    assert {path.name for path in folder.iterdir()} == {MARKER, "code"}


def test_somebody_elses_folder_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "code").mkdir()
    with pytest.raises(NotOurs, match=rf"^{tmp_path} is not empty, and .* make a file {MARKER} in"):
        claim(tmp_path)
    make_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["code"]
    (tmp_path / MARKER).touch()
    claim(tmp_path)


def test_folder_that_was_made_for_a_database_is_ours(tmp_path):
    make_folder(tmp_path / "data")
    (tmp_path / "data" / "user.db").touch()
    claim(tmp_path / "data")


def test_file_is_no_data_directory_and_leads_to_none(tmp_path):
    file = tmp_path / "data"
    check_no_file(file)
    file.touch()
    for path in (file, file / "a" / "b"):
        with pytest.raises(NotOurs, match=rf"^{file} is a file: choose another .* with --data$"):
            check_no_file(path)
