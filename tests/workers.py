"""pytest plugin (`-p tests.workers`): how `-n N` deals the tests out to its workers.

A file stays with one worker, for its tests share what their module set up. Whole `make run`s share one worker: each
starts eight processes and judges how soon they are there. What takes longest is dealt out first.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Folders whose files all go to one worker.
TOGETHER = ("tests/running/",)
#: From the longest on, measured; everything else follows in its random order.
LONGEST = ("tests/running/", "tests/bench/", "tests/browser/", "tests/faults/", "tests/api/", "tests/demo/")


class FileScheduling(LoadScopeScheduling):
    """Whole files, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)


def share_of(nodeid: str) -> str:
    """What goes to one worker: the test's file, or its folder."""
    file = nodeid.split("::", 1)[0]
    return next((folder for folder in TOGETHER if file.startswith(folder)), file)


def length_rank(config: pytest.Config, nodeid: str) -> int:
    """Where a test stands when it is dealt out: 0 for the longest. All alike in a run without workers."""
    if not hasattr(config, "workerinput"):
        return 0
    return next((rank for rank, start in enumerate(LONGEST) if nodeid.startswith(start)), len(LONGEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling:
    """Ours, whatever `--dist` says: single tests dealt out would start their module's servers in every worker."""
    config.option.loadscopereorder = False
    return FileScheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """The same random order everywhere: xdist refuses workers that collected differently."""
    node.workerinput["order_seed"] = node.config.option.order_seed


def order_seed_of(config: pytest.Config) -> int | None:
    """The seed that the workers were given; None in a process that is no worker."""
    seed: int | None = getattr(config, "workerinput", {}).get("order_seed")
    return seed
