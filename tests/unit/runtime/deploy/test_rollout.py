"""A version replaces another: new beside old, all or nothing; an adapter perhaps by a swap."""

import signal
import time
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from saga.runtime.deploy.interruption import ENDS, raise_when_told_to_end
from saga.runtime.deploy.rollout import described, plan, plan_scale, roll_out
from saga.runtime.deploy.target import Instance, NotHealthy, Release, State
from saga.runtime.errors import SagaError
from saga.runtime.system.stack import Entry, Stack
from saga.runtime.system.wanted import instance_name

OLD, NEW = "a" * 64, "b" * 64
READY_TIMEOUT = 10.0  # seconds of the test's own clock


def stack(**replicas):
    return Stack(
        service="shop",
        package="shop",
        database="shop",
        adapter="shop.http",
        port=8000,
        functions={name: Entry(replicas=number) for name, number in replicas.items()},
    )


def release(name="shop.bake", version=NEW, replicas=1):
    return Release(name, stack(bake=replicas, sell=1), version, None)


def instance(number=1, version=OLD, state="ready", deployed="shop.bake", generation=""):
    kind = "function" if "." in deployed else "adapter"
    return Instance(
        instance_name(deployed, number), deployed, kind, version, state, generation=generation
    )


def names(change):
    return [instance_name(change.release.name, number) for number in change.numbers]


# What runs, how many the stack file wants, and the numbers that are started; None for no change.
PLANS = {
    "nothing runs": ([], 1, (1,)),
    "nothing runs, three are wanted": ([], 3, (1, 2, 3)),
    "nothing runs, none is wanted": ([], 0, None),
    "old one runs": ([instance()], 1, (2,)),
    "old one runs under the second number": ([instance(2)], 1, (1,)),
    "scaled up": ([instance(1), instance(3), instance(4)], 1, (2, 5, 6)),
    "scaled down": ([instance()], 2, (2, 3)),
    "this version runs": ([instance(version=NEW)], 1, None),
    "this version runs, scaled up": ([instance(1, NEW), instance(2, NEW)], 1, None),
    "this version runs, too few": ([instance(version=NEW)], 2, (2,)),
    "this version is not ready": ([instance(version=NEW, state="restarting")], 1, (2,)),
    "one is left of a deploy that was killed": ([instance(1, NEW), instance(2, OLD)], 1, ()),
    "docker-compose's is beside an older one": ([instance(1, "image"), instance(2)], 1, (3,)),
    "one is left that is not ready": ([instance(1), instance(2, NEW, "starting")], 1, (3,)),
    "an earlier one is about to end": ([instance(1, state="stopping"), instance(2)], 1, (3,)),
    "others run": ([instance(deployed="shop.sell"), instance(deployed="shop")], 1, (1,)),
}


@pytest.mark.parametrize("case", PLANS)
def test_plan(case):
    running, replicas, numbers = PLANS[case]
    changes = plan([release(replicas=replicas)], running)
    assert [change.numbers for change in changes] == ([] if numbers is None else [numbers])
    for change in changes:
        kept = (NEW, "ready")
        there = [i for i in running if i.deployed == "shop.bake"]
        assert list(change.old) == [i for i in there if (i.version, i.state) != kept]


@pytest.mark.parametrize("state", ["starting", "ready"])
@pytest.mark.parametrize("started", [0, 1, 2])
def test_deploy_of_a_version_in_its_own_place_that_was_killed_is_not_counted_twice(started, state):
    killed = [instance(3 + n, state=state, generation="forced") for n in range(started)]
    running = [instance(1), instance(2), *killed]
    [change] = plan([release(version=OLD)], running, force=True)
    assert (len(change.numbers), list(change.old)) == (2, running)
    changes = plan([release(version=OLD)], running)
    assert sum(len(change.numbers) - len(change.old) for change in changes) == -started


def test_what_is_started_beside_others_is_counted_with_them():
    running = [instance(1, NEW, generation="first")]
    [change] = plan([replace(release(replicas=2), generation="second")], running)
    assert (change.numbers, change.release.generation) == ((2,), "first")


DESCRIBED = {
    "nothing runs": ([], "starts shop.bake"),
    "an old one runs": ([instance()], "starts shop.bake-2, ends shop.bake of aaaaaaaaaaaa"),
    "two are left of others": (
        [instance(1, NEW), instance(2), instance(3)],
        "starts shop.bake-4, ends shop.bake-2 of aaaaaaaaaaaa, shop.bake-3 of aaaaaaaaaaaa",
    ),
    "one is left of another": ([instance(1, NEW), instance(2)], "ends shop.bake-2 of aaaaaaaaaaaa"),
}


