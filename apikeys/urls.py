"""Routes: pages under /admin/apikeys/, API under /api/v1/."""

from __future__ import annotations

from django.urls import path

from apikeys import api, views

admin_urls = [
    path("apikeys/", views.page, name="apikeys"),
    path("apikeys/add/", views.add, name="apikeys_add"),
    path("apikeys/owners/fragment/", views.owners, name="apikeys_owners"),
    path("apikeys/<int:number>/", views.detail, name="apikeys_key"),
    path("apikeys/<int:number>/rotate/", views.rotate, name="apikeys_rotate"),
    path("apikeys/<int:number>/revoke/", views.revoke, name="apikeys_revoke"),
]
api_urls = [
    path("apikeys/self", api.SelfView.as_view(), name="api_apikeys_self"),
]
