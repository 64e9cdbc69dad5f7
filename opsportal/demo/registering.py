"""Makes the demo known to the portal: its services, its API key, and where alerts of it go."""

from __future__ import annotations

import logging

from django.db import Error, connection

from health.registry import ServiceEntry
from health.services import seed_services
from opsportal.accounts.actors import Actor
from opsportal.accounts.refusals import Refused
from opsportal.demo.addresses import Addresses
from opsportal.demo.key_making import ensure_key
from opsportal.demo.keyfile import keyfile_beside
from opsportal.demo.roster import PROFILES
from opsportal.demo.seeding import seed_alerting

log = logging.getLogger(__name__)


def register(addresses: Addresses) -> bool:
    """Create what is missing; what is there follows its address and keeps what people changed.

    False if PostgreSQL does not answer. What the portal refuses is logged, and the rest
    is done. Raises KeyError if a service has no address.
    """
    entries = [
        ServiceEntry(
            name=profile.name, base_url=addresses.url(profile.name), owner=profile.owner, depends_on=profile.depends_on
        )
        for profile in PROFILES
    ]
    try:
        done = seed_services(entries, by=Actor.system("demo"), update_addresses=True)
        _furnish(addresses)
    except Error:
        log.warning("demo_platform_without_postgresql")
        return False
    finally:
        connection.close()  # it is not needed again
    for change in done.changes:
        log.info("demo_service_registered", extra={"change": change})
    for problem in done.problems:
        log.warning("demo_service_not_registered", extra={"problem": problem})
    return True


def _furnish(addresses: Addresses) -> None:
    """What alerting needs of the demo. Raises `django.db.Error`; what the portal refuses is logged."""
    problems = []
    try:
        ensure_key(keyfile_beside(addresses.path))
    except Refused as refusal:
        problems.append(refusal.sentence)
    for problem in [*problems, *seed_alerting(addresses)]:
        log.warning("demo_not_furnished", extra={"problem": problem})
