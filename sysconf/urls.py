"""Routes: pages under /admin/sysconfig/, API under /api/v1/."""

from __future__ import annotations

from typing import Any

from django.urls import path

from sysconf import views

admin_urls: list[Any] = [path("sysconfig/", views.page, name="sysconfig")]
api_urls: list[Any] = []
