"""A fence around code that opens connections of its own, such as Apprise's plugins.

Python tells an audit hook of each connection, file and process before it is made (PEP 578), and the hook may refuse.
It looks only at threads that have asked for it. What C libraries do by themselves it does not see, nor what other
threads do that the code starts: kinds of Apprise that work so are refused by name (`apprise.NOT_OFFERED`).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import requests

from alerting.channels.connecting import address_sentence, why_not
from opsportal.observability.addresses import AddressRefused, literal


class _Fence(threading.local):
    up = False
    refusal = ""


_fence = _Fence()
_PROCESSES = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"})
_CONNECTIONS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
#: What a library may read: itself, and what a system tells everybody.
_READABLE = tuple(
    os.path.realpath(path) + os.sep for path in {sys.prefix, sys.base_prefix, "/etc/ssl", "/usr/share", "/usr/lib"}
)
_READABLE_FILES = frozenset({"/etc/resolv.conf", "/etc/hosts", "/etc/localtime", "/etc/mime.types", "/dev/urandom"})


@contextmanager
def fenced() -> Iterator[None]:
    """In this thread: no connections to refused addresses, no proxies, no files but its own, no processes."""
    _install()
    _fence.up, _fence.refusal = True, ""
    try:
        yield
    finally:
        _fence.up = False


def refusal() -> str:
    """Why the last `fenced` code of this thread was not let out, as a sentence; empty if it was."""
    return _fence.refusal


@cache
def _install() -> None:
    sys.addaudithook(_look)  # for good: Python has no way to take one back
    for module in (requests.sessions, requests.utils):
        vars(module)["get_environ_proxies"] = _proxies


_environ_proxies = requests.utils.get_environ_proxies


def _proxies(url: str, no_proxy: str | None = None) -> dict[str, str]:
    """What requests takes from the environment; none inside, where the proxy would be all that is seen."""
    return {} if _fence.up else _environ_proxies(url, no_proxy=no_proxy)


def _look(event: str, args: tuple[Any, ...]) -> None:
    if not _fence.up:
        return
    if event in _CONNECTIONS:
        _check_address(args[1])
    elif event == "open":
        _check_file(args[0], args[1], args[2])
    elif event in _PROCESSES:
        raise PermissionError("no process may be started here")


def _check_address(where: Any) -> None:
    if where is None:
        return  # of a socket that is connected already
    host = where[0] if isinstance(where, tuple) and where and isinstance(where[0], str) else None
    address = literal(host.partition("%")[0]) if host is not None else None
    # A name would be looked up behind our back, and a path of a local socket has no address.
    why = why_not(address) if address is not None else "a local one, or one that cannot be checked"
    if why:
        _fence.refusal = address_sentence(why)
        raise AddressRefused(_fence.refusal)


def _check_file(path: Any, mode: Any, flags: Any) -> None:
    if isinstance(path, int):
        return
    writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else True
    name = os.path.realpath(os.fsdecode(path))
    if writes or not (name in _READABLE_FILES or name.startswith(_READABLE)):
        raise PermissionError("no file may be opened here")
