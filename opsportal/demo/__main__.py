"""The demo platform itself, without Django: `manage.py demo_platform` becomes this process.

It takes the URL of Redis from REDIS_URL, so that no password stands among its arguments.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import time
from pathlib import Path
from random import Random

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from opsportal.demo.addresses import Addresses
from opsportal.demo.children import Children
from opsportal.demo.control import Ear
from opsportal.demo.keyfile import keyfile_beside
from opsportal.demo.outside_child import Outside
from opsportal.demo.platform import Platform
from opsportal.demo.pushing import Pusher
from opsportal.demo.readings import Readings
from opsportal.demo.roster import LISTENERS, PROFILES
from opsportal.demo.streams import Streams
from opsportal.demo.supervisor import Registration, Supervisor


def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m opsportal.demo")
    parser.add_argument("--addresses", type=Path, required=True)
    parser.add_argument("--dialect", default="canonical")
    parser.add_argument("--trip-every", type=int, default=0)
    parser.add_argument("--pace", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--registered", action="store_true")
    parser.add_argument("--portal", default="", help="address that readings are pushed to; none: they are not")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    supervisor = _built(options)
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda _number, _frame: supervisor.stop())
    supervisor.run()


def _built(options: argparse.Namespace) -> Supervisor:
    chance = Random(options.seed)  # noqa: S311 - no secret
    client = redis.Redis.from_url(
        os.environ["REDIS_URL"], decode_responses=True, socket_timeout=2, retry=Retry(NoBackoff(), 1)
    )
    addresses = Addresses(options.addresses)
    moved = addresses.choose(LISTENERS)
    registration = Registration(options.addresses, done=options.registered and not moved)
    pusher = None
    if options.portal:
        pusher = Pusher(options.portal, keyfile_beside(options.addresses), on_refused=registration.renew)
        pusher.start()
    return Supervisor(
        children=Children(PROFILES, addresses, pace=options.pace, chance=chance),
        outside=Outside(addresses, mishaps=options.pace > 0),
        platform=Platform(client, options.dialect, options.trip_every, chance),
        streams=Streams(client, chance=chance, start=time.monotonic(), pace=options.pace),
        readings=Readings(chance=chance, start=time.monotonic(), pace=options.pace),
        pusher=pusher,
        ear=Ear(client),
        registration=registration,
    )


if __name__ == "__main__":
    main()