@pytest.mark.parametrize("case", DESCRIBED)
def test_plan_is_described_in_a_line(case):
    running, what = DESCRIBED[case]
    [change] = plan([release()], running)
    assert described(change) == f"shop.bake bbbbbbbbbbbb: {what}"


def test_adapters_are_planned_last_and_run_once():
    releases = [release("shop"), release("shop.bake"), release("shop.sell")]
    changes = plan(releases, [instance(deployed="shop")])
    assert [change.release.name for change in changes] == ["shop.bake", "shop.sell", "shop"]
    assert [change.is_swap for change in changes] == [False, False, True]
    assert changes[-1].numbers == (2,)


def test_adapter_that_does_not_run_needs_no_swap():
    [change] = plan([release("shop")], [])
    assert (change.numbers, change.is_swap) == ((1,), False)


def test_adapter_that_shares_its_port_is_planned_as_a_function_is():
    running = [instance(1, deployed="shop"), instance(2, deployed="shop")]
    [change] = plan([release("shop")], running, shares_ports=True)
    assert (change.numbers, list(change.old)) == ((3, 4), running)


SCALES = {
    "up": ([instance(1)], 3, (2, 3), []),
    "up into a gap": ([instance(1), instance(3)], 3, (2,), []),
    "down": ([instance(1), instance(2), instance(3)], 1, (), [2, 3]),
    "to none": ([instance(1), instance(2)], 0, (), [1, 2]),
    "same": ([instance(1), instance(2)], 2, (), []),
    "others run": ([instance(1), instance(2, deployed="shop.sell")], 2, (2,), []),
    "one is about to end": ([instance(1), instance(2, state="stopping")], 2, (3,), []),
}


@pytest.mark.parametrize("case", SCALES)
def test_plan_scale(case):
    running, count, numbers, ended = SCALES[case]
    change = plan_scale(release(version=OLD), count, running)
    assert change.numbers == numbers
    assert [i.name for i in change.old] == [instance_name("shop.bake", n) for n in ended]


def test_who_starts_is_told_how_many_there_will_be():
    """Topics get a partition for each."""
    three = [instance(number) for number in (1, 2, 3)]
    for wanted, count in ((1, 3), (5, 5)):
        [change] = plan([release(replicas=wanted)], three)
        assert change.release.replicas == count
    for count, replicas in ((5, 5), (2, 2), (0, 1)):
        assert plan_scale(release(version=OLD), count, three).release.replicas == replicas


running = st.lists(
    st.builds(
        instance,
        number=st.integers(1, 12),
        version=st.sampled_from([OLD, NEW]),
        state=st.sampled_from(get_args(State)),
        deployed=st.sampled_from(["shop.bake", "shop.sell", "shop"]),
    ),
    unique_by=lambda i: i.name,
)


@given(running, st.integers(0, 5))
def test_planned_names_are_never_those_that_run(running, replicas):
    for change in plan([release(replicas=replicas), release("shop")], running):
        started = names(change)
        assert len(set(started)) == len(started)
        assert not set(started) & {i.name for i in running}


@given(running, st.integers(0, 5))
def test_plan_starts_as_many_as_are_wanted_or_are_at_work(running, replicas):
    there = [i for i in running if i.deployed == "shop.bake"]
    at_work = [i.version for i in there if i.state not in ("stopping", "stopped")]
    count = max(replicas, at_work.count(OLD), at_work.count(NEW))
    good = [i for i in there if (i.version, i.state) == (NEW, "ready")]
    changes = plan([release(replicas=replicas)], running)
    if not changes:
        assert there == good
        assert len(there) == count
    for change in changes:
        assert len(change.numbers) == count - len(good)
        assert set(change.old) == set(there) - set(good)


def test_force_replaces_what_runs_already():
    [change] = plan([release()], [instance(version=NEW)], force=True)
    assert (change.numbers, [i.name for i in change.old]) == ((2,), ["shop.bake"])


@given(running, st.integers(0, 5))
def test_planned_again_after_it_was_carried_out_there_is_nothing_to_do(running, replicas):
    wanted = [release(replicas=replicas), release("shop.sell"), release("shop")]
    for change in plan(wanted, running):
        running = [i for i in running if i not in change.old]
        running += [instance(n, NEW, deployed=change.release.name) for n in change.numbers]
    assert plan(wanted, running) == []


