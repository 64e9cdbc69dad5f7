"""Makes the demo's services known to the portal: the only tie between the two."""

from __future__ import annotations

import logging

from django.db import Error, connection

from health.registry import ServiceEntry
from health.services import seed_services
from opsportal.accounts.actors import Actor
from opsportal.demo.addresses import Addresses
from opsportal.demo.roster import PROFILES

log = logging.getLogger(__name__)


def register(addresses: Addresses) -> bool:
    """Create what is missing; services that are there follow their address and keep what people changed.

    False if PostgreSQL does not answer. What the registry refuses is logged, and the
    rest is registered. Raises KeyError if a service has no address.
    """
    entries = [
        ServiceEntry(
            name=profile.name, base_url=addresses.url(profile.name), owner=profile.owner, depends_on=profile.depends_on
        )
        for profile in PROFILES
    ]
    try:
        done = seed_services(entries, by=Actor.system("demo"), update_addresses=True)
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
