"""`make run`: embedded servers, migrations, demo users, then the Procfile's processes, in the foreground.

    python -m opsportal.embedded.run

Ends with status 0 after Ctrl-C or SIGTERM, 1 when it could not start or one of the processes ended by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from opsportal.embedded import EmbeddedPostgres, EmbeddedRedis, EmbeddedServerError, files, processes, roles
from opsportal.embedded.dotenv import run_folder, write_run_env
from opsportal.embedded.environment import (
    chosen_port,
    portal_environment,
    process_environment,
    refuse_outside_development,
)
from opsportal.embedded.lock import only_one
from opsportal.embedded.places import postgres_place, write_pointer
from opsportal.embedded.ports import is_free
from opsportal.embedded.supervision import Portal, when_ready

ROOT = Path(__file__).resolve().parents[2]
MARK = "OPSPORTAL_RUN_MARK"
"""Stands in the environment of the runner and of all it starts (but the servers): so a later start
finds what a kill -9 left, and can take nobody else's process for it."""


# Several management commands in one process: loading Django takes longer than any of them.
SEVERAL_COMMANDS = """
import json, os, sys
import django
from django.core.management import CommandError, call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsportal.settings")
django.setup()
for name, *arguments in json.loads(sys.argv[1]):
    try:
        call_command(name, *arguments)
    except CommandError as error:
        sys.exit(f"manage.py {name}: {error}")
"""


def main() -> int:
    """Run the portal until told to stop; returns the exit status."""
    folder = run_folder(ROOT)
    if os.environ.get(MARK) != str(folder):
        # A process' environment is readable only as it was when its program started.
        os.execve(sys.executable, [sys.executable, "-m", __spec__.name], {**os.environ, MARK: str(folder)})  # noqa: S606
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        with ExitStack() as stack:
            return _run(folder, stack)
    except EmbeddedServerError as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1


def _stop(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _run(folder: Path, stack: ExitStack) -> int:
    refuse_outside_development()
    port = chosen_port()
    stack.enter_context(only_one(folder))
    end_left_over(folder)
    if not is_free(port):
        raise EmbeddedServerError(
            f"PORT {port} is taken by another program: stop it, or choose another port, "
            f"e.g. `PORT={8001 if port != 8001 else 8002} make run`."
        )
    urls = _start_servers(folder, stack)
    portal = portal_environment(folder, urls, port)
    write_run_env(ROOT, portal)
    environment = process_environment(portal)
    _empty_folder(Path(portal["PROMETHEUS_MULTIPROC_DIR"]))
    _set_up(folder, environment)
    return _supervise(folder, environment, port)


def end_left_over(folder: Path) -> None:
    left_over = processes.marked_processes(MARK, str(folder))
    if left_over:
        _say(f"ending {len(left_over)} processes that an earlier run left behind")
        processes.end(left_over, polite=signal.SIGTERM, grace=5)


def _start_servers(folder: Path, stack: ExitStack) -> dict[str, str]:
    """Start what no URL stands for; each is stopped when the stack unwinds, after everything else."""
    stack.callback(end_left_over, folder)
    urls: dict[str, str] = {}
    if not os.environ.get("DATABASE_URL"):
        place = postgres_place(folder)
        write_pointer(folder, place)
        postgres = EmbeddedPostgres(place)
        _start_before_the_rest(stack, postgres)
        urls |= {
            "DATABASE_URL": postgres.url(roles.APPLICATION),
            "DATABASE_OWNER_URL": postgres.url(roles.OWNER),
        }
    else:
        urls |= {name: os.environ[name] for name in ("DATABASE_URL", "DATABASE_OWNER_URL") if os.environ.get(name)}
    if not os.environ.get("REDIS_URL"):
        redis = EmbeddedRedis(folder / "redis")
        _start_before_the_rest(stack, redis)
        urls["REDIS_URL"] = redis.url
    else:
        urls["REDIS_URL"] = os.environ["REDIS_URL"]
    return urls


def _start_before_the_rest(stack: ExitStack, server: EmbeddedPostgres | EmbeddedRedis) -> None:
    stack.callback(server.stop)  # before the start: a signal may come in the middle of it
    server.start()
    _say(f"{server.title} listens on port {server.port}")


def _empty_folder(folder: Path) -> None:
    """Counters of dead processes must not be added to this run's."""
    shutil.rmtree(folder, ignore_errors=True)
    files.private_folder(folder)


def _set_up(folder: Path, environment: Mapping[str, str]) -> None:
    """Check the settings, migrate, collect the static files if they changed, make the demo users."""
    static_stamp = Path(environment["STATIC_ROOT"]).parent / "static.stamp"
    static_now = _static_fingerprint()
    commands = [["check"], ["prepare", "--verbosity", "1"]]
    if not static_stamp.exists() or static_stamp.read_text() != static_now:
        commands.append(["collectstatic", "--no-input", "--clear", "--verbosity", "0"])
    if environment.get("SERVICES") or environment.get("SERVICES_FILE"):
        commands.append(["seed_services"])
    commands.append(["seed_demo", "--credentials", str(folder / "credentials.json")])
    arguments = [sys.executable, "-c", SEVERAL_COMMANDS, json.dumps(commands)]
    status = subprocess.run(arguments, env=environment, cwd=ROOT, check=False).returncode
    if status != 0:
        raise EmbeddedServerError(f"setting up the portal failed (status {status}); what it said is above.")
    files.write_private(static_stamp, static_now)


def _static_fingerprint() -> str:
    sources = [path for base in (ROOT / "static", *ROOT.glob("**/static")) for path in base.rglob("*")]
    seen = {str(path): path.stat() for path in sources if path.is_file() and ".venv" not in path.parts}
    text = "\n".join(f"{path} {found.st_mtime_ns} {found.st_size}" for path, found in sorted(seen.items()))
    text += (ROOT / "requirements" / "base.txt").read_text()
    return hashlib.sha256(text.encode()).hexdigest()


def _supervise(folder: Path, environment: Mapping[str, str], port: int) -> int:
    address = f"http://127.0.0.1:{port}/"

    def tell() -> None:
        _say("\n".join([f"ready: {address}", *_sign_ins(folder)]))

    def complain() -> None:
        _say(f"not ready after two minutes: {address}readyz does not answer 200; the lines above say why")

    portal = Portal(ROOT / "Procfile", environment, lambda: when_ready(f"{address}readyz", tell, complain))
    portal.loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the servers are to be stopped in order, however impatient
    if portal.signalled:
        return 0
    print(
        f"make run: the process {portal.first_to_stop!r} ended by itself (status {portal.returncode}), so "
        "everything was stopped; its last words are above.",
        file=sys.stderr,
    )
    return 1


def _sign_ins(folder: Path) -> list[str]:
    known = files.read_json(folder / "credentials.json")
    return [f"  user {user:<9} password {password}" for user, password in known.items()]


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