@given(running, st.integers(0, 12))
def test_scaling_ends_at_the_count(running, count):
    there = [i for i in running if i.deployed == "shop.bake"]
    at_work = {i for i in there if i.state not in ("stopping", "stopped")}
    change = plan_scale(release(version=OLD), count, running)
    ended = at_work & set(change.old)
    assert len(at_work) - len(ended) + len(change.numbers) == count
    assert not (ended and change.numbers)
    assert {i.state for i in set(change.old) - at_work} <= {"stopped"}
    assert not set(names(change)) & {i.name for i in running}


class FakeTarget:
    """Runs instances in a dictionary; what the test plans for becomes true as they are asked."""

    def __init__(self, *running, shares_ports=False):
        self.shares_ports = shares_ports
        self.running = {i.name: i for i in running}
        self.stopped = {}
        self.done = []
        self.looks = {}  # name -> how often it has to be asked until it is ready; None: for ever
        self.ends = set()  # names of those that end instead of becoming ready
        self.interrupted = None  # what is raised when it is looked for readiness
        self.in_the_way = None  # what is known before anything starts
        self.rehearses = False

    def check(self, release, numbers):
        if self.in_the_way == release.name:
            raise SagaError(f"{release.name}: no image")

    def start(self, release, number):
        name = instance_name(release.name, number)
        assert name not in self.running
        if release.entry is None and not self.shares_ports:
            ports = [i.name for i in self.running.values() if i.deployed == release.name]
            assert not ports, "the adapter's port is taken"
        self.running[name] = instance(number, release.version, "starting", release.name)
        self.done.append(f"start {name}")
        return name

    def rehearse(self, release):
        if not self.rehearses:
            return None
        name = f"{release.name}-rehearsal"
        self.running[name] = instance(version="rehearsal", state="starting", deployed=name)
        self.done.append(f"rehearse {release.name}")
        return name

    def prepare(self, release, number):
        if self.rehearses:
            self.done.append(f"prepare {instance_name(release.name, number)}")

    def is_ready(self, name):
        if self.interrupted is not None:
            raise self.interrupted
        if name in self.ends:
            raise NotHealthy(f"{name} has ended. Its last lines:\nno oven")
        left = self.looks.get(name, 0)
        if left is None or left > 0:
            self.looks[name] = left and left - 1
            return False
        self.running[name] = replace(self.running[name], state="ready")
        return True

    def keep(self, name):
        self.done.append(f"keep {name}")

    def stop(self, names):
        for name in names:
            self.stopped[name] = self.running.pop(name)
            self.done.append(f"stop {name}")

    def restore(self, instance):
        self.running[instance.name] = self.stopped.pop(instance.name)
        self.done.append(f"restore {instance.name}")

    def remove(self, names):
        for name in names:
            if self.running.pop(name, None) or self.stopped.pop(name, None):
                self.done.append(f"remove {name}")

    def last_lines(self, name):
        return [f"{name} says: heating up", "still heating up"]


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    """A clock that goes on when somebody sleeps."""
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)


def deploy(target, *releases):
    """Plan and roll out; return what was told."""
    told = []
    changes = plan(releases, list(target.running.values()), shares_ports=target.shares_ports)
    roll_out(target, changes, told.append, READY_TIMEOUT)
    return told


def test_what_is_in_the_way_of_one_is_told_before_any_starts_or_stops():
    target = FakeTarget(instance(), instance(deployed="shop"))
    target.in_the_way = "shop"
    with pytest.raises(SagaError, match="no image"):
        deploy(target, release(), release("shop"))
    assert target.done == []


def test_function_that_ends_while_adapters_are_swapped_takes_all_back():
    target = FakeTarget(instance(), instance(deployed="shop"))
    start = target.start

    def start_and_lose_the_function(release, number):
        if release.entry is None:
            target.ends.add("shop.bake-2")
        return start(release, number)

    target.start = start_and_lose_the_function
    with pytest.raises(NotHealthy, match=r"^shop\.bake-2 has ended"):
        deploy(target, release(), release("shop"))
    assert set(target.running) == {"shop.bake", "shop"}


def test_deploy_that_can_not_be_recorded_is_taken_back():
    target: Any = FakeTarget(instance(), instance(deployed="shop"))

    def record():
        raise SagaError("the artifact store can't be written")

    changes = plan([release(), release("shop")], list(target.running.values()))
    with pytest.raises(SagaError, match="can't be written"):
        roll_out(target, changes, lambda _: None, READY_TIMEOUT, record)
    assert set(target.running) == {"shop.bake", "shop"}


