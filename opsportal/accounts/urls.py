"""Routes under /admin/accounts/."""

from __future__ import annotations

from typing import Any

from django.urls import path

from opsportal.accounts import pages

admin_urls: list[Any] = [path("accounts/", pages.people, name="accounts")]
