"""The console is there for the apps that have sagas, and costs the others nothing."""

import subprocess
import sys

from support.waiting import DEADLINE

WITHOUT_A_SAGA = """\
import sys

from saga.runtime.console.mounting import mount
from saga.runtime.settings import Settings
from saga.runtime.web.app import new_app

settings = Settings()
app = new_app("bakery", settings, [])
mount(app, settings)
assert "console" not in app.blueprints
print(*(name for name in ("saga.runtime.console.pages", "jinja2") if name in sys.modules))
"""


def test_app_without_a_saga_imports_no_page() -> None:
    run = [sys.executable, "-c", WITHOUT_A_SAGA]
    done = subprocess.run(run, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