def test_new_one_is_ready_before_the_old_one_ends():
    target = FakeTarget(instance())
    target.looks["shop.bake-2"] = 3
    told = deploy(target, release())
    assert target.done == ["start shop.bake-2", "keep shop.bake-2", "remove shop.bake"]
    assert told == [
        "shop.bake-2 starts",
        "shop.bake-2 is ready, after 0.3 s",
        "shop.bake has ended",
    ]


def test_all_new_ones_are_ready_before_any_old_one_ends():
    target = FakeTarget(instance(1), instance(2), instance(deployed="shop.sell"))
    deploy(target, release(), release("shop.sell"))
    started = ["start shop.bake-3", "start shop.bake-4", "start shop.sell-2"]
    assert target.done[:3] == started
    assert target.done[-3:] == ["remove shop.bake", "remove shop.bake-2", "remove shop.sell"]
    assert {(i.version, i.state) for i in target.running.values()} == {(NEW, "ready")}


@pytest.mark.parametrize("fault", ["ends", "is never ready"])
def test_one_that_is_not_healthy_takes_all_new_ones_down(fault):
    before = [instance(), instance(deployed="shop.sell")]
    target = FakeTarget(*before)
    if fault == "ends":
        target.ends.add("shop.sell-2")
    else:
        target.looks["shop.sell-2"] = None
    with pytest.raises(NotHealthy):
        deploy(target, release(), release("shop.sell"))
    assert target.done[2:] == ["remove shop.bake-2", "remove shop.sell-2"]
    assert list(target.running.values()) == before


def test_end_of_a_ready_one_while_others_are_waited_for_is_noticed():
    target = FakeTarget(instance(), instance(deployed="shop.sell"))
    target.looks["shop.sell-2"] = 5
    is_ready = target.is_ready

    def is_ready_then_ends(name):
        ready = is_ready(name)
        if ready and name == "shop.bake-2":
            target.ends.add(name)
        return ready

    target.is_ready = is_ready_then_ends
    with pytest.raises(NotHealthy, match=r"^shop\.bake-2 has ended"):
        deploy(target, release(), release("shop.sell"))
    assert set(target.running) == {"shop.bake", "shop.sell"}


def test_adapter_is_restored_even_if_its_successor_can_not_be_removed():
    target = FakeTarget(instance(deployed="shop"))
    target.ends.add("shop-2")
    remove = target.remove

    def remove_and_complain(names):
        remove(names)
        raise SagaError("not stopped in time")

    target.remove = remove_and_complain
    with pytest.raises(SagaError):
        deploy(target, release("shop"))
    assert list(target.running) == ["shop"]


def test_end_of_a_new_one_is_told_with_its_last_lines():
    target = FakeTarget(instance())
    target.ends.add("shop.bake-2")
    with pytest.raises(NotHealthy, match=r"^shop\.bake-2 has ended\. Its last lines:\nno oven$"):
        deploy(target, release())


def test_lost_patience_is_told_with_the_last_lines():
    target = FakeTarget(instance())
    target.looks["shop.bake-2"] = None
    with pytest.raises(NotHealthy) as error:
        deploy(target, release())
    assert str(error.value) == (
        "shop.bake-2 is not ready after 10 s. Its last lines:\n"
        "shop.bake-2 says: heating up\nstill heating up"
    )


def test_silence_is_told_as_such():
    target = FakeTarget()
    target.looks["shop.bake"] = None
    target.last_lines = lambda _: []
    with pytest.raises(NotHealthy, match=r"not ready after 10 s; it logged nothing$"):
        deploy(target, release())


def test_patience_is_for_a_batch_and_not_for_each_instance():
    target = FakeTarget()
    target.looks = {"shop.bake": 95, "shop.sell": 95}
    deploy(target, release(), release("shop.sell"))
    assert len(target.running) == 2


def test_refused_start_takes_down_what_has_started():
    target = FakeTarget(instance(), instance(deployed="shop.sell"))
    before = dict(target.running)
    start = target.start

    def start_or_not(release, number):
        if release.name == "shop.sell":
            raise SagaError("no room")
        return start(release, number)

    target.start = start_or_not
    with pytest.raises(SagaError, match="no room"):
        deploy(target, release(), release("shop.sell"))
    assert target.done == ["start shop.bake-2", "remove shop.bake-2"]
    assert target.running == before


