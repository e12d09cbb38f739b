"""Write functions: `check`, `new function`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ..authoring.check import check
from ..authoring.facts import Facts, Finding
from ..authoring.scaffold import new_function
from ..authoring.survey import collect
from ..settings import ORDERS
from .app import Json, app, settings_for
from .terminal import console, line

new = typer.Typer(
    help="Make what a system is made of.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(new, name="new")


@app.command("check")
def check_system(as_json: Json = False) -> None:
    """Import all stacks and functions, and say what is wrong."""
    stacks = settings_for(None).saga_stacks
    facts = collect(stacks)
    findings = check(facts)
    if as_json:
        print(json.dumps([_as_dict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            console.print(_line(finding), soft_wrap=True)
        console.print(_summary(stacks, facts, findings), soft_wrap=True)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


@new.command()
def function(
    name: Annotated[str, typer.Argument(metavar="SERVICE.NAME", help="As `gift.wrap_gift`.")],
    folder: Annotated[
        Path, typer.Option(metavar="DIR", help="The project, which holds the service's package.")
    ] = Path(),
) -> None:
    """Make a function: its file, messages, stack entry and a test."""
    made = new_function(name, folder)
    for change in made.changes:
        verb = "made" if change.is_new else "extended"
        console.print(line((f"{verb:<8}", "dim"), f" {change.path}"), soft_wrap=True)
    console.print(f"\nNext: say what {made.file} does, then")
    for command in made.next_commands():
        console.print(f"  {command}", soft_wrap=True)


def _line(finding: Finding) -> Text:
    colour = "red" if finding.level == "error" else "yellow"
    where = f"{_shown(finding.path)}:{finding.line}"
    return line(f"{where}: ", (f"{finding.level}:", colour), f" {finding.text}")


def _summary(stacks: Path, facts: Facts, findings: list[Finding]) -> str:
    # Nobody has named these, and none are here: who is in the wrong folder wants to know.
    where = "the built-in orders" if stacks == ORDERS else _shown(stacks)
    counted = [_count(len(facts.functions), "function"), _count(len(facts.sagas), "saga")]
    for level in ("error", "warning"):
        if number := sum(finding.level == level for finding in findings):
            counted.append(_count(number, level))
    return f"{where}: " + ", ".join(counted) + ("." if findings else ", no problems.")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + "s" * (number != 1)


def _as_dict(finding: Finding) -> dict[str, str | int]:
    return {
        "path": _shown(finding.path),
        "line": finding.line,
        "level": finding.level,
        "text": finding.text,
    }


def _shown(path: Path) -> str:
    here, file = Path.cwd(), path.resolve()  # an editable installation imports over links
    return str(file.relative_to(here) if file.is_relative_to(here) else path)
