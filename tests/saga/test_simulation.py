"""The whole system simulated: what must hold does, and what is broken on purpose is noticed."""

import dis
import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import chain
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from saga.functions.product.store import Product
from saga.runtime import crash
from saga.runtime.dead_letter import to_dead_letter
from saga.runtime.envelope import Envelope, Record
from saga.runtime.errors import SagaError
from saga.runtime.inbox import Answer, InboxRow
from saga.runtime.poison import DEATHS
from saga.runtime.saga_host import NOT_SENT
from saga.runtime.settings import Settings
from saga.runtime.simulation import world
from saga.runtime.simulation.invariants import (
    JUNK_HEADERS,
    MOST_DEATHS,
    Invariants,
    trace_of,
)
from saga.runtime.simulation.nemesis import Faults
from saga.runtime.simulation.simulator import BAD_ITEMS, Run, Simulator
from saga.runtime.system.stack import read_stacks
from saga.stacks import ledger
from saga.stacks.planted_bugs import BUGS, Bug, planted
from saga.stacks.simulate import (
    ENOUGH_RUNS,
    Orders,
    Summary,
    run_all,
    simulate,
    too_little_seen,
)

SEEDS = 40  # the same ones each time; `make proof` tries others, and many more
# Any seeds would do; from here the bugs that are rarely met are found soon.
FOUND_WITHIN = range(101, 601)
KINDS = [*ledger.KINDS, "duplicates", *BAD_ITEMS]


def orders() -> Orders:
    return Orders(read_stacks(Settings().saga_stacks))


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(orders()) as simulator:
        yield simulator


class Telling(Simulator):
    """Keeps the story of each run, which changes nothing of it."""

    def __init__(self, workload: Orders) -> None:
        super().__init__(workload)
        self.stories: list[str] = []

    def run(self, seed: int, *, story: bool = True) -> Run:
        run = super().run(seed, story=True)
        self.stories.append("\n".join(run.story))
        return run


@pytest.fixture(scope="module")
def ran() -> tuple[Summary, list[str]]:
    """Run the seeds; return what came of them, and their stories."""
    with Telling(orders()) as simulator:
        return run_all(simulator, range(SEEDS)), simulator.stories


def test_nothing_is_lost_and_nothing_happens_twice(ran: tuple[Summary, list[str]]) -> None:
    summary, _ = ran
    assert summary.violations == {}, "see `saga simulate --seed K --trace`"
    assert too_little_seen(summary.model_copy(update={"runs": ENOUGH_RUNS})) == []
    assert set(summary.statuses) == {"COMPLETED", "COMPENSATED"}
    assert min(summary.statuses.values()) > SEEDS


@pytest.mark.proof
@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_found(simulator: Simulator, bug: Bug) -> None:
    with planted(bug):
        assert any(simulator.run(seed).violations for seed in FOUND_WITHIN)


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_gone_afterwards(bug: Bug) -> None:
    before = dis.Bytecode(target(bug)).dis()
    with planted(bug):
        assert dis.Bytecode(target(bug)).dis() != before
    assert dis.Bytecode(target(bug)).dis() == before


def target(bug: Bug) -> Any:
    """Return the function that a bug is planted in."""
    found: Any = importlib.import_module(bug.module)
    for name in bug.target.split("."):
        found = getattr(found, name)
    return getattr(found, "build", found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "gone"}, "no_fence: saga.runtime.inbox has no function gone any more"),
        ({"old": "gone"}, "no_fence: saga.runtime.inbox.decide has no 'gone' any more"),
    ],
)
def test_bug_whose_place_is_gone_says_so(change: dict[str, str], message: str) -> None:
    with pytest.raises(SagaError, match=message), planted(replace(BUGS["no_fence"], **change)):
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_many_runs_that_saw_none_of_a_kind_have_failed(
    ran: tuple[Summary, list[str]], kind: str
) -> None:
    summary, _ = ran
    seen = {**dict.fromkeys(KINDS, 1), "excused": 0}
    enough = summary.model_copy(update={"runs": ENOUGH_RUNS, "seen": seen})
    assert too_little_seen(enough) == []
    unseen = enough.model_copy(update={"seen": {**seen, kind: 0}})
    assert too_little_seen(unseen) == [f"these runs saw no {kind}"]
    few = unseen.model_copy(update={"runs": ENOUGH_RUNS - 1})
    assert too_little_seen(few) == []


