"""Ten items as JSON by Django REST framework: the same answer, whoever asks for the key."""

from __future__ import annotations

import os
from typing import Any

from knox.auth import TokenAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_api_key.permissions import HasAPIKey

from apikeys.authentication import ApiKeyAuthentication
from opsportal.accounts.api import PortalView

ITEMS = [
    {"symbol": f"BENCH{number}", "quantity": 100 * number, "price": f"{number}.25", "venue": "XNAS", "open": True}
    for number in range(10)
]


class OpenView(APIView):
    """The yardstick: nobody is asked who they are."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    def get(self, request: Request) -> Response:
        """The items, and which process answers."""
        return Response(ITEMS, headers={"X-Process": str(os.getpid())})


class PortalKeyView(PortalView, OpenView):
    """Our keys, with a scope to be checked."""

    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [IsAuthenticated]
    needs = {"GET": "circuit.view_breaker"}


class HasPackagedKeyView(OpenView):
    """djangorestframework-api-key. Its keys have no owner."""

    permission_classes = [HasAPIKey]


class KnoxView(OpenView):
    """django-rest-knox."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [IsAuthenticated]
