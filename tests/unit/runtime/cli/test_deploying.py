"""What is typed to deploy is read, or refused in words."""

import json

import pytest

from saga.runtime.cli.deploying import counts_of, deployments
from saga.runtime.deploy import history
from saga.runtime.deploy.store import open_store
from saga.runtime.errors import SagaError
from saga.runtime.settings import Settings


def test_counts_are_read_by_name():
    assert counts_of(["order=0", "order.create_order=3"]) == {"order": 0, "order.create_order": 3}


WRONG = ["order", "order=", "=2", "=", "order=-1", "order=1.5", "order=\u0663", "order=1=2"]


@pytest.mark.parametrize("word", [*WRONG, f"order={'9' * 5000}"], ids=range(9))
def test_what_is_no_count_is_refused(word):
    with pytest.raises(SagaError, match="not of the form NAME=N"):
        counts_of([word])


def test_name_with_two_counts_is_refused():
    with pytest.raises(SagaError, match="order is named twice"):
        counts_of(["order=1", "order=2"])


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A stack file of one function, which was never deployed, beside a record of another one."""
    (tmp_path / "shop.toml").write_text(
        'service = "shop"\npackage = "shop"\ndatabase = "shop"\n[functions.sell]\n'
    )
    monkeypatch.setenv("SAGA_STACKS", str(tmp_path))
    settings = Settings(saga_data=tmp_path / "data")
    made = history.deployment(settings.deployed_on, "shop.gone", "0f" * 32)
    history.record(open_store(settings.artifacts), [made])
    return tmp_path / "data"


def test_what_is_there_and_was_never_deployed_has_no_deployments(shop, capsys):
    deployments("shop.sell", shop)
    assert capsys.readouterr().out == "No deployment of shop.sell is known.\n"
    deployments("shop.sell", shop, as_json=True)
    assert json.loads(capsys.readouterr().out) == []
    deployments("shop.gone", shop, as_json=True)
    assert len(json.loads(capsys.readouterr().out)) == 1


@pytest.mark.parametrize("as_json", [False, True])
def test_deployments_of_what_is_not_there_are_refused_with_what_is(shop, as_json):
    with pytest.raises(SagaError, match=r"^nope: not one of shop\.gone, shop\.sell$"):
        deployments("nope", shop, as_json=as_json)
