"""Deployments are kept in their order; what had run before is found, also after going back."""

import getpass
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from uuid_utils.compat import uuid7

from saga.runtime.deploy import history
from saga.runtime.deploy.artifact import ArtifactError
from saga.runtime.deploy.history import (
    Deployment,
    deployment,
    provenance_of,
    run_somewhere,
    version_before,
    version_named,
)
from saga.runtime.deploy.provenance import Provenance
from saga.runtime.deploy.store import FolderStore

NAME = "order.create_order"
ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path)


def past(*versions):
    """A function's deployments, the oldest first; before the first one, nothing ran."""
    before = [None, *versions]
    return [
        Deployment(system="saga", name=NAME, version=version, replaced=was, at=NOW, by="ann@host")
        for version, was in zip(versions, before, strict=False)
    ]


def record(store, *made, system="saga"):
    """Record one deploy of names in versions."""
    history.record(store, [deployment(system, name, version, None) for name, version in made])


def test_newest_are_listed_first_and_of_one_function_in_one_system(store, monkeypatch):
    record(store, (NAME, ONE), ("other", ONE))
    record(store, (NAME, TWO), system="another")
    record(store, (NAME, TWO))
    record(store, (NAME, THREE))
    newest = lambda most: [e.version for e in history.newest(store, "saga", NAME, most)]  # noqa: E731
    assert newest(9) == [THREE, TWO, ONE]
    assert newest(2) == [THREE, TWO]
    monkeypatch.setattr(history, "LATEST", 2)
    assert newest(9) == [THREE, TWO]


def test_deployments_are_listed_from_the_oldest_on(store):
    versions = [ONE, TWO, THREE, ONE] * 5
    for version in versions:
        record(store, (NAME, version))
    found = history.deployments(store, "saga", NAME)
    assert [entry.version for entry in found] == versions
    assert sorted(entry.at for entry in found) == [entry.at for entry in found]


def test_deployments_of_version_0_1_are_among_the_others(store):
    folder = f"deployments/saga/process/{NAME}/"
    for version in (ONE, TWO):
        told = {"name": NAME, "version": version, "at": f"{NOW}", "by": "ann@host"}
        store.put(f"{folder}{uuid7()}.json", json.dumps(told).encode())
    store.put(f"{folder}{uuid7()}.json", b"{")
    record(store, (NAME, THREE), system="saga/process")
    found = history.deployments(store, "saga/process", NAME)
    assert [entry.version for entry in found] == [ONE, TWO, THREE]
    assert found[0] == Deployment(
        system="saga/process", name=NAME, version=ONE, at=NOW, by="ann@host"
    )


def test_deployment_says_what_when_and_by_whom(store):
    made = deployment("saga", NAME, TWO, ONE)
    history.record(store, [made])
    assert history.deployments(store, "saga", NAME) == [made]
    assert (made.name, made.version, made.replaced) == (NAME, TWO, ONE)
    assert made.by.startswith(f"{getpass.getuser()}@")
    assert abs(made.at - datetime.now(UTC)) < timedelta(minutes=1)


def test_what_was_never_deployed_has_no_deployments(store):
    assert history.deployments(store, "saga", NAME) == []


def test_functions_adapters_and_systems_do_not_mix(store):
    for system, name in (("saga", "order"), ("saga", NAME), ("other", NAME), ("saga", f"{NAME}2")):
        record(store, (name, ONE), system=system)
    assert [entry.name for entry in history.deployments(store, "saga", NAME)] == [NAME]
    assert [entry.name for entry in history.deployments(store, "saga", "order")] == ["order"]
    names = [entry.name for entry in history.deployments(store, "saga")]
    assert names == ["order", NAME, f"{NAME}2"]


def test_deploy_of_many_is_one_record(store):
    record(store, (NAME, ONE), ("order", ONE))
    assert len(store.keys("deploys/")) == 1
    assert {entry.name for entry in history.deployments(store, "saga")} == {NAME, "order"}


def test_deploy_of_nothing_is_no_record(store):
    history.record(store, [])
    assert store.keys("") == []


