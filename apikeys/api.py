"""What a key may learn of itself."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apikeys.recognising import KeyActor
from opsportal.accounts.api import PortalView, caller, problem
from opsportal.accounts.scopes import SCOPES


class KeySerializer(serializers.Serializer[Any]):
    """The key that the request came with."""

    name = serializers.CharField()
    prefix = serializers.CharField(help_text="Names the key in lists and logs; it is no secret.")
    owner = serializers.CharField(help_text="The user name of the person whose permissions bound the key.")
    scopes = serializers.ListField(
        child=serializers.CharField(), help_text="What the key opens now: its scopes, as far as its owner has them."
    )
    expires_at = serializers.DateTimeField(allow_null=True)


class SelfView(PortalView):
    """`GET /api/v1/apikeys/self`"""

    needs = {"GET": ""}

    @extend_schema(responses={200: KeySerializer}, tags=["API keys"], operation_id="apikeys_self_retrieve")
    def get(self, request: Request) -> Response:
        """The key that this request came with: a service of the platform can check a key that was given to it.

        401 means that the key opens nothing: it is unknown, expired, revoked, or not allowed from this address.
        A signed-in person gets 403: there is no key to tell about.
        """
        actor = caller(request)
        if not isinstance(actor, KeyActor):
            return problem(403, "This tells of the API key of a request, so it answers only with a key.")
        assert actor.user is not None
        body = {
            "name": actor.key_name,
            "prefix": actor.prefix,
            "owner": actor.user.get_username(),
            "scopes": [scope.name for scope in SCOPES if actor.may_use(scope.name)],
            "expires_at": actor.expires_at.isoformat() if actor.expires_at else None,
        }
        return Response(body, headers={"Cache-Control": "no-store"})
