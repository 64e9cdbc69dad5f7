"""`.run/env`: what `make run` tells `manage.py` about the running portal (RUN-4)."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from opsportal.embedded.files import write_private

RUN_FOLDER_VARIABLE = "OPSPORTAL_RUN_DIR"


def run_folder(root: Path) -> Path:
    """`.run` in the checkout, or what OPSPORTAL_RUN_DIR names."""
    named = os.environ.get(RUN_FOLDER_VARIABLE)
    return Path(named).resolve() if named else root / ".run"


def write_run_env(root: Path, variables: Mapping[str, str]) -> None:
    """Write the variables so that both a shell and `load_run_env` can read them; mode 0600."""
    lines = [f"{name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    write_private(run_folder(root) / "env", "\n".join(lines) + "\n")


def load_run_env(root: Path) -> None:
    """Set the variables of `.run/env` that the environment does not have. No file: nothing happens."""
    path = run_folder(root) / "env"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, PermissionError):
        return
    for line in lines:
        name, separator, quoted = line.partition("=")
        if separator and not os.environ.get(name):
            os.environ[name] = "".join(shlex.split(quoted))