def test_many_sagas_that_gave_up_are_no_success(ran: tuple[Summary, list[str]]) -> None:
    summary, _ = ran
    seen = {**dict.fromkeys(KINDS, 1), "excused": 46}
    update = {"runs": ENOUGH_RUNS, "sagas": 100, "seen": seen}
    assert too_little_seen(summary.model_copy(update=update)) == ["46 of 100 sagas gave up"]


def test_no_two_things_happen_at_the_same_moment() -> None:
    somewhere, moments = world.World(seed=1, partitions={}, story=False), []
    for _ in range(3):
        somewhere.after(1.0, lambda: moments.append(somewhere.moment()))
    somewhere.pass_time(2.0)
    assert len(set(moments)) == 3


def test_same_seed_gives_the_same_run(simulator: Simulator) -> None:
    first = simulator.run(5, story=True)
    other = simulator.run(6, story=True)
    assert simulator.run(5, story=True) == first
    assert first.story != other.story
    assert first.fingerprint != other.fingerprint


def test_telling_the_story_changes_nothing(simulator: Simulator) -> None:
    assert simulator.run(7, story=True).fingerprint == simulator.run(7).fingerprint


def test_same_seed_gives_the_same_run_in_every_process(simulator: Simulator) -> None:
    """Python hashes strings differently in each process."""
    code = (
        "from saga.stacks.simulate import *\n"
        "with Simulator(Orders(read_stacks(ORDERS))) as simulator:\n"
        "    print(hash(simulator.workload.saga.name), simulator.run(5, story=True))"
    )
    own = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": own},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    hashed, _, run = told.partition(" ")
    assert int(hashed) != hash(simulator.workload.saga.name)
    assert run == repr(simulator.run(5, story=True))


def test_everything_that_may_go_wrong_does(
    ran: tuple[Summary, list[str]], simulator: Simulator
) -> None:
    points = [
        getattr(crash, name)
        for name in dir(crash)
        if name.isupper() and name not in ("DISARMED", "KILLED")
    ]
    wanted = [f"is killed {point.replace('_', ' ')}" for point in points]
    wanted += ["stands still after commit", "loses", "delays", "will repeat", "joins"]
    wanted += ["is scaled away", "restarts empty", "forgets all offsets", "is away", "is broken"]
    wanted += [
        "refuses everything",
        "cancels",
        "retries",
        "skips",
        "dead letter",
        "without running it",
    ]
    wanted += ["reports an error", "offsets were not committed", "gets no answer", "attempt 2"]
    wanted += ["(SimulatedFault)", "(insufficient_stock)", "(insufficient_funds)", "(cancelled)"]
    wanted += [
        "(UnprintableSimulatedFault)",
        "(ContractError)",
        "refuses a COMMIT",
        "spoils",
        "mends",
    ]
    wanted += ["dies of the message in hand", "(process_ended)", "will never take", "takes up"]
    more = ("\n".join(simulator.run(seed, story=True).story) for seed in range(SEEDS, 300))
    for told in chain(ran[1], more):
        wanted = [text for text in wanted if text not in told]
        if not wanted:
            break
    assert wanted == []


def test_half_of_the_faults_are_missing_from_a_run(simulator: Simulator) -> None:
    drawn = [str(world.World(seed, {}, story=False).nemesis.faults) for seed in range(20)]
    assert simulator.run(5).faults == drawn[5]
    kinds = Counter(len(faults.split(", ")) for faults in drawn)
    assert min(kinds) < len(fields(Faults)) / 2 < max(kinds)


def test_tables_are_bound_as_they_were_afterwards() -> None:
    before = (InboxRow._meta.database, Product._meta.database)
    with Simulator(orders()) as simulator:
        simulator.run(1)
    assert (InboxRow._meta.database, Product._meta.database) == before


