"""Walks every address x role x method and compares the answers with the matrix (RBAC-3). An unlisted address fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from circuit import services
from opsportal.accounts.actors import Actor

ROLES = ("nobody", "viewer", "operator", "admin")
EVERYBODY = frozenset(ROLES)
STAFF = frozenset({"viewer", "operator", "admin"})
OPERATORS = frozenset({"operator", "admin"})
NONE: frozenset[str] = frozenset()
ADMINS = frozenset({"admin"})


@dataclass(frozen=True)
class Rule:
    """Who may read (GET) and who may write (POST) at an address; `read`/`write` None: that method does not exist."""

    read: frozenset[str] | None
    write: frozenset[str] | None = None


MATRIX: dict[str, Rule] = {
    "": Rule(read=EVERYBODY, write=EVERYBODY),  # leads to the overview
    "livez": Rule(read=EVERYBODY),
    "readyz": Rule(read=EVERYBODY),
    "health": Rule(read=EVERYBODY),
    "metrics": Rule(read=EVERYBODY),
    "admin/": Rule(read=STAFF, write=STAFF),
    "admin/login/": Rule(read=EVERYBODY, write=EVERYBODY),
    "admin/logout/": Rule(read=None, write=EVERYBODY),
    "admin/password_change/": Rule(read=STAFF, write=STAFF),
    "admin/password_change/done/": Rule(read=STAFF, write=STAFF),
    "admin/jsi18n/": Rule(read=STAFF, write=STAFF),
    "admin/overview/fragment/": Rule(read=STAFF, write=STAFF),
    "admin/circuit/": Rule(read=STAFF),
    "admin/circuit/fragment/": Rule(read=STAFF),
    "admin/circuit/history/fragment/": Rule(read=STAFF),
    "admin/circuit/history.csv": Rule(read=STAFF),
    "admin/circuit/trip/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/circuit/reset/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/circuit/restore/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/^(?P<app_label>health)/$": Rule(read=STAFF, write=STAFF),  # never reached: the health page has its address
    "admin/health/service/": Rule(read=STAFF, write=STAFF),  # a POST only draws the list
    "admin/health/service/add/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/health/service/<path:object_id>/": Rule(read=STAFF, write=STAFF),  # leads to …/change/
    "admin/health/service/<path:object_id>/change/": Rule(read=STAFF, write=OPERATORS),
    "admin/health/service/<path:object_id>/delete/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/health/maintenance/": Rule(read=STAFF, write=STAFF),  # a POST only draws the list
    "admin/health/maintenance/add/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/health/maintenance/<path:object_id>/": Rule(read=STAFF, write=STAFF),  # leads to …/change/
    "admin/health/maintenance/<path:object_id>/change/": Rule(read=STAFF, write=OPERATORS),
    "admin/health/maintenance/<path:object_id>/delete/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/health/maintenance/<path:object_id>/end/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/health/": Rule(read=STAFF),
    "admin/health/fragment/": Rule(read=STAFF),
    "admin/health/services/<str:name>/": Rule(read=STAFF),
    "admin/health/services/<str:name>/fragment/": Rule(read=STAFF),
    "admin/health/services/<str:name>/history/fragment/": Rule(read=STAFF),
    # people
    "admin/accounts/": Rule(read=ADMINS),
    "admin/accounts/add/": Rule(read=ADMINS, write=ADMINS),
    "admin/accounts/change/": Rule(read=ADMINS, write=ADMINS),
    "admin/accounts/roles/": Rule(read=ADMINS),
    "admin/accounts/strategies/": Rule(read=ADMINS),
    "admin/accounts/strategies/add/": Rule(read=ADMINS, write=ADMINS),
    "admin/accounts/strategies/<int:pk>/": Rule(read=ADMINS),
    "admin/accounts/strategies/<int:pk>/edit/": Rule(read=ADMINS, write=ADMINS),
    "admin/accounts/<int:pk>/": Rule(read=ADMINS),
    "admin/accounts/<int:pk>/edit/": Rule(read=ADMINS, write=ADMINS),
    "admin/accounts/<int:pk>/password/": Rule(read=ADMINS, write=ADMINS),
    "admin/accounts/<int:pk>/sessions/<str:reference>/end/": Rule(read=None, write=ADMINS),
    "admin/my-sessions/": Rule(read=STAFF),
    "admin/my-sessions/end-others/": Rule(read=None, write=STAFF),
    "admin/my-sessions/<str:reference>/end/": Rule(read=None, write=STAFF),
    # API keys
    "admin/apikeys/": Rule(read=ADMINS),
    "admin/apikeys/add/": Rule(read=ADMINS, write=ADMINS),
    "admin/apikeys/owners/fragment/": Rule(read=ADMINS),
    "admin/apikeys/<int:number>/": Rule(read=ADMINS),
    "admin/apikeys/<int:number>/rotate/": Rule(read=ADMINS, write=ADMINS),
    "admin/apikeys/<int:number>/revoke/": Rule(read=ADMINS, write=ADMINS),
    "api/v1/apikeys/self": Rule(read=NONE),  # tells of a key: for a signed-in person there is none
    # alerting
    "admin/alerting/": Rule(read=STAFF),
    "admin/alerting/fragment/": Rule(read=STAFF),
    "admin/alerting/events/": Rule(read=STAFF),
    "admin/alerting/events/acknowledge/": Rule(read=None, write=OPERATORS),
    "admin/alerting/events/<uuid:event_id>/": Rule(read=STAFF),
    "admin/alerting/events/<uuid:event_id>/acknowledge/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/alerting/events/<uuid:event_id>/resolve/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/alerting/deliveries/": Rule(read=STAFF),
    "admin/alerting/deliveries/poison/": Rule(read=STAFF),
    "admin/alerting/deliveries/retry/": Rule(read=None, write=OPERATORS),
    "admin/alerting/deliveries/resolve/": Rule(read=None, write=OPERATORS),
    "admin/alerting/deliveries/<int:number>/": Rule(read=STAFF),
    "ack/<str:token>/": Rule(read=EVERYBODY, write=EVERYBODY),  # for whoever holds a signed link
    # alerting: rules, channels, silences
    "admin/alerting/rules/": Rule(read=STAFF),
    "admin/alerting/rules/add/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/alerting/rules/<int:number>/": Rule(read=STAFF),
    "admin/alerting/rules/<int:number>/edit/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/alerting/rules/<int:number>/enable/": Rule(read=None, write=OPERATORS),
    "admin/alerting/rules/<int:number>/disable/": Rule(read=None, write=OPERATORS),
    "admin/alerting/rules/<int:number>/duplicate/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/alerting/rules/<int:number>/delete/": Rule(read=ADMINS, write=ADMINS),
    "admin/alerting/channels/": Rule(read=STAFF),
    "admin/alerting/channels/add/": Rule(read=ADMINS, write=ADMINS),
    "admin/alerting/channels/<int:number>/": Rule(read=STAFF),
    "admin/alerting/channels/<int:number>/edit/": Rule(read=ADMINS, write=ADMINS),
    "admin/alerting/channels/<int:number>/enable/": Rule(read=None, write=ADMINS),
    "admin/alerting/channels/<int:number>/disable/": Rule(read=ADMINS, write=ADMINS),
    "admin/alerting/channels/<int:number>/delete/": Rule(read=ADMINS, write=ADMINS),
    "admin/alerting/channels/<int:number>/test/": Rule(read=None, write=OPERATORS),
    "admin/alerting/channels/<int:number>/tests/<uuid:event_id>/": Rule(read=STAFF),
    "admin/alerting/channels/<int:number>/tests/<uuid:event_id>/fragment/": Rule(read=STAFF),
    "admin/alerting/silences/": Rule(read=STAFF),
    "admin/alerting/silences/<int:number>/": Rule(read=STAFF),
    "admin/alerting/silences/add/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/alerting/silences/<int:number>/edit/": Rule(read=OPERATORS, write=OPERATORS),
    "admin/alerting/silences/<int:number>/end/": Rule(read=OPERATORS, write=OPERATORS),
    # the demo, in development
    "admin/demo/inbox/": Rule(read=STAFF),
    "admin/demo/inbox/fragment/": Rule(read=STAFF),
    "api/v1/observations": Rule(read=None, write=OPERATORS),
    "api/v1/alerts": Rule(read=None, write=OPERATORS),
    "api/v1/webhooks/alertmanager": Rule(read=None, write=OPERATORS),
    "api/v1/webhooks/grafana": Rule(read=None, write=OPERATORS),
    "api/v2/alerts": Rule(read=None, write=OPERATORS),
    # system configuration
    "admin/sysconfig/": Rule(read=ADMINS),
    "admin/sysconfig/state/fragment/": Rule(read=EVERYBODY),  # nothing for who is not signed in
    "admin/sysconfig/<str:section>/": Rule(read=ADMINS, write=ADMINS),
    "admin/sysconfig/<str:section>/save/": Rule(read=None, write=ADMINS),
    "admin/sysconfig/<str:section>/versions/<int:number>/": Rule(read=ADMINS),
    "api/v1/config/<str:section>": Rule(read=ADMINS),
    # the audit log
    "admin/audit/": Rule(read=ADMINS),
    "admin/audit/export/<str:form>/": Rule(read=ADMINS),
    "admin/audit/<int:entry_id>/": Rule(read=ADMINS),
    "admin/(?P<url>.*)$": Rule(read=STAFF, write=STAFF),  # the admin's own 404
    "api/v1/circuit": Rule(read=STAFF),
    "api/v1/circuit/trip": Rule(read=None, write=OPERATORS),
    "api/v1/circuit/reset": Rule(read=None, write=OPERATORS),
    "api/v1/health/services": Rule(read=STAFF),
    "api/v1/health/contract": Rule(read=STAFF),
    "api/schema/": Rule(read=STAFF),
}
EXAMPLES = {
    "<int:pk>": "1",
    "<str:reference>": "0" * 32,
    "<int:number>": "1",
    "<str:name>": "orders",
    "<str:section>": "system_defaults",
    "<path:object_id>": "1",
    "<int:entry_id>": "1",
    "<uuid:event_id>": "0" * 8 + "-0000-4000-8000-" + "0" * 12,
    "<str:token>": "made-up",
    "<str:form>": "csv",
    "(?P<url>.*)$": "no-such-page/",
}


def addresses(resolver: Any = None, prefix: str = "") -> Iterator[str]:
    for pattern in (resolver or get_resolver()).url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, route)
        elif isinstance(pattern, URLPattern):
            yield route


def example(route: str) -> str:
    for name, value in EXAMPLES.items():
        route = route.replace(name, value)
    return "/" + route


def test_every_address__is_in_the_matrix() -> None:
    """RBAC-3: a new page cannot be forgotten, nor an old one linger."""
    assert set(addresses()) == set(MATRIX)


def allowed(answer: Any) -> bool:
    """Whether the person got through: to the page, or to a refusal that is not about who they are."""
    if answer.status_code in (401, 403):
        return False
    to_sign_in = answer.status_code == 302 and answer["Location"].startswith("/admin/login/")
    return not to_sign_in


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", sorted(MATRIX))
def test_address__role__is_as_the_matrix_says(users: Any, route: str, role: str) -> None:
    """RBAC-1, RBAC-3: section 10 of the requirements, for what exists."""
    services.init_breaker(by=Actor.system("desk"))
    assert settings.FEATURES["circuit"]
    rule = MATRIX[route]
    for method, who in (("get", rule.read), ("post", rule.write)):
        client = Client()
        if role != "nobody":
            client.force_login(getattr(users, role), backend="opsportal.accounts.backends.CachedUserBackend")
        answer = getattr(client, method)(example(route))
        assert answer.status_code < 500, (method, answer.status_code)
        if who is None:
            assert answer.status_code in (302, 401, 403, 405), (method, answer.status_code)
        else:
            assert allowed(answer) == (role in who), (method, answer.status_code)
