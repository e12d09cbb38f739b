"""What a start finds of earlier ones."""

from saga.runtime.deploy.first_versions import prepare
from saga.runtime.settings import Settings


def test_a_start_removes_earlier_versions_and_nothing_of_the_users(tmp_path):
    for name in ("mine", "0f" * 32):
        (tmp_path / "code" / name).mkdir(parents=True)
    prepare(Settings(saga_data=tmp_path), {})
    assert [path.name for path in (tmp_path / "code").iterdir()] == ["mine"]
