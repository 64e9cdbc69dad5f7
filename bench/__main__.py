"""`python -m bench [--only PART] [--seconds N]`: start, measure, print, clean up, end. The parts are `PARTS`.

Exit status 0 when everything was measured, 1 with one line that says why not.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import Any, NoReturn

from bench import alertmanager, blackbox, report, servers
from bench.report import Options

BUSY_PERCENT = 15.0
PARTS = ("polled", "audit", "staleness", "health", "keys", "viewer", "ingest", "delivery")


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; returns the exit status."""
    only, options = parse(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    started = time.monotonic()
    machine = report.machine()
    if machine["busy_percent"] > BUSY_PERCENT:
        print(f"note: other work keeps this machine {machine['busy_percent']:.0f} % busy; the figures will suffer\n")
    try:
        found = {"machine": machine, **run(only, options)}
    except servers.BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    path = report.save(found)
    print(f"{path.relative_to(servers.ROOT)} written, {time.monotonic() - started:.0f} s in all")
    return 0


def parse(arguments: list[str] | None) -> tuple[tuple[str, ...], Options]:
    """The parts to measure, and how long."""
    usual = Options()
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures the portal on private servers.")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this alone; may be given several times")
    parser.add_argument("--seconds", type=int, default=usual.seconds, help="length of one timed run (1 to 60)")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="timed runs of each kind (1 to 20)")
    parser.add_argument("--sessions", type=int, default=usual.sessions, help="signed-in browsers (1 to 500)")
    parser.add_argument("--changes", type=int, default=usual.changes, help="changes of the breaker (1 to 200)")
    parser.add_argument(
        "--services", type=int, default=usual.services, help="the most services that are swept (5 to 5000)"
    )
    parser.add_argument(
        "--without-prometheus",
        action="store_true",
        help="leave out the comparisons with Prometheus, its exporter and Alertmanager",
    )
    parser.add_argument(
        "--rows", type=int, default=usual.rows, help="the most audit entries that are filled in (1000 to 20000000)"
    )
    parser.add_argument("--without-wrk", action="store_true", help="leave out the requests per second of the API keys")
    given = parser.parse_args(arguments)
    bounds = {"seconds": 60, "rounds": 20, "sessions": 500, "changes": 200}
    if not 5 <= given.services <= usual.services:
        parser.error(f"--services must be from 5 to {usual.services}")
    if not 1_000 <= given.rows <= 20_000_000:
        parser.error("--rows must be from 1000 to 20000000")
    for name, most in bounds.items():
        if not 1 <= getattr(given, name) <= most:
            parser.error(f"--{name} must be from 1 to {most}")
    options = Options(
        sessions=given.sessions,
        seconds=given.seconds,
        rounds=given.rounds,
        steady_seconds=min(usual.steady_seconds, 5 / 3 * given.seconds),
        changes=given.changes,
        pollers=min(usual.pollers, given.sessions),
        services=given.services,
        rows=given.rows,
        prometheus=not given.without_prometheus,
        wrk=not given.without_wrk,
    )
    return tuple(part for part in PARTS if part in (given.only or PARTS)), options


def run(parts: tuple[str, ...], options: Options) -> dict[str, Any]:
    """Measure the parts, printing each table as soon as it is known."""
    if "health" in parts and options.prometheus:
        blackbox.programs()  # what is missing is said before minutes are spent
    if "delivery" in parts and options.prometheus:
        alertmanager.program()
    with servers.running_servers() as running:
        # The ordinary view's settings are the portal's and Django's session table: one database for both.
        servers.manage(running, servers.ORDINARY_SETTINGS, "prepare", "--verbosity", "0")
        if parts != ("audit",):
            servers.manage(running, servers.PORTAL_SETTINGS, "collectstatic", "--no-input", "--verbosity", "0")
        _become_part_of_the_portal(running)
        from bench import alerts_delivery, alerts_ingest, audit, audit_viewer, health, keys, people, polled, staleness

        found: dict[str, Any] = {"options": options}
        if "audit" in parts:
            found["audit"] = audit.measure(running, options)
            print(audit.table(found["audit"]).text(), flush=True)
        if parts != ("audit",):
            sessions = people.sign_in_people(options.sessions + polled.SPARE)
        if "polled" in parts:
            found["polled"] = polled.measure(running, sessions, options)
            print(polled.table(found["polled"]).text(), flush=True)
        if "staleness" in parts:
            found["staleness"] = staleness.measure(running, sessions, options)
            print(staleness.table(found["staleness"]).text(), flush=True)
        if "health" in parts:
            found["health"] = health.measure(running, sessions, options)
            for table in health.tables(found["health"]):
                print(table.text(), flush=True)
        if "keys" in parts:
            found["keys"] = keys.measure(running, options)
            for table in keys.tables(found["keys"]):
                print(table.text(), flush=True)
        if "viewer" in parts:
            found["viewer"] = audit_viewer.measure(running, people.sign_in_people(1, "admin"), options)
            print(audit_viewer.table(found["viewer"]).text(), flush=True)
        if "ingest" in parts:
            found["ingest"] = alerts_ingest.measure(running, options)
            for table in alerts_ingest.tables(found["ingest"]):
                print(table.text(), flush=True)
        if "delivery" in parts:
            found["delivery"] = alerts_delivery.measure(running, options)
            for table in alerts_delivery.tables(found["delivery"]):
                print(table.text(), flush=True)
    return found


def _become_part_of_the_portal(running: servers.Servers) -> None:
    """Django in this process, on the private servers, whatever the shell's environment says."""
    import django

    environment = running.environment(servers.ORDINARY_SETTINGS) | {"LOG_LEVEL": "WARNING"}
    os.environ.clear()
    os.environ.update(environment)
    django.setup()


def _stop(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
