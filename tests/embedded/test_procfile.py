"""What is measured and killed in tests is what is shipped: the lines of the Procfile."""

from __future__ import annotations

import pytest

from bench.servers import PROCFILE
from opsportal.embedded import procfile


def test_arguments__of_the_shipped_procfile() -> None:
    """The port and the host's name are filled in."""
    web = procfile.arguments(PROCFILE, "web", port=8123)
    assert web[0] == "granian" and web[web.index("--port") + 1] == "8123"
    assert "desk" in " ".join(procfile.arguments(PROCFILE, "alerts", host="desk"))
    with pytest.raises(KeyError, match="teapot"):
        procfile.arguments(PROCFILE, "teapot")


def test_web_workers__is_what_the_line_says() -> None:
    """As many as the readiness of the benchmarks waits for."""
    assert procfile.web_workers(PROCFILE) == 2
