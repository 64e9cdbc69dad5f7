"""The world outside as our child: started, brought back, moved to other ports where somebody has taken them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from opsportal.demo.addresses import Addresses
from opsportal.demo.children import GRACE_SECONDS, ROOT, child_environment, reap
from opsportal.demo.roster import MAIL, OUTSIDE, PROVIDERS
from opsportal.demo.service import EXIT_PORT_TAKEN
from opsportal.embedded.ports import is_free
from opsportal.embedded.processes import die_with_parent

RETURNS_SECONDS = 1.0


class Outside:
    """Call `step` about four times a second, from the main thread. `addresses` has a port for each of the two."""

    def __init__(self, addresses: Addresses, *, mishaps: bool) -> None:
        self.addresses = addresses
        self._mishaps = mishaps
        self._process: subprocess.Popen[str] | None = None
        self._held = False
        self._returns_at = 0.0

    @property
    def pid(self) -> int | None:
        """Its process, None while it is dead."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def step(self, now: float) -> bool:
        """Notice that it died, start it when that is due; whether it had to move to another port."""
        moved = False
        if self._process is not None and (status := self._process.poll()) is not None:
            reap(self._process)
            self._process, self._returns_at = None, now + RETURNS_SECONDS
            if status == EXIT_PORT_TAKEN and self._moved():
                moved, self._returns_at = True, now
        if self._process is None and not self._held and now >= self._returns_at:
            self._launch()
        return moved

    def start(self, now: float) -> bool:
        """Start it again after `kill`; False if it runs."""
        if self.pid is not None:
            return False
        self._held, self._returns_at = False, now
        return True

    def kill(self) -> None:
        """SIGKILL; dead until `start`."""
        self._held = True
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it, by force after two seconds."""
        self._end(signal.SIGTERM)

    def describe(self) -> list[str]:
        """Where both are and how."""
        state = f"runs as process {self.pid}" if self.pid is not None else "dead until `start outside`"
        if self.pid is None and not self._held:
            state = "dead, returns in a moment"
        mail, http = self.addresses[MAIL], self.addresses.url(PROVIDERS)
        return [f"{OUTSIDE:<16}smtp://127.0.0.1:{mail} and {http}  {state}"]

    def _moved(self) -> bool:
        taken = [name for name in (MAIL, PROVIDERS) if not is_free(self.addresses[name])]
        for name in taken:
            self.addresses.choose_another(name)
        return bool(taken)

    def _launch(self) -> None:
        ports = (str(self.addresses[MAIL]), str(self.addresses[PROVIDERS]))
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "opsportal.demo.outside", *ports, *(["--mishaps"] if self._mishaps else [])],
            cwd=ROOT,
            env={**child_environment(), "REDIS_URL": os.environ["REDIS_URL"]},
            stdin=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )

    def _end(self, which: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(which)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        reap(process)
