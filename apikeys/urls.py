"""Routes: pages under /admin/apikeys/, API under /api/v1/."""

from __future__ import annotations

from typing import Any

from django.urls import path

from apikeys import views

admin_urls: list[Any] = [path("apikeys/", views.page, name="apikeys")]
api_urls: list[Any] = []
