"""Routes: pages under /admin/sysconfig/, API under /api/v1/."""

from __future__ import annotations

from typing import Any

from django.urls import path

from sysconf import api, views

admin_urls: list[Any] = [
    path("sysconfig/", views.page, name="sysconfig"),
    path("sysconfig/state/fragment/", views.state_fragment, name="sysconfig_state_fragment"),
    path("sysconfig/<str:section>/", views.edit, name="sysconfig_section"),
    path("sysconfig/<str:section>/save/", views.save, name="sysconfig_save"),
    path("sysconfig/<str:section>/versions/<int:number>/", views.version, name="sysconfig_version"),
]
api_urls: list[Any] = [path("config/<str:section>", api.SectionView.as_view(), name="api_config")]
