"""Routes of alerting: pages under /admin/alerting/, API under /api/v1/ and /api/v2/, and the link in messages."""

from typing import Any

from django.urls import path

from alerting.pages import dashboard

admin_urls = [
    path("alerting/", dashboard.page, name="alerting"),
]
api_urls: list[Any] = []
v2_urls: list[Any] = []
public_urls: list[Any] = []
