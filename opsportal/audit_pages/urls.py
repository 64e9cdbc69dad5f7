"""Routes under /admin/audit/."""

from __future__ import annotations

from typing import Any

from django.urls import path

from opsportal.audit_pages import views

admin_urls: list[Any] = [path("audit/", views.page, name="audit")]
