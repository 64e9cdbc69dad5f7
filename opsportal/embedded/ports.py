"""Free loopback ports that are still free after a restart."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
# Below the ephemeral range of Linux (32768-) and macOS (49152-): a port there can be taken at any
# moment as the source port of somebody's outgoing connection while our server is restarting.
FIRST_PORT, LAST_PORT = 20000, 32000


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As the servers do: else a closed connection's TIME_WAIT would look like a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    with socket.socket() as caller:
        # macOS lets a loopback address be bound beside a listener on all addresses.
        caller.settimeout(1)
        return caller.connect_ex((LOOPBACK, port)) != 0


def free_port(preferred: int | None = None) -> int:
    """`preferred` if it is free, else another free loopback port outside the ephemeral range.

    Raises OSError when none of 200 random ones is free.
    """
    if preferred is not None and is_free(preferred):
        return preferred
    for _ in range(200):
        port = random.randint(FIRST_PORT, LAST_PORT)  # noqa: S311 - not a secret
        if is_free(port):
            return port
    raise OSError(f"no free loopback port between {FIRST_PORT} and {LAST_PORT}")
