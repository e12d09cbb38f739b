"""`make mutants`: show the mutants of the configured files that no test notices."""

import multiprocessing
import os
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NoReturn

import pytest

from mutants.mutation import mutants
from mutants.trial import ROOT, Bench, Trials

FORK = multiprocessing.get_context("fork")
CONFIGURATION = tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())


def found(patterns: list[str]) -> list[str]:
    """List what the patterns match."""
    paths = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    return [str(path.relative_to(ROOT)) for path in paths]


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


def run(files: list[str], tests: list[str]) -> NoReturn:
    """Run the tests against the mutants of the files; exit with 1 where one is a surprise."""
    fit: list[bool] = []
    options = ["-q", "-s", "-p", "no:cacheprovider", "-m", "not proof and not docker"]
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(
            files, folder, lambda bench: fit.extend(judge(bench, file) for file in files)
        )
        options += [f"--basetemp={folder}/tests", "--timeout=60"]
        pytest.main([*options, *tests], plugins=[trials])
    sys.exit(0 if len(fit) == len(files) and all(fit) else 1)


def main(names: list[str]) -> int:
    """Try the files that are named, or all that are configured, each suite in its own process."""
    os.chdir(ROOT)
    unknown, failed = set(names), False
    for suite in CONFIGURATION["suites"]:
        files = [file for file in found(suite["files"]) if file in names or not names]
        unknown -= set(files)
        if files:
            process = FORK.Process(target=run, args=(files, found(suite["tests"])))
            process.start()
            process.join()
            failed |= process.exitcode != 0
    if unknown:
        sys.exit(f"not configured in mutants.toml: {', '.join(sorted(unknown))}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
