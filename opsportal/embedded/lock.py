"""One `make run` at a time in a checkout."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opsportal.embedded.errors import EmbeddedServerError
from opsportal.embedded.files import private_folder


@contextmanager
def only_one(run_folder: Path) -> Iterator[None]:
    """Hold the run folder's lock; raise EmbeddedServerError at once if another process has it.

    A POSIX record lock: the kernel drops it when this process dies, and children do not inherit it,
    so what a kill -9 leaves behind never keeps the next start out.
    """
    private_folder(run_folder)
    if run_folder.stat().st_uid != os.geteuid():
        raise EmbeddedServerError(
            f"{run_folder} belongs to another user: run as that user, or remove it with `make clean`."
        )
    descriptor = os.open(run_folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise EmbeddedServerError(
                f"`make run` already runs in this checkout (process {holder}): stop it first, or use it."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
