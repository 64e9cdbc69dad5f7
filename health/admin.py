"""The registry and planned work in the admin: display, filters, forms. Every change is made by `health.services`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from health import services
from health.forms import MaintenanceForm, ServiceForm
from health.models import Maintenance, Service
from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import person
from opsportal.accounts.refusals import Refused
from opsportal.accounts.served_admin import ServedAdmin

#: So many names stand in a cell of a list; the rest is counted.
NAMES_SHOWN = 3


class Owner(admin.SimpleListFilter):
    """The owners there are; the stock filter would offer a link without a name for none."""

    title = "owner"
    parameter_name = "owner"
    NOBODY = "-"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        """Each owner, and nobody."""
        owners = Service.objects.order_by("owner").values_list("owner", flat=True).distinct()
        return [(owner or self.NOBODY, owner or "not named") for owner in owners]

    def queryset(self, request: Any, queryset: QuerySet[Service]) -> QuerySet[Service]:
        """The services of that owner."""
        value = self.value()
        return queryset if value is None else queryset.filter(owner="" if value == self.NOBODY else value)


class ServiceAdmin(ServedAdmin):
    """The registry of services (HM-1, HM-12)."""

    plural_title = "Services"
    form = ServiceForm
    list_display = (
        "name",
        "probed",
        "address",
        "owner",
        "every",
        "waits",
        "parents",
        "health_page",
    )
    list_filter = ("enabled", Owner)
    search_fields = ("name", "base_url", "owner")
    search_help_text = "Name, address or owner"
    fieldsets = (
        ("What is probed", {"fields": ("name", "base_url", "enabled")}),
        ("How often", {"fields": ("interval", "timeout")}),
        ("Who looks after it", {"fields": ("owner", "runbook_url")}),
        ("What it depends on", {"fields": ("depends_on",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Service]:
        """With the names of what each depends on, in one further query."""
        return super().get_queryset(request).prefetch_related("depends_on")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Nothing from the address: what stands there is not to be trusted with a form."""
        return {}

    def save_model(self, request: Any, obj: Service, form: Any, change: bool) -> None:
        """Have the service layer create or change it."""
        values = {name: value for name, value in form.cleaned_data.items() if name != "version"}
        by = Actor.of(person(request))
        if change:
            services.update_service(obj, by=by, expected_version=form.cleaned_data["version"], **values)
        else:
            _become(obj, services.create_service(by=by, **values))

    def render_change_form(
        self, request: Any, context: Any, add: Any = False, change: Any = False, form_url: Any = "", obj: Any = None
    ) -> Any:
        """With a way to plan work on it."""
        context |= {"may_plan": request.user.has_perm("health.add_maintenance")}
        if obj is not None:
            context |= {"title": str(obj.name), "subtitle": None}
        return super().render_change_form(request, context, add, change, form_url, obj)

    def delete_model(self, request: Any, obj: Service) -> None:
        """Have the service layer remove it."""
        services.delete_service(obj, by=Actor.of(person(request)))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """The question says whom else it concerns."""
        number = int(object_id) if object_id.isdecimal() else None
        needed_by = Service.objects.filter(depends_on=number).values_list("name", flat=True) if number else ()
        return super().delete_view(request, object_id, {"needed_by": needed_by, **(extra_context or {})})

    @admin.display(description="health")
    def health_page(self, service: Service) -> SafeString:
        """Where it is seen how it does."""
        url = reverse("admin:health_service", args=[service.name])
        return format_html('<a href="{}">Health<span class="visually-hidden"> of {}</span></a>', url, service.name)

    @admin.display(description="base URL", ordering="base_url")
    def address(self, service: Service) -> SafeString:
        """Its address; a long one wraps."""
        return format_html('<span class="cell-any">{}</span>', service.base_url)

    @admin.display(description="interval", ordering="interval")
    def every(self, service: Service) -> str:
        """How often it is probed; number and unit stay together."""
        return f"{service.interval}\N{NO-BREAK SPACE}s"

    @admin.display(description="timeout", ordering="timeout")
    def waits(self, service: Service) -> str:
        """How long a reply is waited for."""
        return f"{service.timeout:g}\N{NO-BREAK SPACE}s"

    @admin.display(description="enabled", ordering="enabled")
    def probed(self, service: Service) -> SafeString:
        """Whether it is probed: shape and word."""
        if service.enabled:
            return format_html('<span class="badge badge--ok">{}</span>', "on")
        return format_html('<span class="badge badge--unknown">{}</span>', "off")

    @admin.display(description="depends on")
    def parents(self, service: Service) -> str:
        """The services that it needs."""
        return _names(service.depends_on.all())


