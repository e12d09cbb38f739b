"""The unit with which systemd starts a system of processes at boot, and stops it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SagaError

# What a fork server, a broker in Go or Java, and the code of its users can do without: that code
# may write wherever its user may (no ProtectSystem or ProtectHome: a data directory may be there),
# copy folders with a setgid bit, and compile as it runs. A unit of a user's own may close no more
# than the first.
UNPRIVILEGED = "NoNewPrivileges=yes\n"
HARDENED = """\
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
"""

USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?|[0-9]{1,10}")  # a name, or a number

UNIT = """\
[Unit]
Description=Saga Functions
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
WorkingDirectory={folder}
Environment={environment}
EnvironmentFile=-{environment_file}
ExecStart={command}
Restart=on-failure
RestartSec=5
KillMode=mixed
OOMPolicy=continue
TimeoutStopSec={stop_timeout:g}
{rights}
[Install]
WantedBy={target}
"""


@dataclass(frozen=True)
class Unit:
    """What a unit runs: `command` in `folder`; as `user`, or, without one, for who installs it.

    `environment_file` holds settings and secrets, a line each; it need not be there.
    `stop_timeout` is in seconds.
    """

    command: Sequence[str]
    folder: Path
    stacks: Path
    environment_file: Path
    stop_timeout: float
    user: str | None = None

    def text(self) -> str:
        """Write the unit: SIGTERM goes to the supervisor alone, which stops the others in order.

        One that the kernel ends for its memory does not stop all, as by default: the supervisor
        starts it again.

        Raises `SagaError` where a path has a line break, which no unit can hold, and for a user
        whom no system can have: systemd would only say so at the next boot.
        """
        if self.user is not None and not USER.fullmatch(self.user):
            raise SagaError(f"{self.user!r} is no user's name: take one of `getent passwd`")
        program, *arguments = self.command
        return UNIT.format(
            folder=_plain(self.folder),
            environment=_quoted(f"SAGA_STACKS={self.stacks}"),
            environment_file=_plain(self.environment_file),
            command=" ".join([_quoted(program), *map(_argument, arguments)]),
            stop_timeout=self.stop_timeout,
            rights=UNPRIVILEGED + (f"User={_plain(self.user)}\n{HARDENED}" if self.user else ""),
            target="multi-user.target" if self.user else "default.target",
        )


def _plain(value: object) -> str:
    """Write what systemd takes as it is, but for its specifiers, such as `%h`."""
    if not str(value).isprintable():
        raise SagaError(f"{value}: a systemd unit can't hold its line break or control character")
    return str(value).replace("%", "%%")


def _quoted(value: str) -> str:
    escaped = _plain(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _argument(value: str) -> str:
    return _quoted(value).replace("$", "$$")
