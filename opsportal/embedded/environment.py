"""The environment that `make run` gives the portal's processes."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from opsportal.embedded import files
from opsportal.embedded.errors import EmbeddedServerError

DEVELOPMENT = frozenset({"development", "dev", "local", "test", "ci"})
GENERATED = ("SECRET_KEY", "AUDIT_CHAIN_KEY", "FIELD_ENCRYPTION_KEYS", "ALERT_RECIPIENT_HASH_SECRET")
DEFAULT_PORT = 8000
#: How the names of the portal's optional settings begin.
OPTIONAL = (
    "ALERT_",
    "ALLOWED_",
    "AUDIT_ARCHIVE_",
    "AUDIT_RETENTION_",
    "CIRCUIT_",
    "CSRF_",
    "DEMO_",
    "FEATURE_",
    "HEALTH_",
    "INSECURE_",
    "LOG_",
    "METRICS_",
    "OPERATIONS_",
    "PUBLIC_",
    "SERVICES",
    "SESSION_",
    "TRUSTED_",
)


def without_options(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the portal's optional settings: a shell must not decide what is tested or measured."""
    return {name: value for name, value in environment.items() if not name.startswith(OPTIONAL)}


def chosen_port() -> int:
    """PORT, or 8000. Raises EmbeddedServerError when it is no port number."""
    text = os.environ.get("PORT") or str(DEFAULT_PORT)
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise EmbeddedServerError(f"PORT is {text!r}; it must be a number from 1 to 65535.")
    return int(text)


def refuse_outside_development() -> None:
    """`make run` seeds demo users: never where real people work."""
    environment = os.environ.get("ENVIRONMENT") or "development"
    if environment not in DEVELOPMENT:
        raise EmbeddedServerError(
            f"ENVIRONMENT is {environment!r}, and `make run` is for development only: unset ENVIRONMENT, "
            "or start the processes of the Procfile by your own means."
        )


def portal_environment(run_folder: Path, urls: Mapping[str, str], port: int) -> dict[str, str]:
    """What the portal's settings read. What the caller's environment says wins over our defaults."""
    defaults = {
        "ENVIRONMENT": "development",
        **generated_secrets(run_folder),
        "AUDIT_CHECKPOINT_FILE": str(run_folder / "audit-checkpoints.jsonl"),
        "PROMETHEUS_MULTIPROC_DIR": str(run_folder / "metrics"),
        "STATIC_ROOT": str(run_folder / "static"),
        "HEALTH_STREAMS": "demo:market-data,demo:signals,demo:orders",
        # The demo's mail server and fake providers are on this machine.
        "ALERT_ALLOWED_NETWORKS": "127.0.0.0/8",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    known = {name: os.environ.get(name) or value for name, value in {**defaults, **urls}.items()}
    return {**known, "PORT": str(port)}


def process_environment(portal: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a process: ours, the portal's, and this Python's programs first on PATH."""
    programs = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    # Unbuffered: a line must be seen when it is written, and not be lost with the process.
    return {**os.environ, **portal, "PATH": f"{programs}{os.pathsep}{path}", "PYTHONUNBUFFERED": "1"}


def generated_secrets(run_folder: Path) -> dict[str, str]:
    """Secrets made at the first start and kept in `secrets.json`, mode 0600.

    A new AUDIT_CHAIN_KEY would make the audit log of before unverifiable: they are never redrawn.
    """
    path = run_folder / "secrets.json"
    known = files.read_json(path)
    if path.exists() and not known:
        raise EmbeddedServerError(f"{path} cannot be read: put it back, or `make clean` to start afresh.")
    complete = {name: str(known.get(name) or secrets.token_hex(32)) for name in GENERATED}
    if complete != known:
        files.write_private(path, json.dumps(complete, indent=1) + "\n")
    return complete