def answered(outcome: Any, data: str = "{}", action: str = "do") -> tuple[list, list[Record]]:
    """Return what ran and what is replied when a command is answered."""
    command_id = f"s/step/{action}"
    answer = Answer("Done", outcome, "now", data)
    return [(command_id, answer)], [message("/reply", action, outcome=outcome, data=data)]


def message(suffix: str = "", action: str = "do", **changes: Any) -> Record:
    """Return a command, or a reply, of a saga `s`."""
    fields = {"data": "{}", "traceparent": trace_of("s"), **changes}
    return Envelope("t", f"s/step/{action}{suffix}", "Done", "/x", "now", **fields).record()


@pytest.fixture
def invariants() -> Invariants:
    return Invariants()


def test_one_effect_and_its_repeated_answer_are_fine(invariants: Invariants) -> None:
    ran, replies = answered("done")
    invariants.committed(ran, replies)
    invariants.committed([], replies)
    assert invariants.violations == []


def test_second_effect_is_a_violation(invariants: Invariants) -> None:
    for _ in range(2):
        invariants.committed(*answered("done"))
    assert invariants.violations == ["s/step/do took effect twice"]


def test_offset_committed_before_its_record_is_answered_is_a_violation(
    invariants: Invariants,
) -> None:
    invariants.answered("g", [("t", 0, 0)])
    invariants.offsets("g", {}, {("t", 0): 1})
    invariants.offsets("g", {("t", 0): 1}, {("t", 0): 1})
    assert invariants.violations == []
    invariants.offsets("g", {("t", 0): 1}, {("t", 0): 2})
    assert invariants.violations == ["g committed t[0]@1 unanswered"]


def test_another_groups_answer_does_not_count(invariants: Invariants) -> None:
    invariants.answered("other", [("t", 0, 0)])
    invariants.offsets("g", {}, {("t", 0): 1})
    assert invariants.violations == ["g committed t[0]@0 unanswered"]


def test_two_effects_in_one_batch_are_a_violation(invariants: Invariants) -> None:
    ran, replies = answered("done")
    invariants.committed(ran * 2, replies * 2)
    assert invariants.violations == ["s/step/do took effect twice"]


def test_effect_after_the_undo_is_a_violation(invariants: Invariants) -> None:
    _, skipped = answered("done", action="undo")
    invariants.committed([], skipped)
    invariants.committed(*answered("done"))
    assert invariants.violations == ["s/step/do took effect after it was undone"]


def test_undo_of_nothing_is_a_violation(invariants: Invariants) -> None:
    invariants.committed(*answered("rejected"))
    invariants.committed(*answered("done", action="undo"))
    told = "s/step/undo took effect, and there was nothing to undo"
    assert invariants.violations == [told]


def test_answer_of_an_effect_that_was_not_had_is_a_violation(invariants: Invariants) -> None:
    invariants.committed([], answered("done")[1])
    assert invariants.violations == ["s/step/do/reply is done, and nothing was done"]


def test_fault_of_a_handler_that_did_not_run_is_a_violation(invariants: Invariants) -> None:
    invariants.committed([], answered("failed")[1])
    assert invariants.violations == ["s/step/do/reply is failed, and nothing was tried"]


def test_history_that_grows_is_fine(invariants: Invariants) -> None:
    for history in (None, '[[0,"0R"]]', '[[0,"0R"]]', '[[0,"0R"],[5,"0D","1R"]]'):
        invariants.histories([("s", history), ("t", '[[0,"0R"],[7,"0F"]]')])
    assert invariants.violations == []


@pytest.mark.parametrize("after", [None, '[[0,"0R"]]', '[[0,"0R"],[9,"0F Oh"]]'])
def test_transition_that_is_written_over_is_a_violation(
    invariants: Invariants, after: str | None
) -> None:
    for history in ('[[0,"0R"],[5,"0D","1R"]]', after):
        invariants.histories([("s", history)])
    assert invariants.violations == ["saga s: a transition was written over"]