WHOLE = TypeAdapter(list[Deployment]).dump_json(past(THREE))
DAMAGED = {
    "half written": WHOLE[:-20],
    "empty": b"",
    "no JSON": b"{",
    "another shape": b'{"a": 1}',
    "a list of something else": b"[1, null]",
    "a field missing": WHOLE.replace(b'"version"', b'"revision"'),
    "a field of another type": WHOLE.replace(f'"{THREE}"'.encode(), b"[]"),
    "not UTF-8": WHOLE.replace(b"ann", b"\xe5nn"),
    "deeper than anybody reads": b"[" * 100_000,
    "a folder": None,
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_record_is_told_by_its_key_and_passed_over(store, tmp_path, caplog, case):
    record(store, (NAME, ONE))
    key = f"deploys/{uuid7()}.json"
    if DAMAGED[case] is None:
        (tmp_path / key).mkdir()
    else:
        store.put(key, DAMAGED[case])
    record(store, (NAME, TWO))
    found = history.deployments(store, "saga", NAME)
    assert [entry.version for entry in found] == [ONE, TWO]
    told = f"{key} in the artifact store is no record that can be read: passed over"
    assert caplog.messages == [told]


def test_record_of_a_newer_version_is_read_as_far_as_it_is_understood(store, caplog):
    newer = WHOLE.replace(b'"name"', b'"mood":{"new":1},"name"')
    store.put(f"deploys/{uuid7()}.json", newer)
    assert history.deployments(store, "saga", NAME) == past(THREE)
    assert caplog.messages == []


def test_store_that_is_away_is_no_damaged_record(store, monkeypatch):
    record(store, (NAME, ONE))

    def away(_):
        raise ArtifactError("the artifact store can't be read: timed out")

    monkeypatch.setattr(store, "get", away)
    with pytest.raises(ArtifactError, match="timed out"):
        history.deployments(store, "saga", NAME)


BEFORE = {
    "deployed twice": ([ONE, TWO], TWO, ONE),
    "deployed three times": ([ONE, TWO, THREE], THREE, TWO),
    "gone back once": ([ONE, TWO, ONE], ONE, TWO),
    "gone back and forth": ([ONE, TWO, ONE, TWO], TWO, ONE),
    "gone back to the first of three": ([ONE, TWO, THREE, ONE], ONE, THREE),
    "an earlier one runs again": ([ONE, TWO, THREE], TWO, ONE),
    "deployed again as it was": ([ONE, TWO, TWO], TWO, ONE),
}


@pytest.mark.parametrize("case", BEFORE)
def test_version_before(case):
    versions, running, before = BEFORE[case]
    assert version_before(past(*versions), running) == before


NONE_BEFORE = {
    "never deployed": ([], ONE),
    "deployed once, where nothing ran": ([ONE], ONE),
    "the running version was never deployed": ([ONE, TWO], THREE),
    "nothing runs": ([ONE, TWO], None),
}


@pytest.mark.parametrize("case", NONE_BEFORE)
def test_unknown_version_before_is_told_with_what_to_do(case):
    versions, running = NONE_BEFORE[case]
    with pytest.raises(ArtifactError, match="name one, as `saga deployments` lists them"):
        version_before(past(*versions), running)


@given(st.lists(st.sampled_from([ONE, TWO, THREE]), min_size=2), st.integers(1, 5))
def test_going_back_twice_is_where_one_was(versions, times):
    deployed = [v for v, before in zip(versions, [None, *versions], strict=False) if v != before]
    if len(deployed) < 2:
        return
    entries, start = past(*deployed), deployed[-1]
    running = start
    for _ in range(2 * times):
        before = version_before(entries, running)
        assert before != running
        [entry] = past(before)
        entries.append(entry.model_copy(update={"replaced": running}))
        running = before
    assert running == start


def test_version_comes_from_where_it_came_from_last():
    first, second = past(ONE, TWO)
    first = first.model_copy(update={"commit": "c1", "image": "i1", "dirty": True})
    again = first.model_copy(update={"image": "i2"})
    entries = [first, second, again]
    assert provenance_of(entries, ONE) == Provenance(commit="c1", image="i2", dirty=True)
    assert provenance_of(entries, TWO) == provenance_of(entries, THREE) == Provenance()


def test_version_that_was_replaced_comes_from_where_it_came_from():
    first, second = past(ONE, TWO)
    first = first.model_copy(update={"commit": "c1", "lock": "l1"})
    second = second.model_copy(update={"replaced_image": "i1"})
    assert provenance_of([first, second], ONE) == Provenance(commit="c1", lock="l1")


def test_image_of_what_was_never_deployed_is_known_from_its_successor():
    """Its tag may have moved to another image since."""
    [first] = past(ONE)
    entries = [first.model_copy(update={"replaced": "image", "replaced_image": "i0"})]
    assert provenance_of(entries, "image") == Provenance(image="i0")


def test_version_is_named_by_its_first_digits():
    assert version_named(past(ONE, TWO), "2222") == TWO
    assert version_named(past(ONE, TWO), TWO) == TWO


def test_version_is_found_in_any_case():
    assert version_named(past("abcd" * 16, TWO), "ABCDA") == "abcd" * 16


def test_version_that_was_only_replaced_can_be_named():
    [first] = past(TWO)
    assert version_named([first.model_copy(update={"replaced": ONE})], "1111") == ONE


def test_version_deployed_many_times_is_one():
    assert version_named(past(ONE, TWO, ONE, TWO), "1111") == ONE


WRONG_NAMES = {
    "unknown": "4444",
    "too short": "222",
    "empty": "",
    "of two": "abab",
    "too long": ONE + "1",
    "a pattern": "1*11",
}


@pytest.mark.parametrize("case", WRONG_NAMES)
def test_name_that_is_not_of_one_version_is_told_with_those_there_are(case):
    entries = past(ONE, TWO, "abab1" + "0" * 59, "abab2" + "0" * 59)
    with pytest.raises(ArtifactError) as error:
        version_named(entries, WRONG_NAMES[case])
    assert str(error.value) == (
        f"{WRONG_NAMES[case]}: not one version of this function; there are: "
        "111111111111, 222222222222, abab10000000, abab20000000"
    )


def test_name_where_there_are_no_versions_is_told():
    with pytest.raises(ArtifactError, match=r"there are: none$"):
        version_named([], "1111")


def run(*made):
    """Deployments of names in versions, each in a system of its own."""
    return [
        deployment(f"system-{number}", name, version) for number, (name, version) in enumerate(made)
    ]


EVERYWHERE = run(
    ("order.create_order", ONE),
    ("order.create_order", TWO),
    ("order.cancel_order", TWO),
    ("product", THREE),
    ("order", "abab1" + "0" * 59),
    ("order", "abab2" + "0" * 59),
)


@pytest.mark.parametrize(
    ("name", "digits", "found"),
    [
        ("order.create_order", "1111", 0),
        ("order.create_order", "2222", 1),
        ("order.cancel_order", "2222", 2),
        ("order.complete_order", "2222", 2),
        ("order", ONE, 0),
        ("product.reserve_product", "3333", 3),
        ("order", "ABAB1", 4),
    ],
)
def test_version_that_ran_somewhere_is_found_by_its_first_digits(name, digits, found):
    assert run_somewhere(EVERYWHERE, name, digits) == EVERYWHERE[found]


NOWHERE = {
    "too short": ("order", "222", "give 4 digits of a version at least"),
    "empty": ("order", "", "give 4 digits of a version at least"),
    "of two": ("order", "abab", "abab10000000, abab20000000 begin so: give more digits"),
    "another service's": ("order", "3333", "that is a version of product, not of this service"),
    "unknown": (
        "order",
        "4444",
        "no system that shares this artifact store has run it: set SAGA_ARTIFACTS to that of the "
        "system which has, for both",
    ),
}


@pytest.mark.parametrize("case", NOWHERE)
def test_version_that_ran_nowhere_is_told_with_what_to_do(case):
    name, digits, told = NOWHERE[case]
    with pytest.raises(ArtifactError) as error:
        run_somewhere(EVERYWHERE, name, digits)
    assert str(error.value) == f"{name}@{digits}: {told}"


@given(
    st.lists(st.tuples(st.sampled_from(["a.b", "a", "c"]), st.sampled_from([ONE, TWO]))),
    st.integers(4, 64),
)
def test_whatever_is_found_ran_for_the_service(made, length):
    entries = run(*made)
    ran = [entry for entry in entries if entry.version == ONE and entry.name in ("a", "a.b")]
    if ran:
        assert run_somewhere(entries, "a", ONE[:length]) in ran
    else:
        with pytest.raises(ArtifactError):
            run_somewhere(entries, "a", ONE[:length])
