"""The demo platform's own user and API key: made through the portal's services, made anew when the key is lost."""

from __future__ import annotations

import logging
from pathlib import Path

from django.utils import timezone

from apikeys import services as keys
from apikeys.models import ApiKey
from apikeys.recognising import KeyRefused, recognise
from opsportal.accounts.actors import Actor
from opsportal.accounts.models import User
from opsportal.accounts.refusals import InvalidInput
from opsportal.accounts.roles import Role
from opsportal.accounts.services import create_user
from opsportal.demo.keyfile import read_key, write_key

log = logging.getLogger(__name__)

USERNAME = "demo_platform"
KEY_NAME = "demo platform"
SCOPES = ("read:circuit", "write:alerts", "write:observations")
DEMO = Actor.system("demo")


def ensure_key(path: Path) -> bool:
    """See that the file holds a key that opens the portal; whether a new one was made.

    Raises `Refused` where somebody has disabled the user or changed its role: that is respected. And `django.db.Error`.
    """
    key = read_key(path)
    if key and _opens(key):
        return False
    owner = _owner()
    if not owner.is_active:
        raise InvalidInput("owner", f"The user {USERNAME} is disabled, so the demo pushes no readings.")
    for old in ApiKey.objects.filter(owner=owner, name__iexact=KEY_NAME, revoked_at=None):
        keys.revoke_key(old, by=DEMO, reason="The demo platform has lost this key and gets a new one.")
    _, new = keys.create_key(by=DEMO, owner=owner, name=KEY_NAME, scopes=SCOPES)
    write_key(path, new.text)
    log.info("demo_key_made")
    return True


def _opens(key: str) -> bool:
    try:
        recognise(key, ip="127.0.0.1", now=timezone.now())
    except KeyRefused:
        return False
    return True


def _owner() -> User:
    owner = User.objects.filter(username=USERNAME).first()
    if owner is None:
        owner = create_user(USERNAME, "", Role.OPERATOR, by=DEMO)
        owner.set_unusable_password()
        owner.save(update_fields=["password"])
    return owner
