"""What `saga up` starts: what ran when the system ended, or the code as it is now.

Who stops a system, by `saga down` or Ctrl-C, leaves no record of what was wanted of it. One that
has ended in any other way leaves it: killed, by a reboot, or by SIGTERM of a service manager.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import StackError
from ..settings import Settings
from .code import STACK_FILE
from .stack import Stack, find_stacks, read_stack
from .state import CODE, forget_system
from .wanted import Wanted, parse_wanted, versions_of, write_wanted

FRESH = "`saga up --fresh` starts the code as it is now"


@dataclass(frozen=True)
class Recovery:
    """The instances to start, None for those of the code as it is now; and a line that says so."""

    wanted: Mapping[str, Wanted] | None = None
    told: str = ""


def plan_recovery(record: bytes | None, deployed: Callable[[str], str | None]) -> Recovery:
    """Decide what to start by what was wanted last, which is None after a clean end.

    `deployed` returns the version of a function, a saga or an adapter that was recorded last.
    """
    if record is None:
        return Recovery()
    try:
        left = parse_wanted(record)
    except ValueError:
        return Recovery(
            told="It is not known what ran before, as its record is damaged: "
            "the code as it is now is started."
        )
    wanted = _without_unfinished(left, deployed)
    versions = len({one.version for one in wanted.values()})
    return Recovery(
        wanted,
        "As the system was not stopped by `saga down`, what ran is brought back "
        f"(instances: {len(wanted)}, versions: {versions}); {FRESH}.",
    )


def _without_unfinished(
    left: Mapping[str, Wanted], deployed: Callable[[str], str | None]
) -> dict[str, Wanted]:
    """Leave out what a deploy that was under way would have taken away, or back."""
    versions = versions_of(left.values())
    kept = {name: deployed(name) for name, found in versions.items() if len(found) > 1}
    of_one_version = {
        name: one
        for name, one in left.items()
        if kept.get(one.deployed) not in versions[one.deployed] or one.version == kept[one.deployed]
    }
    return _of_one_generation(of_one_version)


def _of_one_generation(left: Mapping[str, Wanted]) -> dict[str, Wanted]:
    """Leave out, where a version was to take its own place, the generation that is fewer."""
    generations: dict[tuple[str, str], Counter[str]] = {}
    for one in left.values():
        found = generations.setdefault((one.deployed, one.version), Counter())
        found[one.generation] += 1
    whole = {of: found.most_common(1)[0][0] for of, found in generations.items()}
    return {n: one for n, one in left.items() if one.generation == whole[one.deployed, one.version]}


def begin(settings: Settings, recovery: Recovery) -> tuple[Mapping[Path, Stack], dict[str, Stack]]:
    """Keep what is brought back as what is wanted, or forget what was wanted.

    Returns the stacks of the code as it is now, where that is started; and the stacks of all that
    is started, by its name. Raises `StackError` where a stack file of now is wrong.
    """
    if recovery.wanted is None:
        forget_system(settings.saga_data)
        stacks = find_stacks(settings.saga_stacks)
        return stacks, {name: stack for stack in stacks.values() for name in stack.names()}
    write_wanted(settings.saga_data, recovery.wanted)
    return {}, read_stacks_of(settings.saga_data / CODE, recovery.wanted.values())


def read_stacks_of(code: Path, wanted: Iterable[Wanted]) -> dict[str, Stack]:
    """Return the stacks of unpacked versions, by the names of what is deployed.

    One that can't be read is left out: its instances can't be started, and tell why.
    """
    stacks = {}
    for one in wanted:
        with suppress(StackError):
            stacks[one.deployed] = read_stack(code / one.version / STACK_FILE)
    return stacks
