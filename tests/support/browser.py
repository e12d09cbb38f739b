"""A real browser: Debian's Chromium, driven by playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from support.missing import need_programs

NAME = "chromium"


@contextmanager
def run_browser() -> Iterator[Browser]:
    """Run a browser until the end of the block; skip where there is none."""
    need_programs(NAME, packages="chromium")
    # As root it runs in no sandbox; and pages of our own alone are shown in it.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(NAME), args=flags)
        yield browser
        browser.close()
