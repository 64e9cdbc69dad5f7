"""Which processes take requests."""

from __future__ import annotations

import subprocess
import sys

from opsportal.embedded import processes
from opsportal.embedded.ports import LOOPBACK, free_port

#: Two processes on one port, one after the other, as granian's workers are: a line for each that listens.
WORKERS = """
import os, socket, sys

def listen():
    served = socket.socket()
    served.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    served.bind((sys.argv[1], int(sys.argv[2])))
    served.listen()
    print("listening", flush=True)
    return served

kept = listen()
sys.stdin.readline()
if os.fork() == 0:
    kept.close()
    kept = listen()
sys.stdin.read()
"""


def test_listening__a_worker_still_starts__is_not_counted() -> None:
    """Whoever waits for all of them is not told "ready" by the first."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-c", WORKERS, LOOPBACK, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        assert parent.stdout.readline() == "listening\n"
        assert processes.listening(parent.pid, port) == 1
        assert processes.listening(parent.pid, free_port()) == 0
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "listening\n"
        assert processes.listening(parent.pid, port) == 2
        parent.stdin.close()
    assert processes.listening(parent.pid, port) == 0
