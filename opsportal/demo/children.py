"""The demo's services as our children: started, watched, brought back, killed and told what to do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from opsportal.demo.addresses import Addresses
from opsportal.demo.roster import CRASHES, Profile
from opsportal.demo.service import EXIT_PORT_TAKEN
from opsportal.embedded.processes import clean_environment, die_with_parent

ROOT = Path(__file__).resolve().parents[2]
RETURNS_AFTER = (18.0, 22.0)
"""Seconds that a service stays away which died for no reason of its own: long enough to be seen by two probes."""
GRACE_SECONDS = 2.0


@dataclass
class Child:
    """One service. `held`: killed by an operator, dead until `start`. `returns_at`: when it will be started again."""

    profile: Profile
    chance: Random
    pace: float
    modes: frozenset[str] = frozenset()
    halted: bool = False
    held: bool = False
    returns_at: float | None = 0.0
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def runs(self) -> bool:
        """Whether its process is alive."""
        return self.process is not None and self.process.poll() is None

    def away(self) -> float:
        """Seconds until it returns by itself."""
        mishap = self.profile.mishap
        bounds = mishap.lasts if mishap is not None and mishap.kind == CRASHES else RETURNS_AFTER
        return self.chance.uniform(*bounds) / (self.pace or 1.0)

    def tell(self, parents: Mapping[str, int]) -> None:
        """Hand over `modes`, `halted` and its parents' ports; a service that is just dying need not hear it."""
        if self.process is None or self.process.stdin is None:
            return
        order = {"modes": sorted(self.modes), "halted": self.halted, "parents": dict(parents)}
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        except OSError:
            return


class Children:
    """All of them. `pace`: as in `Behaviour`, 0 for no mishaps. `addresses` has one for each.

    Call `step` about four times a second. Only to be used from the main thread: on Linux a child dies with the thread
    that started it.
    """

    def __init__(self, profiles: Sequence[Profile], addresses: Addresses, *, pace: float, chance: Random) -> None:
        self.addresses = addresses
        self._pace = pace
        self._chance = chance
        self._children = {
            profile.name: Child(profile, Random(chance.random()), pace)  # noqa: S311 - no secret
            for profile in profiles
        }

    def __getitem__(self, name: str) -> Child:
        return self._children[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The services it knows."""
        return tuple(self._children)

    def running(self) -> frozenset[str]:
        """The services whose process is alive."""
        return frozenset(name for name, child in self._children.items() if child.runs)

    def step(self, now: float) -> bool:
        """Notice who died, start who is due. `now` in seconds of a clock that only goes up.

        Returns whether a service had to move to another port.
        """
        moved = False
        for child in self._children.values():
            moved |= self._buried(child, now)
            if child.process is None and not child.held and child.returns_at is not None and now >= child.returns_at:
                self._start(child)
        if moved:
            for name in self._children:
                self._tell(name)
        return moved

    def set_modes(self, name: str, modes: frozenset[str]) -> None:
        """Change what an operator wants of it, at once if it runs."""
        self._children[name].modes = modes
        self._tell(name)

    def set_halted(self, halted: bool) -> None:
        """Tell all of them that trading is halted or goes on, where that is new."""
        for name, child in self._children.items():
            if child.halted != halted:
                child.halted = halted
                self._tell(name)

    def kill(self, name: str) -> int | None:
        """SIGKILL; it stays dead until `start`. Returns the process id, None if it was not running."""
        child = self._children[name]
        child.held, child.returns_at = True, None
        process, child.process = child.process, None
        if process is None:
            return None
        process.kill()
        reap(process)
        return process.pid

    def start(self, name: str) -> bool:
        """Start it now, as usual again. False if it runs already."""
        child = self._children[name]
        if child.runs:
            return False
        child.held, child.modes = False, frozenset()
        if child.process is not None:
            reap(child.process)
        self._start(child)
        return True

    def stop(self) -> None:
        """End all of them, by force after two seconds."""
        alive = [child.process for child in self._children.values() if child.process is not None]
        for process in alive:
            process.terminate()
        for process in alive:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            reap(process)
        for child in self._children.values():
            child.process = None

    def _buried(self, child: Child, now: float) -> bool:
        """Settle what becomes of a child that has ended; whether it must move."""
        if child.process is None or (status := child.process.poll()) is None:
            return False
        reap(child.process)
        child.process = None
        if status == EXIT_PORT_TAKEN:
            self.addresses.choose_another(child.profile.name)
            child.returns_at = now
            return True
        child.returns_at = now + child.away()
        return False

    def _start(self, child: Child) -> None:
        profile = child.profile
        child.returns_at = None
        child.process = subprocess.Popen(  # noqa: S603 - our own module
            [
                *(sys.executable, "-m", "opsportal.demo.service", profile.name, str(self.addresses[profile.name])),
                *(f"--pace={self._pace}", f"--seed={self._chance.getrandbits(32)}"),
            ],
            cwd=ROOT,
            env=child_environment(),
            stdin=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        self._tell(profile.name)

    def _tell(self, name: str) -> None:
        child = self._children[name]
        child.tell({parent: self.addresses[parent] for parent in child.profile.depends_on})


def child_environment() -> dict[str, str]:
    """None of the portal's secrets; with the mark by which `make run` finds what it left behind."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("OPSPORTAL_")}
    return {**clean_environment(), **ours}


def reap(process: subprocess.Popen[str]) -> None:
    """Leave no zombie and no open pipe."""
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # closing flushes, into a pipe that nobody reads any more
            process.stdin.close()
