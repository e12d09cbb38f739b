"""Print what has been logged: `logs`."""

from collections.abc import Iterator
from typing import Annotated

import typer

from ..deploy.targets import open_target
from ..errors import NotRunning, SagaError
from ..system.log_reader import log_names, read_logs
from ..system.saga_log import is_json, saga_log
from ..system.state import read_system
from .app import Data, Where, app, in_lower_case, settings_for
from .terminal import console, line


@app.command()
def logs(
    name: Annotated[
        str | None,
        typer.Argument(help="What is deployed or one instance, as in `saga ps`; else all."),
    ] = None,
    data: Data = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    saga_id: Annotated[
        str | None,
        typer.Option("--saga", metavar="ID", help="One saga's lines alone, in order of time."),
    ] = None,
    target: Where = None,
) -> None:
    """Print what has been logged."""
    settings, saga_id = settings_for(data, target), in_lower_case(saga_id)

    def is_wanted(one: str, deployed: str) -> bool:
        return name in (None, one, deployed)

    containers = None if settings.saga_target == "process" else open_target(settings)
    if containers is None:
        names = log_names(settings.saga_data)
    else:
        names = {instance.name: instance.deployed for instance in containers.instances()}
    wanted = [one for one, deployed in names.items() if is_wanted(one, deployed)]
    if not wanted:
        if containers is None and not names:
            read_system(settings.saga_data)  # which says how to start one
        known = ", ".join(sorted(names)) or "none"
        raise NotRunning(f"no log of {name or 'anything'}; there are: {known}")

    def read(follow: bool) -> Iterator[tuple[str, str]]:
        if containers is None:
            return read_logs(settings.saga_data, is_wanted, follow=follow)
        return containers.logs(is_wanted, follow=follow)

    lines = saga_log(saga_id, read, follow=follow) if saga_id else read(follow)
    several, told = len(wanted) > 1, False
    try:
        for instance, text in lines:
            told, several = True, several or instance != wanted[0]
            prefix = f"{instance} | " if several and not is_json(text) else ""
            console.print(line((prefix, "cyan"), text), soft_wrap=True)
    except KeyboardInterrupt:
        return
    if saga_id and not told:
        raise SagaError(f"no log has a line of saga {saga_id}")