def test_ctrl_c_takes_down_what_has_started():
    target = FakeTarget(instance())
    target.interrupted = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        deploy(target, release())
    assert target.done == ["start shop.bake-2", "remove shop.bake-2"]
    assert list(target.running) == ["shop.bake"]


@pytest.fixture
def _ended_by_signals():
    """As a command hears them."""
    before = {number: signal.getsignal(number) for number in ENDS}
    raise_when_told_to_end()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


ENDINGS = {signal.SIGINT: KeyboardInterrupt, **dict.fromkeys(ENDS, SystemExit)}


@pytest.mark.usefixtures("_ended_by_signals")
@pytest.mark.parametrize("number", ENDINGS)
def test_what_is_recorded_is_never_taken_down(number):
    """A signal may come when the record is written and nobody knows yet that it is."""
    target: Any = FakeTarget(instance())
    recorded = []

    def record():
        signal.raise_signal(number)
        recorded.append(NEW)

    with pytest.raises(ENDINGS[number]):
        roll_out(target, plan([release()], [instance()]), lambda _: None, READY_TIMEOUT, record)
    assert recorded == [NEW]
    assert target.running["shop.bake-2"].version == NEW
    assert "shop.bake" in target.running, "the same deploy again ends it"


@pytest.mark.usefixtures("_ended_by_signals")
@pytest.mark.parametrize("number", ENDINGS)
def test_what_is_taken_back_is_taken_back_whole(number):
    """Whoever closes a terminal sends more than one signal."""
    target: Any = FakeTarget(instance(), instance(deployed="shop"))
    before = dict(target.running)
    target.ends.add("shop-2")
    remove = target.remove

    def remove_while_impatient(names):
        signal.raise_signal(number)
        remove(names)

    target.remove = remove_while_impatient
    with pytest.raises(ENDINGS[number]):
        deploy(target, release(), release("shop"))
    assert target.running == before


@pytest.mark.usefixtures("_ended_by_signals")
@pytest.mark.parametrize("number", ENDS)
def test_signal_during_a_deploy_takes_down_what_has_started(number):
    target: Any = FakeTarget(instance())
    target.is_ready = lambda _: signal.raise_signal(number)
    with pytest.raises(SystemExit) as ending:
        deploy(target, release())
    assert ending.value.code == 128 + number
    assert list(target.running) == ["shop.bake"]