class WindowState(admin.SimpleListFilter):
    """Running, planned or past, by the clock of now."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        """The three."""
        return [("running", "Running"), ("planned", "Planned"), ("past", "Past")]

    def queryset(self, request: Any, queryset: QuerySet[Maintenance]) -> QuerySet[Maintenance]:
        """The windows in that state."""
        now = timezone.now()
        match self.value():
            case "running":
                return queryset.filter(starts_at__lte=now, ends_at__gt=now)
            case "planned":
                return queryset.filter(starts_at__gt=now)
            case "past":
                return queryset.filter(ends_at__lte=now)
        return queryset


class MaintenanceAdmin(ServedAdmin):
    """Planned work on services (HM-11)."""

    plural_title = "Maintenance windows"
    form = MaintenanceForm
    list_display = ("state", "what", "begins", "ends", "why", "planned_by")
    list_display_links = ("what",)
    list_filter = (WindowState,)
    search_fields = ("reason", "services__name", "planned_by")
    search_help_text = "Reason, service or who planned it"

    def get_urls(self) -> list[Any]:
        """And the page that ends a window."""
        end = self.admin_site.admin_view(self.end_view)
        return [path("<path:object_id>/end/", end, name="health_maintenance_end"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Maintenance]:
        """With the services' names, in one further query."""
        return super().get_queryset(request).prefetch_related("services")

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """The button only for whoever may press it."""
        return (*self.list_display, "end_now") if self.has_change_permission(request) else self.list_display

    def get_fields(self, request: Any, obj: Maintenance | None = None) -> tuple[str, ...]:
        """What can be changed; of what cannot, how it reads."""
        if obj is not None and not self.has_change_permission(request, obj):
            return ("state", "services", "begins", "ends", "reason", "planned_by")
        if obj is not None and obj.runs(timezone.now()):
            return ("services", "begins", "ends_at", "reason")
        return ("services", "starts_at", "ends_at", "reason")

    def get_readonly_fields(self, request: Any, obj: Maintenance | None = None) -> tuple[str, ...]:
        """Work that has begun keeps its start."""
        return ("begins",) if obj is not None and obj.runs(timezone.now()) else ()

    def has_change_permission(self, request: Any, obj: Maintenance | None = None) -> bool:
        """What is past stays as it was."""
        return super().has_change_permission(request, obj) and (obj is None or obj.ends_at > timezone.now())

    def has_delete_permission(self, request: Any, obj: Maintenance | None = None) -> bool:
        """Only what has not begun can be cancelled."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.starts_at > timezone.now())

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """An hour from now; the services of `?services=ID`."""
        now = timezone.now().replace(second=0, microsecond=0)
        return {
            "starts_at": now,
            "ends_at": now + timedelta(hours=1),
            "services": request.GET.get("services", "").split(","),
        }

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> Any:
        """In the operators' words."""
        return super().add_view(request, form_url, {"title": "Plan maintenance", **(extra_context or {})})

    def render_change_form(
        self, request: Any, context: Any, add: Any = False, change: Any = False, form_url: Any = "", obj: Any = None
    ) -> Any:
        """The buttons above the form depend on how far the work is."""
        now = timezone.now()
        context |= {
            "show_delete": False,  # "cancel" stands above, in words
            "may_end": obj is not None and obj.runs(now) and self.has_change_permission(request, obj),
            "may_cancel": obj is not None and self.has_delete_permission(request, obj),
        }
        if obj is not None:
            context |= {"title": f"Maintenance of {_window_names(obj)}", "subtitle": None}
        return super().render_change_form(request, context, add, change, form_url, obj)

    def check_change(self, row: Maintenance | None) -> None:
        """Only what is not past."""
        if row is not None:
            services.refuse_if_ended(row, timezone.now())

    def check_delete(self, row: Maintenance | None) -> None:
        """Only what has not begun."""
        if row is not None:
            services.refuse_if_begun(row, timezone.now())

    def save_model(self, request: Any, obj: Maintenance, form: Any, change: bool) -> None:
        """Have the service layer plan or change it."""
        values = {name: form.cleaned_data[name] for name in ("services", "ends_at", "reason")}
        values["starts_at"] = form.cleaned_data.get("starts_at", obj.starts_at)
        by = Actor.of(person(request))
        if change:
            services.change_maintenance(obj, by=by, expected_version=form.cleaned_data["version"], **values)
        else:
            _become(obj, services.plan_maintenance(by=by, **values))

    def delete_model(self, request: Any, obj: Maintenance) -> None:
        """Have the service layer cancel it."""
        services.cancel_maintenance(obj, by=Actor.of(person(request)))

    def end_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The question, and on POST the end of the work."""
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        by = self.require(request, "change")
        window = self.get_object(request, object_id)
        if window is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        if request.method == "POST":
            return self._end(request, window, by)
        context = {
            **self.admin_site.each_context(request),
            "title": "End maintenance now?",
            "opts": self.opts,
            "object": window,
        }
        return render(request, "admin/health/maintenance/end.html", context)

    def _end(self, request: HttpRequest, window: Maintenance, by: Actor) -> HttpResponse:
        try:
            services.end_maintenance(window, by=by)
        except Refused as refusal:
            return self.refused(request, refusal)
        messages.success(request, f"The maintenance of {_window_names(window)} has ended. Alerts are no longer muted.")
        return redirect(self.list_url())

    @admin.display(description="state")
    def state(self, window: Maintenance) -> SafeString:
        """Running, planned or past: shape and word."""
        now = timezone.now()
        tone, word = "warn", "running"
        if window.ends_at <= now:
            tone, word = "past", "past"
        elif window.starts_at > now:
            tone, word = "info", "planned"
        return format_html('<span class="badge badge--{}">{}</span>', tone, word)

    @admin.display(description="services")
    def what(self, window: Maintenance) -> str:
        """What is worked on."""
        return _window_names(window)

    @admin.display(description="reason", ordering="reason")
    def why(self, window: Maintenance) -> SafeString:
        """What is done; one long word must not widen the list."""
        return format_html('<span class="cell-any">{}</span>', window.reason)

    @admin.display(description="from", ordering="starts_at")
    def begins(self, window: Maintenance) -> SafeString:
        """When it begins."""
        return _moment(window.starts_at)

    @admin.display(description="until", ordering="ends_at")
    def ends(self, window: Maintenance) -> SafeString:
        """When it ends."""
        return _moment(window.ends_at)

    @admin.display(description="end it")
    def end_now(self, window: Maintenance) -> SafeString | str:
        """A button while it is going on."""
        if not window.runs(timezone.now()):
            return "–"
        url = reverse("admin:health_maintenance_end", args=[window.pk])
        name = f"End now: the maintenance of {_window_names(window)}"
        return format_html('<a class="btn btn--small" href="{}" aria-label="{}">End now</a>', url, name)


def _become(row: Any, saved: Any) -> None:
    """Let the form's unsaved row be the saved one: the admin names it and leads to it."""
    row.__dict__.update(saved.__dict__)


def _window_names(window: Maintenance) -> str:
    return _names(window.services.all()) or "services that were removed"


def _names(rows: QuerySet[Service]) -> str:
    names = sorted(row.name for row in rows)
    more = len(names) - NAMES_SHOWN
    if more > 1:
        return f"{', '.join(names[:NAMES_SHOWN])} and {more} more"
    return ", ".join(names)


def _moment(at: datetime) -> SafeString:
    return render_to_string("ops/_time.html", {"at": at})


if settings.FEATURES["health"]:
    admin.site.register(Service, ServiceAdmin)
    admin.site.register(Maintenance, MaintenanceAdmin)
