"""`make mutants`: show the mutants of the configured files that no test notices."""

import os
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from mutants.mutation import mutants
from mutants.trial import ROOT, Bench, Trials

CONFIGURATION = tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())


def found(key: str) -> list[str]:
    """List what the patterns under a key of the configuration match."""
    paths = [path for pattern in CONFIGURATION[key] for path in sorted(ROOT.glob(pattern))]
    return [str(path.relative_to(ROOT)) for path in paths]


def files(names: list[str]) -> list[str]:
    """Return those named, of the configured ones; all where none is."""
    known = found("files")
    if unknown := set(names) - set(known):
        sys.exit(f"not configured in mutants.toml: {', '.join(sorted(unknown))}")
    return names or known


def judge(bench: Bench, file: str) -> bool:
    """Try a file's mutants; tell whether those that survive are the ones that have a reason."""
    reasons = set(CONFIGURATION["survivors"].get(file, {}))
    count, survived = 0, set()
    for mutant in mutants((ROOT / file).read_text(), str(ROOT / file)):
        count += 1
        if bench.survives(file, mutant):
            survived.add(mutant.label)
            if mutant.label not in reasons:
                print(f"\n{file}:{mutant.line} in {mutant.function}")
                print(f"  - {mutant.before}\n  + {mutant.after}", flush=True)
    print(f"\n{file}: {count - len(survived)} of {count} killed", flush=True)
    for label in sorted(reasons - survived):
        print(f"survives no longer: {label}")
    return survived == reasons


def main(names: list[str]) -> int:
    """Run the tests against the mutants of these files."""
    os.chdir(ROOT)
    chosen = files(names)
    fit: list[bool] = []
    trials = Trials(chosen, lambda bench: fit.extend(judge(bench, file) for file in chosen))
    options = ["-q", "-s", "-p", "no:cacheprovider", "-m", "not proof and not docker"]
    with tempfile.TemporaryDirectory() as folder:
        options += [
            f"--basetemp={folder}/tests",
            f"--rootdir={ROOT}",
            "--hypothesis-seed=0",
            "--timeout=120",
        ]
        status = pytest.main([*options, *found("tests")], plugins=[trials])
    collected = status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    return 0 if collected and all(fit) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
