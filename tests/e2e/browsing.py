"""Chromium as tests use it. Entry points: `Browser`, and the fixture `chromium`.

`make console` installs what it needs. Without a browser these tests are skipped as NOT CHECKED.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from devhost.laptop import REPOSITORY

FOLDER = REPOSITORY / "tests" / "console"
REQUIRED = "AOS_CONSOLE_REQUIRED"
STEP_SECONDS = 20.0
DESKTOP = (1280, 800)


def find_browser() -> str | None:
    """The browser on this machine, if its driver is installed too."""
    if not (FOLDER / "node_modules" / "playwright-core").is_dir():
        return None
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


class Browser:
    """One page in a browser."""

    def __init__(self, executable: str) -> None:
        self.process = subprocess.Popen(
            ["node", str(FOLDER / "browser.mjs"), executable],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read(30)["ready"]

    def do(self, command: str, *, seconds: float = STEP_SECONDS + 5, **given: Any) -> Any:
        """Carry out one command of browser.mjs."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"command": command, **given}) + "\n")
        self.process.stdin.flush()
        answer = self._read(seconds)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def open(self, url: str, *, scheme: str = "light", size: tuple[int, int] = DESKTOP) -> None:
        """Open a page in a fresh profile."""
        self.do("open", url=url, scheme=scheme, width=size[0], height=size[1])

    def see(self, *texts: str, within_seconds: float = STEP_SECONDS) -> None:
        """Wait until each of the texts is seen."""
        for text in texts:
            timeout = within_seconds * 1000
            self.do("see", text=text, timeout=timeout, seconds=within_seconds + 5)

    def click(self, name: str, *, role: str = "button", within: str | None = None) -> None:
        """Click what has this role and name."""
        self.do("click", role=role, name=name, within=within)

    def close(self) -> None:
        """End the browser."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()

    def _read(self, seconds: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        assert ready, f"the browser did not answer within {seconds:g} s"
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    executable = find_browser()
    if executable is None:
        why = "NOT CHECKED: the console in a browser; install Chromium, then: make console"
        if os.environ.get(REQUIRED):
            pytest.fail(why)
        pytest.skip(why)
    browser = Browser(executable)
    yield browser
    browser.close()
