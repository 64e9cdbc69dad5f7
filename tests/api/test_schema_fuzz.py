"""Every operation of the API's schema with all that schemathesis thinks of, as three kinds of callers (Q-5).

Its checks: no 5xx; status, media type, headers and body as the schema says; data that breaks the schema is refused, and
data that keeps it is not refused for its form; methods that are not there are 405; without a key nothing opens.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.servers import ROOT

CONFIG = Path(__file__).with_name("schemathesis.toml")
PROGRAM = Path(sys.executable).with_name("schemathesis")
#: The statuses that each operation answered to its own method.
Answers = dict[str, set[int]]


#: Who gets no further than the door need not try each boundary of each field.
AT_THE_DOOR = "examples,fuzzing"


def fuzz(
    portal: Any,
    described: Any,
    folder: Path,
    *,
    examples: int,
    key: str = "",
    phases: str = "examples,coverage,fuzzing",
) -> Answers:
    """Let schemathesis loose on a running portal; what each operation answered to its own method. Fails if it complains."""
    schema = folder / "schema.json"
    schema.write_text(json.dumps(described))
    done = subprocess.run(
        [
            PROGRAM,
            f"--config-file={CONFIG}",
            "run",
            schema,
            f"--url={portal.url}",
            f"--max-examples={examples}",
            f"--phases={phases}",
            *([f"--header=Authorization: Bearer {key}"] if key else []),
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.api.fuzz_hooks",
            "FUZZ_ANSWERS": str(folder / "answers"),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers: Answers = defaultdict(set)
    for line in (folder / "answers").read_text().splitlines():
        operation, method, status = line.split("\t")
        if operation.startswith(f"{method} "):
            answers[operation].add(int(status))
    return answers


def test_api__admins_key__answers_everything_as_documented(
    live_server: Any, described: Any, admin_key: str, tmp_path: Path
) -> None:
    """Q-5: and each operation has also done what it is for."""
    answers = fuzz(live_server, described, tmp_path, examples=30, key=admin_key)
    assert [operation for operation, statuses in answers.items() if not statuses & {200, 202}] == []
    assert len(answers) == sum(len(methods) for methods in described["paths"].values())


def test_api__viewers_key__reads_and_changes_nothing(
    live_server: Any, described: Any, viewer_key: str, tmp_path: Path
) -> None:
    """Q-5, AK-3: a key with every scope opens no more than its owner has."""
    answers = fuzz(live_server, described, tmp_path, examples=8, key=viewer_key, phases=AT_THE_DOOR)
    reads = {operation: statuses for operation, statuses in answers.items() if operation.startswith("GET ")}
    assert {200} <= reads["GET /api/v1/circuit"] and reads["GET /api/v1/config/{section}"] == {403}
    assert [name for name, statuses in answers.items() if name not in reads and statuses != {403}] == []


def test_api__no_key__opens_nothing(live_server: Any, described: Any, tmp_path: Path) -> None:
    """Q-5, AK-4."""
    answers = fuzz(live_server, described, tmp_path, examples=8, phases=AT_THE_DOOR)
    assert set().union(*answers.values()) == {401}
