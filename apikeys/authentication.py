"""`Authorization: Bearer tp_live_…` (AK-4)."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import Error
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from apikeys.recognising import KeyRefused, Known, first_of_minute, recognise
from opsportal.accounts.authentication import after_answer
from opsportal.audit import recorder
from opsportal.observability import context

log = logging.getLogger(__name__)


class ApiKeyAuthentication(BaseAuthentication):
    """Whoever sends a bearer token is judged by it alone: never by a session as well."""

    def authenticate_header(self, request: Request) -> str:
        """The challenge of the 401."""
        return 'Bearer realm="opsportal"'

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """The owner, and the `Actor` with the key's scopes as `request.auth`; None without a bearer token."""
        scheme, *rest = request.META.get("HTTP_AUTHORIZATION", "").split(None, 1) or [""]
        if scheme.lower() != "bearer":
            return None
        token = rest[0] if rest else ""
        ip = context.current().ip
        try:
            actor = recognise(token.strip(), ip=ip, now=timezone.now())
        except KeyRefused as refusal:
            if refusal.known is not None:
                after_answer(request, partial(_audit, refusal.known, refusal.outcome, ip, context.current().request_id))
            raise AuthenticationFailed from None
        assert actor.user is not None
        context.bind_actor(actor_id=actor.user.pk, actor_label=actor.label)
        return actor.user, actor


def _audit(known: Known, outcome: str, ip: str | None, request_id: str) -> None:
    """Once the answer is on its way, so that it takes no longer than for a key that never was.

    A machine that goes on calling with a dead key is in the audit log once a minute.
    """
    if not first_of_minute(f"api-key-refusal:{known.prefix}"):
        return
    try:
        recorder.record(
            "api_key_refused",
            event_type="access",
            outcome="denied",
            actor_id=known.owner_id,
            actor_label=known.prefix,
            resource_type="api_key",
            resource_id=known.prefix,
            details={"why": outcome},
            ip=ip,
            request_id=request_id,
            source="api",
        )
    except Error:
        log.error("key_refusal_not_audited", extra={"key_prefix": known.prefix})
