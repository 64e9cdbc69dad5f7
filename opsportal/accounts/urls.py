"""Routes under /admin/accounts/, and everybody's own sessions."""

from __future__ import annotations

from typing import Any

from django.urls import path

from opsportal.accounts import change_page, pages, session_pages, strategy_pages

admin_urls: list[Any] = [
    path("accounts/", pages.people, name="accounts"),
    path("accounts/add/", pages.add, name="accounts_add"),
    path("accounts/change/", change_page.change, name="accounts_change"),
    path("accounts/roles/", pages.roles, name="accounts_roles"),
    path("accounts/strategies/", strategy_pages.strategies, name="accounts_strategies"),
    path("accounts/strategies/add/", strategy_pages.add, name="accounts_strategy_add"),
    path("accounts/strategies/<int:pk>/", strategy_pages.strategy, name="accounts_strategy"),
    path("accounts/strategies/<int:pk>/edit/", strategy_pages.edit, name="accounts_strategy_edit"),
    path("accounts/<int:pk>/", pages.person_page, name="accounts_person"),
    path("accounts/<int:pk>/edit/", pages.edit, name="accounts_edit"),
    path("accounts/<int:pk>/password/", pages.password, name="accounts_password"),
    path("accounts/<int:pk>/sessions/<str:reference>/end/", session_pages.end_one, name="accounts_session_end"),
    path("my-sessions/", session_pages.mine, name="my_sessions"),
    path("my-sessions/end-others/", session_pages.end_others, name="my_sessions_end_others"),
    path("my-sessions/<str:reference>/end/", session_pages.end_mine, name="my_session_end"),
]
