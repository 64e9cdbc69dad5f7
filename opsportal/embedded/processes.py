"""Starting a server as a child that dies with us, and ending what an earlier crash left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1
MAX_LOG_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged user and group that PostgreSQL runs as when we are root."""

    uid: int
    gid: int


def spawn(
    argv: Sequence[str | Path],
    *,
    cwd: Path,
    log: Path,
    account: Account | None = None,
    last_will: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, its output appended to `log`.

    Its own session keeps the terminal's Ctrl-C away: we end it, last. On Linux the kernel sends
    it `last_will` when the thread that called this dies, so that even our kill -9 leaves none.
    """
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.replace(log.with_suffix(".old"))
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in argv],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=clean_environment(),
            start_new_session=True,
            preexec_fn=die_with_parent(last_will),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


def clean_environment() -> Mapping[str, str]:
    """A locale that exists everywhere, and none of our secrets."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def die_with_parent(last_will: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` that ties a child's life to ours, or None where the kernel has no such thing."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def tie() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(last_will), 0, 0, 0)
        if os.getppid() != parent:  # it died before the tie was made
            os._exit(1)

    return tie


def die_with(parent: int) -> None:
    """Tie this very process to its parent's life: killed with it (Linux; elsewhere nothing happens)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def processes_in(folder: Path, *, name: str) -> list[psutil.Process]:
    """The processes called `name` whose working folder is `folder`.

    Both servers work in their data folder and rewrite their argv and environment, so this is how
    they are told from anybody else's; a recycled process id cannot deceive it.
    """
    wanted = os.path.realpath(folder)
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != name:
            continue
        try:
            if process.cwd() == wanted:
                found.append(process)
        except psutil.Error:  # gone, or another user's
            continue
    return found


def arguments(process: psutil.Process) -> list[str]:
    """The arguments of a process; empty if it is gone."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def marked_processes(name: str, value: str) -> list[psutil.Process]:
    """The processes started with the environment variable `name` set to `value`; not us and our parents."""
    me = psutil.Process()
    spared = {me.pid, *(parent.pid for parent in me.parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        try:
            if process.environ().get(name) == value and is_alive(process):
                found.append(process)
        except (psutil.Error, OSError):  # gone, or another user's
            continue
    return found


def end(processes: Iterable[psutil.Process], *, polite: signal.Signals, grace: float) -> None:
    """Signal the processes, and kill what is still there after `grace` seconds."""
    alive = list(processes)
    send(alive, polite)
    alive = wait_until_gone(alive, seconds=grace)
    send(alive, signal.SIGKILL)
    wait_until_gone(alive, seconds=5)


def send(processes: Iterable[psutil.Process], which: signal.Signals) -> None:
    """Signal those that are still there."""
    for process in processes:
        try:
            process.send_signal(which)
        except psutil.Error:
            continue


def wait_until_gone(processes: Iterable[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Wait for the processes to end and return those that have not.

    A zombie counts as gone: in many containers nobody reaps the orphans.
    """
    deadline = time.monotonic() + seconds
    alive = [process for process in processes if is_alive(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(0.02)
        alive = [process for process in alive if is_alive(process)]
    return alive


def listening(pid: int, port: int) -> int:
    """How many of this process and its children accept connections on this port of TCP."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(_listens(process, port) for process in family)


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        sockets = process.net_connections("tcp")
    except psutil.Error:  # gone
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets)


def is_alive(process: psutil.Process) -> bool:
    """Whether this very process (not another with its id) still runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
