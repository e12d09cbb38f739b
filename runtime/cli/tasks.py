"""The list of commands as `saga --help` shows it: by task, each told in one whole line."""

from typing import Any

from typer.core import TyperGroup

TASKS = {
    "Run": ("up", "down", "run", "create-databases"),
    "Deploy": ("deploy", "rollback", "scale", "remove", "deployments", "render"),
    "Look": ("ps", "top", "logs", "sagas", "show", "why"),
    "Operate": ("retry", "skip", "dlq", "invoke"),
    "Prove": ("demo", "bench", "chaos", "simulate"),
    "Author": ("check", "new"),
}


class ByTask(TyperGroup):
    """A group whose help lists its commands under the tasks that they are for."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        """Write the lists, with all descriptions in one column."""
        width = max(map(len, self.commands), default=0)
        for task, names in TASKS.items():
            told = [(name.ljust(width), _in_one_line(self.commands[name].help)) for name in names]
            with formatter.section(task):
                formatter.write_dl(told)


def _in_one_line(help_text: str | None) -> str:
    return (help_text or "").strip().partition("\n")[0]
