"""What the caller's shell sets must not decide what is tested or measured."""

from __future__ import annotations

from opsportal.embedded.environment import without_options
from tests.architecture.test_docs import variables_of_the_settings
from tests.servers import WITHOUT_SERVERS, servers


def test_without_options__every_setting__is_cleared_or_given_anew() -> None:
    """RUN-7: a new setting cannot leak from a shell into the tests or the benchmarks."""
    given = servers().environment().keys()
    left = without_options(dict.fromkeys(variables_of_the_settings(), "from the shell")).keys()
    # METRICS_TOKEN and the like begin with a word of the list; what is required is set by whoever starts the processes.
    assert left - given == set()
    assert WITHOUT_SERVERS.keys() <= given


def test_without_options__everything_else__stays() -> None:
    """RUN-2: PATH, HOME and a proxy are the machine's business."""
    kept = {"PATH": "/bin", "HOME": "/root", "HTTPS_PROXY": "http://proxy:3128", "PORT": "8000"}
    assert without_options({**kept, "FEATURE_CIRCUIT": "false"}) == kept