def test_transitions_are_watched_in_each_run(simulator: Simulator) -> None:
    with planted(BUGS["sweep_of_what_was_read_before"]):
        found = (text for seed in range(20) for text in simulator.run(seed).violations)
        assert any(text.endswith(": a transition was written over") for text in found)


def reply_at(offset: int) -> Record:
    return message("/reply", outcome="done")._replace(partition=0, offset=offset)


def test_command_that_is_sent_again_by_a_sweep_or_for_the_same_record_is_fine(
    invariants: Invariants,
) -> None:
    invariants.asked([], [message()])
    invariants.asked([], [message(attempt=2)])
    for _ in range(2):
        invariants.asked([reply_at(7)], [message(action="undo")])
    invariants.asked([reply_at(8)], [])
    assert invariants.violations == []


def test_command_that_is_sent_for_a_copy_of_a_reply_is_a_violation(invariants: Invariants) -> None:
    for offset in (7, 8):
        invariants.asked([reply_at(offset)], [message(action="undo")])
    assert invariants.violations == ["s/step/undo was sent again, for a copy of a reply"]


def test_record_whose_batch_seemed_to_fail_is_no_copy(invariants: Invariants) -> None:
    invariants.asked([], [message()])
    invariants.heard([reply_at(7)])
    invariants.asked([reply_at(7)], [message()])
    assert invariants.violations == []


def test_two_of_one_command_in_one_batch_are_a_violation(invariants: Invariants) -> None:
    invariants.asked([], [message(), message()])
    assert invariants.violations == ["s/step/do was asked for 2 times in one batch"]


def test_command_with_other_bytes_is_a_violation(invariants: Invariants) -> None:
    invariants.asked([], [message()])
    invariants.asked([], [message(data="{ }")])
    assert invariants.violations == ["s/step/do was b'{}' and is b'{ }'"]


def test_message_outside_of_its_sagas_trace_is_a_violation(invariants: Invariants) -> None:
    invariants.committed([], [message(), message(traceparent=trace_of("s"))])
    assert invariants.violations == []
    invariants.committed([], [message(traceparent=None)])
    assert invariants.violations == ["s/step/do has the traceparent ''"]


def test_message_in_another_sagas_partition_is_a_violation(invariants: Invariants) -> None:
    invariants.committed([], [message()._replace(key=b"other")])
    assert invariants.violations == ["s/step/do has the key other"]


def test_each_record_is_answered(invariants: Invariants) -> None:
    junk = Record("t", None, b"junk", [], 0, 7)
    letter = to_dead_letter(junk, "f", "junk", world.BEGINNING)
    again = message(attempt=2)
    invariants.worked_off(
        [message(), again, junk],
        [message("/reply", outcome="done"), message("/reply", outcome="failed", attempt=2), letter],
    )
    invariants.worked_off([message("/reply", outcome="done")], [message()])
    assert invariants.violations == []


def test_record_without_an_answer_is_a_violation(invariants: Invariants) -> None:
    invariants.worked_off([message(), Record("t", None, b"junk", [], 0, 7)], [])
    assert invariants.violations == ["no answer to s/step/do/reply", "no answer to t[0]@7"]


def test_answer_to_nothing_is_a_violation(invariants: Invariants) -> None:
    invariants.worked_off([], [message("/reply", outcome="done")])
    told = "an answer to s/step/do/reply, which was not asked"
    assert invariants.violations == [told]


def test_fault_of_another_attempt_is_a_violation(invariants: Invariants) -> None:
    invariants.worked_off([message(attempt=2)], [message("/reply", outcome="failed")])
    told = "s/step/do/reply names attempt 1, which was not the one asked"
    assert invariants.violations == [told]


def test_another_answer_is_a_violation(invariants: Invariants) -> None:
    invariants.committed(*answered("done"))
    invariants.committed([], answered("rejected")[1])
    assert len(invariants.violations) == 1


def test_fault_of_a_handlers_own_is_a_violation(invariants: Invariants) -> None:
    invariants.committed(*answered("failed", '{"code": "SimulatedFault"}'))
    assert invariants.violations == []
    invariants.committed(*answered("failed", '{"code": "ZeroDivisionError"}'))
    assert len(invariants.violations) == 1


