"""The admin site: navigation by permission, the overview, and every domain's pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone

from alerting.selectors.dashboard import SHARED_SECONDS as ALERTS_SHARED_SECONDS
from alerting.selectors.dashboard import dashboard_or_unknown
from alerting.urls import admin_urls as alerting_urls
from apikeys.selectors import expiring_or_unknown
from apikeys.urls import admin_urls as apikeys_urls
from circuit.urls import admin_urls as circuit_urls
from circuit.views import status_for
from health.selectors import SHARED_SECONDS, health_grid
from health.urls import admin_urls as health_urls
from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import person, sign_in_first
from opsportal.accounts.own_password import OwnPasswordView
from opsportal.accounts.session_ending import end_other_sessions
from opsportal.accounts.urls import admin_urls as accounts_urls
from opsportal.audit.selectors import problem_or_unknown
from opsportal.audit_pages.urls import admin_urls as audit_urls
from opsportal.overview import build_overview
from sysconf.selectors import broken_sections
from sysconf.urls import admin_urls as sysconfig_urls
from sysconf.views import header_context


@dataclass(frozen=True)
class NavLink:
    """One entry of the navigation, shown to whoever has the permission."""

    title: str
    url_name: str
    icon: str
    permission: str = ""
    feature: str = ""
    #: Only where ENVIRONMENT names a development environment; its address is not among the admin's.
    development: bool = False

    def url(self) -> str:
        """Its address."""
        return reverse(self.url_name if self.development else f"admin:{self.url_name}")

    def shown_to(self, request: HttpRequest) -> bool:
        """Whether whoever asks gets to see it."""
        return (
            (not self.feature or settings.FEATURES[self.feature])
            and (not self.development or settings.IS_DEVELOPMENT)
            and (not self.permission or request.user.has_perm(self.permission))
        )


NAVIGATION: tuple[tuple[str, tuple[NavLink, ...]], ...] = (
    (
        "Operations",
        (
            NavLink("Overview", "index", "home"),
            NavLink("Circuit breaker", "circuit", "breaker", "circuit.view_breaker", "circuit"),
            NavLink("Service health", "health", "health", "health.view_service", "health"),
            NavLink("Alerts", "alerting", "bell", "alerting.view_event", "alerting"),
        ),
    ),
    (
        "Administration",
        (
            NavLink("People", "accounts", "users", "accounts.view_user"),
            NavLink("API keys", "apikeys", "key", "apikeys.view_apikey", "apikeys"),
            NavLink("Configuration", "sysconfig", "sliders", "sysconfig.view_section", "sysconfig"),
            NavLink("Audit log", "audit", "list", "audit.view_entry"),
        ),
    ),
    ("Development", (NavLink("Demo inbox", "demo_inbox", "mail", development=True),)),
)

#: Stock addresses that no page of ours leads to, and that do not check what they are given.
UNUSED_STOCK_PAGES = frozenset({"view_on_site", "autocomplete"})
OWN_PACKAGES = frozenset({"opsportal", "alerting", "apikeys", "circuit", "health", "sysconf"})


class PortalSite(AdminSite):
    """Django's admin with the portal's navigation and dashboards."""

    site_header = "opsportal"
    site_title = "opsportal"
    index_title = "Overview"
    enable_nav_sidebar = False

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Only the portal's own admin classes: those of packages change rows past our services and audit log."""
        if admin_class is not None and admin_class.__module__.split(".")[0] in OWN_PACKAGES:
            super().register(model_or_iterable, admin_class, **options)

    def get_urls(self) -> list[Any]:
        """The dashboards before the stock pages, so that none of their names can be taken."""
        urls = [
            path("overview/fragment/", self.overview_fragment, name="overview_fragment"),
            *(circuit_urls if settings.FEATURES["circuit"] else []),
            *(health_urls if settings.FEATURES["health"] else []),
            *(alerting_urls if settings.FEATURES["alerting"] else []),
            *accounts_urls,
            *(apikeys_urls if settings.FEATURES["apikeys"] else []),
            *(sysconfig_urls if settings.FEATURES["sysconfig"] else []),
            *audit_urls,
        ]
        return urls + [url for url in super().get_urls() if getattr(url, "name", "") not in UNUSED_STOCK_PAGES]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """What every page of the admin needs."""
        context = super().each_context(request)
        context["nav_groups"] = self._navigation(request)
        context |= header_context() if context["has_permission"] else {}
        context["environment_name"] = "" if settings.ENVIRONMENT in ("", "production") else settings.ENVIRONMENT
        return context

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The sign-in page, which says so when a session has expired."""
        extra = dict(extra_context or {})
        if request.GET.get("undone"):
            extra["expired_message"] = "You were signed out. Nothing was changed: sign in and do it again."
        elif request.GET.get("expired"):
            minutes = settings.SESSION_IDLE_SECONDS // 60
            extra["expired_message"] = (
                f"You were signed out: {minutes} minutes without activity, or the session reached its end. "
                "Everything you had confirmed was saved."
            )
        return super().login(request, extra)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """One's own password. Every other session of this user has ended with the old one, and is listed no more."""
        view = OwnPasswordView.as_view(
            success_url=reverse("admin:password_change_done"),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        request.current_app = self.name  # type: ignore[attr-defined]
        response = view(request)
        if request.method == "POST" and response.status_code == 302 and request.user.is_authenticated:
            end_other_sessions(by=Actor.of(person(request)), keep=request.session.session_key)
        return response

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The overview: what is halted, what is wrong, what needs me."""
        return super().index(request, {**(extra_context or {}), **self._overview(request)})

    def overview_fragment(self, request: HttpRequest) -> HttpResponse:
        """The overview's live part alone."""
        if not self.has_permission(request):
            return sign_in_first(request, expired=getattr(request, "session_expired", False))
        context = self._overview(request)
        response = TemplateResponse(request, "overview/_fragment.html", context)
        response["Cache-Control"] = "no-store"
        response["X-Reading-Age"] = context["reading_age"]
        return response

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Stock pages ask for sign-in the portal's way, so that an expired session says so."""
        inner = super().admin_view(view, cacheable)

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            expired = getattr(request, "session_expired", False)
            sends = request.method == "POST" and request.path != reverse("admin:logout")
            if (expired or sends) and not self.has_permission(request):
                return sign_in_first(request, expired=expired)
            return inner(request, *args, **kwargs)

        return guarded

    def _navigation(self, request: HttpRequest) -> list[dict[str, Any]]:
        if not self.has_permission(request):
            return []
        groups = []
        for title, links in NAVIGATION:
            shown = [
                {
                    "title": link.title,
                    "url": link.url(),
                    "icon": link.icon,
                    "current": self._is_current(request, link),
                }
                for link in links
                if link.shown_to(request)
            ]
            if shown:
                groups.append({"title": title, "links": shown})
        return groups

    @staticmethod
    def _is_current(request: HttpRequest, link: NavLink) -> bool:
        url = link.url()
        return request.path == url if link.url_name == "index" else request.path.startswith(url)

    def _overview(self, request: HttpRequest) -> dict[str, Any]:
        status, age = None, 0.0
        if settings.FEATURES["circuit"] and request.user.has_perm("circuit.view_breaker"):
            status, age = status_for(request, max_age=0.25)
        grid = None
        if settings.FEATURES["health"] and request.user.has_perm("health.view_service"):
            grid = health_grid(SHARED_SECONDS)
            age = max(age, grid.age())
        keys = None
        if settings.FEATURES["apikeys"] and request.user.has_perm("apikeys.view_apikey"):
            keys = expiring_or_unknown(timezone.now())
        alerts, alerts_unknown = None, False
        if settings.FEATURES["alerting"] and request.user.has_perm("alerting.view_event"):
            alerts = dashboard_or_unknown(ALERTS_SHARED_SECONDS)
            alerts_unknown = alerts is None
            age = max(age, alerts.age() if alerts else 0.0)
        problem = problem_or_unknown() if request.user.has_perm("audit.view_entry") else ""
        sees_deliveries = request.user.has_perm("alerting.view_delivery")
        overview = build_overview(
            status, grid, keys, broken_sections(), problem, alerts, sees_deliveries, alerts_unknown
        )
        return {"overview": overview, "status": status, "reading_age": f"{age:.2f}"}


def to_overview(request: HttpRequest) -> HttpResponse:
    """The bare address leads to the overview."""
    return redirect("admin:index")
