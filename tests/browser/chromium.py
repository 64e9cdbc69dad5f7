"""Finding and starting the system's Chromium."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Quiet, and without a word to any server but the tests' own.
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ADVICE = "No Chromium found. Run `make test`, which installs one, or `playwright install chromium`."


def start_chromium(playwright: Playwright) -> Browser:
    """A headless Chromium: the one on PATH, else Playwright's own. Raises RuntimeError with what to run."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None and not Path(playwright.chromium.executable_path).exists():
        raise RuntimeError(ADVICE)
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    return playwright.chromium.launch(executable_path=path, headless=True, args=flags)
