"""Routes under /admin/audit/."""

from __future__ import annotations

from typing import Any

from django.urls import path

from opsportal.audit_pages import views

admin_urls: list[Any] = [
    path("audit/", views.page, name="audit"),
    path("audit/export/<str:form>/", views.export, name="audit_export"),
    path("audit/<int:entry_id>/", views.entry, name="audit_entry"),
]
