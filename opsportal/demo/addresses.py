"""Which loopback port each service of the demo listens on: chosen at the first start, kept for the next."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from opsportal.embedded import files
from opsportal.embedded.ports import free_port


class Addresses:
    """The ports in the file `path` (mode 0600). A cut-short or absent file means: choose anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        known = files.read_json(path).get("ports")
        self._ports: dict[str, int] = (
            {str(name): port for name, port in known.items() if isinstance(port, int)}
            if isinstance(known, dict)
            else {}
        )

    def __getitem__(self, name: str) -> int:
        return self._ports[name]

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def url(self, name: str) -> str:
        """The base URL of a service."""
        return f"http://127.0.0.1:{self[name]}"

    def choose(self, names: Iterable[str]) -> bool:
        """Give each name its port of the last time, or another where that one is taken; whether any is new.

        Raises OSError when none is free.
        """
        before = dict(self._ports)
        for name in names:
            self._give(name, self._ports.get(name))
        self._keep()
        return self._ports != before

    def choose_another(self, name: str) -> None:
        """Somebody took the port of this one."""
        self._give(name, None)
        self._keep()

    def _give(self, name: str, preferred: int | None) -> None:
        others = {port for other, port in self._ports.items() if other != name}
        port = free_port(preferred if preferred not in others else None)
        while port in others:
            port = free_port()
        self._ports[name] = port

    def _keep(self) -> None:
        files.private_folder(self._path.parent)
        files.write_private(self._path, json.dumps({"ports": self._ports}, indent=1) + "\n")
