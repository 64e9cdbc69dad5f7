"""The API key of the demo platform, in a file that only its owner may read (mode 0600)."""

from __future__ import annotations

import json
from pathlib import Path

from opsportal.embedded import files


def keyfile_beside(addresses: Path) -> Path:
    """`demo-key.json`, beside the file with the ports."""
    return addresses.with_name("demo-key.json")


def read_key(path: Path) -> str:
    """The key; empty if there is none."""
    try:
        return str(files.read_json(path).get("key") or "")
    except OSError:
        return ""


def write_key(path: Path, key: str) -> None:
    """Keep a new one in place of the old."""
    files.private_folder(path.parent)
    files.write_private(path, json.dumps({"key": key}) + "\n")
