"""Prometheus's own tool."""

import subprocess

from support.missing import need_programs


def promtool(*arguments: str, stdin: str | None = None) -> str:
    """Run promtool; return what it says, which is a failure where it finds anything."""
    need_programs("promtool", packages="prometheus")
    done = subprocess.run(
        ["promtool", *arguments], input=stdin, capture_output=True, text=True, timeout=60
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
