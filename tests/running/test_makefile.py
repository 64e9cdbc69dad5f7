"""The Makefile: what it says, and that a set-up that failed never looks done (RUN-1, RUN-7)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers import ROOT

# A Python that is new enough and can make an environment, but whose packages cannot be installed.
STUB_PYTHON = """#!/bin/sh
case "$*" in
    "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *pip*|*ensurepip*) exit 1 ;;
    --version) echo "Python 3.13.0" ;;
esac
"""
NEEDED = ("awk", "cat", "cksum", "cp", "make", "mkdir", "rm", "sh")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The Makefile and its requirements, and a PATH of the barest programs."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found, name
        (programs / name).symlink_to(found)
    return tmp_path


def make(folder: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *targets],
        cwd=folder,
        env={"PATH": str(folder / "bin"), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_make__no_target__lists_every_target(folder: Path) -> None:
    """RUN-1: the first thing a newcomer types tells what there is."""
    said = make(folder).stdout
    for target in ("run", "test", "lint", "bench", "lock", "clean"):
        assert f"\n  {target} " in said


def test_setup__no_python__says_what_to_install(folder: Path) -> None:
    """RUN-1: one clear line, and nothing made."""
    done = make(folder, "setup")
    assert done.returncode != 0
    assert "no Python 3.11 or newer on PATH" in done.stderr
    assert not (folder / ".venv").exists()


def test_setup__packages_not_installed__is_not_taken_for_done(folder: Path) -> None:
    """RUN-1: the next `make` starts the set-up again."""
    stub = folder / "bin" / "python3.13"
    stub.write_text(STUB_PYTHON)
    stub.chmod(0o755)
    for _ in range(2):
        done = make(folder, "setup")
        assert done.returncode != 0
        assert "setting up .venv with Python 3.13.0" in done.stdout
        assert "could not be installed" in done.stderr
        assert not os.path.lexists(folder / ".venv" / ".ready")


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("wrk", "apt-get install wrk"),
        ("prometheus", "apt-get install prometheus prometheus-alertmanager"),
        ("blackbox", "apt-get install prometheus-blackbox-exporter"),
    ],
)
def test_tool__neither_there_nor_installable__says_the_command(folder: Path, target: str, command: str) -> None:
    """RUN-7: never a silent skip for a missing tool."""
    (folder / "bin" / "id").write_text("#!/bin/sh\necho 1000\n")
    (folder / "bin" / "id").chmod(0o755)
    done = make(folder, target)
    assert done.returncode != 0
    assert command in done.stderr