def test_dead_letter_that_nobody_has_made_is_a_violation(invariants: Invariants) -> None:
    headers = [*JUNK_HEADERS, ("dlq_reason", b"header missing")]
    letter = Record("t.dlq", None, b"junk", headers)
    invariants.committed([], [letter])
    assert invariants.violations == []
    told = ["dead letter on t.dlq: header missing"]
    for other in (letter._replace(value=b"{}"), letter._replace(headers=headers[1:])):
        invariants.violations.clear()
        invariants.committed([], [other])
        assert invariants.violations == told


def test_record_that_has_ended_too_many_processes_may_be_set_aside(invariants: Invariants) -> None:
    command = message()._replace(partition=0, offset=7)
    letter = to_dead_letter(command, "f", "so many have ended", world.BEGINNING)
    answer = message("/reply", outcome="failed", data='{"code": "process_ended"}')
    for _ in range(DEATHS - 1):
        invariants.doubted([command])
    invariants.worked_off([command], [letter, answer])
    invariants.committed([], [letter, answer])
    assert len(invariants.violations) == 3
    invariants.violations.clear()
    invariants.doubted([command])
    invariants.worked_off([command], [letter, answer])
    invariants.committed([("s/step/do", Answer("x", "failed", "now", "{}"))], [letter, answer])
    assert invariants.violations == []
    assert invariants.set_aside == 1


def test_message_that_goes_on_ending_processes_is_a_violation(invariants: Invariants) -> None:
    for _ in range(MOST_DEATHS):
        invariants.died_of(message())
        invariants.died_of(message(action="undo"))
    invariants.died_of(message(action="undo"))
    assert invariants.violations == []
    invariants.died_of(message())
    assert invariants.violations == [f"s/step/do has ended more than {MOST_DEATHS} processes"]


def test_another_attempt_is_no_copy(invariants: Invariants) -> None:
    invariants.asked([reply_at(1)], [message(action="undo")])
    invariants.asked([reply_at(2)], [message(action="undo", attempt=2)])
    assert invariants.violations == []
    invariants.asked([reply_at(3)], [message(action="undo", attempt=2)])
    assert len(invariants.violations) == 1


def test_sagas_that_give_up_without_the_nemesis_are_a_violation(simulator: Simulator) -> None:
    bug = Bug(
        "refusals_are_not_sent",
        "saga.runtime.transition",
        "_do_answered",
        "problem_in(reply)",
        f'problem_of("{NOT_SENT}", "")',
    )
    with planted(bug):
        found = [violation for seed in range(5) for violation in simulator.run(seed).violations]
    assert any(f"gave up by {NOT_SENT}, and 0 times it was the nemesis" in text for text in found)


@pytest.fixture
def run_command():
    app = typer.Typer()
    app.command()(simulate)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_orders_are_simulated_whatever_stacks_are_here(run_command, tmp_path, monkeypatch) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "shop.toml").write_text('service = "shop"')
    monkeypatch.chdir(tmp_path)
    assert run_command("--seeds", "1").exception is None


def test_command_sums_up_as_json(run_command) -> None:
    summary = json.loads(run_command("--seeds", "2", "--json").stdout)
    assert (summary["saga"], summary["runs"], summary["violations"]) == ("place-order", 2, {})
    assert summary["sagas"] == sum(summary["statuses"].values())


def test_command_says_how_to_see_what_it_has_found(run_command) -> None:
    result = run_command("--seeds", "10", "--bug", "total_is_unit_price", "--json")
    assert isinstance(result.exception, SagaError)
    first = min(map(int, json.loads(result.stdout)["violations"]))
    assert f"`saga simulate --seed {first} --trace --bug total_is_unit_price`" in str(
        result.exception
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trace"], "--trace tells the story of one seed: add --seed K"),
        (["--saga", "x"], "--saga x: not one of place-order"),
        (["--bug", "x"], f"--bug x: not one of {', '.join(BUGS)}"),
    ],
)
def test_wrong_option_is_one_clear_line(run_command, arguments: list[str], message: str) -> None:
    assert str(run_command(*arguments).exception) == message