@pytest.mark.usefixtures("_ended_by_signals")
def test_signal_that_is_ignored_stays_ignored():
    """As by `nohup`: such a deploy is to outlive its terminal."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise_when_told_to_end()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_adapter_stops_before_its_successor_starts():
    target = FakeTarget(instance(deployed="shop"))
    deploy(target, release("shop"))
    assert target.done == ["stop shop", "start shop-2", "keep shop-2", "remove shop"]
    assert [i.version for i in target.running.values()] == [NEW]


def test_adapter_that_shares_its_port_is_ready_before_the_old_one_ends():
    target = FakeTarget(instance(deployed="shop"), shares_ports=True)
    target.looks["shop-2"] = 3
    deploy(target, release("shop"))
    assert target.done == ["start shop-2", "keep shop-2", "remove shop"]


def test_adapter_that_shares_its_port_goes_on_when_its_successor_fails():
    target = FakeTarget(instance(deployed="shop"), shares_ports=True)
    target.ends.add("shop-2")
    with pytest.raises(NotHealthy, match=r"^shop-2 has ended"):
        deploy(target, release("shop"))
    assert target.done == ["start shop-2", "remove shop-2"]
    assert target.running == {"shop": instance(deployed="shop")}


def test_adapter_is_rehearsed_and_all_is_prepared_before_the_old_one_stops():
    target = FakeTarget(instance(deployed="shop"))
    target.rehearses = True
    told = deploy(target, release("shop"))
    assert target.done == [
        "rehearse shop",
        "remove shop-rehearsal",
        "prepare shop-2",
        "stop shop",
        "start shop-2",
        "keep shop-2",
        "remove shop",
    ]
    assert told[0] == "shop-rehearsal starts, without the port"


@pytest.mark.parametrize("fault", ["ends", "never ready", "ctrl-c"])
def test_adapter_that_fails_its_rehearsal_never_ends_the_old_one(fault):
    other = Stack(service="mill", package="mill", database="mill", adapter="mill.http", port=8001)
    before = [instance(), instance(deployed="shop"), instance(deployed="mill")]
    target = FakeTarget(*before)
    target.rehearses = True
    if fault == "ends":
        target.ends.add("mill-rehearsal")
    elif fault == "never ready":
        target.looks["mill-rehearsal"] = None
    else:
        target.prepare = lambda *_: _interrupt()
    with pytest.raises((NotHealthy, KeyboardInterrupt)):
        deploy(target, release(), release("shop"), Release("mill", other, NEW, None))
    assert not [done for done in target.done if done.startswith(("stop", "restore"))]
    assert list(target.running.values()) == before


def test_what_was_prepared_goes_where_the_next_rehearsal_fails():
    other = Stack(service="mill", package="mill", database="mill", adapter="mill.http", port=8001)
    target = FakeTarget(instance(deployed="shop"), instance(deployed="mill"))
    target.rehearses = True
    target.ends.add("mill-rehearsal")
    removed = []
    target.remove = removed.extend
    with pytest.raises(NotHealthy):
        deploy(target, release("shop"), Release("mill", other, NEW, None))
    assert "shop-2" in removed


def _interrupt():
    raise KeyboardInterrupt


def test_adapter_is_swapped_after_all_functions_are_ready():
    target = FakeTarget(instance(), instance(deployed="shop"))
    target.looks["shop.bake-2"] = 3
    told = deploy(target, release("shop"), release())
    assert told.index("shop.bake-2 is ready, after 0.3 s") < told.index("shop-2 starts")


@pytest.mark.parametrize("fault", ["ends", "never ready", "ctrl-c"])
def test_failed_swap_brings_the_old_adapter_back_and_takes_the_functions_down(fault):
    before = {i.name: i for i in (instance(), instance(deployed="shop"))}
    target = FakeTarget(*before.values())
    if fault == "ends":
        target.ends.add("shop-2")
    elif fault == "never ready":
        target.looks["shop-2"] = None
    else:
        stop = target.stop

        def stop_and_interrupt(names):
            stop(names)
            raise KeyboardInterrupt

        target.stop = stop_and_interrupt
    with pytest.raises((NotHealthy, KeyboardInterrupt)):
        deploy(target, release(), release("shop"))
    assert target.done[-1] == "restore shop"
    assert target.running == before


def test_second_failed_swap_brings_both_adapters_back():
    other = Stack(service="mill", package="mill", database="mill", adapter="mill.http", port=8001)
    before = [instance(deployed="shop"), instance(deployed="mill")]
    target = FakeTarget(*before)
    target.ends.add("mill-2")
    with pytest.raises(NotHealthy):
        deploy(target, release("shop"), Release("mill", other, NEW, None))
    assert {i.name: i for i in before} == target.running


def test_old_adapter_is_ready_again_before_the_failure_is_told():
    target = FakeTarget(instance(deployed="shop"))
    target.ends.add("shop-2")
    target.looks["shop"] = 3
    with pytest.raises(NotHealthy, match=r"^shop-2 has ended"):
        deploy(target, release("shop"))
    assert target.looks["shop"] == 0


def test_old_adapter_that_does_not_come_back_does_not_hide_the_reason():
    target = FakeTarget(instance(deployed="shop"))
    target.ends |= {"shop", "shop-2"}
    with pytest.raises(NotHealthy, match=r"^shop-2 has ended"):
        deploy(target, release("shop"))


def test_forced_plan_replaces_what_runs_already():
    running = [instance(1, NEW), instance(2, NEW)]
    [change] = plan([release()], running, force=True)
    assert (change.numbers, list(change.old)) == ((3, 4), running)


def test_nothing_is_done_where_nothing_changes():
    target = FakeTarget(instance(version=NEW))
    assert deploy(target, release()) == []
    assert target.done == []


@given(running, st.integers(0, 3), st.sets(st.integers(0, 5)), st.integers(0, 2))
def test_failed_rollout_leaves_what_ran_and_a_good_one_only_what_is_new(
    running, replicas, ending, adapters
):
    assume(sum(i.deployed == "shop" for i in running) == min(adapters, 1))
    target = FakeTarget(*running)
    before = {i.name: i.version for i in running}
    wanted = [release(replicas=replicas), release("shop.sell"), release("shop")]
    started = [name for change in plan(wanted, running) for name in names(change)]
    target.ends = {name for number, name in enumerate(started) if number in ending}
    try:
        deploy(target, *wanted)
    except NotHealthy:
        assert target.ends
        assert {i.name: i.version for i in target.running.values()} == before
    else:
        assert not target.ends
        assert {(i.version, i.state) for i in target.running.values()} <= {(NEW, "ready")}
        assert set(started) <= set(target.running)
