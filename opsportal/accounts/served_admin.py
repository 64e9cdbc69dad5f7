"""What the portal's model pages share: stock admin pages whose changes go through services."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.widgets import FilteredSelectMultiple, RelatedFieldWidgetWrapper
from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse

from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import person
from opsportal.accounts.refusals import Refused


class ServedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Changes go through the services, and refusals say what is missing. What happened is in the audit log."""

    actions = None  # not `actions_on_top = False`: that puts an inline style on the page
    list_per_page = 100
    show_facets = admin.ShowFacets.NEVER
    plural_title = ""

    def get_urls(self) -> list[Any]:
        """Without the stock history, which would always be empty: the audit log holds it."""
        return [url for url in super().get_urls() if not (url.name or "").endswith("_history")]

    def require(self, request: HttpRequest, action: str) -> Actor:
        """Who asks, if they may: view, add, change or delete. Raises `PermissionRefused`."""
        actor = Actor.of(person(request))
        actor.require(f"{self.opts.app_label}.{action}_{self.opts.model_name}")
        return actor

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """The list."""
        self.require(request, "view")
        if any("\x00" in value for _, values in request.GET.lists() for value in values):
            # PostgreSQL refuses it in any comparison; the stock filters would pass it on.
            return self.refused(request, Refused("The address holds a character that nothing can contain (NUL)."))
        return super().changelist_view(request, {"title": self.plural_title, **(extra_context or {})})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """The form; read-only for whoever may only look."""
        self.require(request, "add" if object_id is None else "change" if request.method == "POST" else "view")
        try:
            if object_id is not None and request.method == "POST":
                self.check_change(self.get_object(request, object_id))
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Refused as refusal:
            # What the form could not see: somebody else was faster by a moment.
            return self.refused(request, refusal)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """The question, and on POST the deletion."""
        self.require(request, "delete")
        try:
            self.check_delete(self.get_object(request, object_id))
            return super().delete_view(request, object_id, extra_context)
        except Refused as refusal:
            return self.refused(request, refusal)

    def check_change(self, row: Any) -> None:
        """Raise `Refused` if this row, None for one that is gone, is not to be changed."""

    def check_delete(self, row: Any) -> None:
        """Raise `Refused` if this row, None for one that is gone, is not to be deleted."""

    def save_related(self, request: Any, form: Any, formsets: Any, change: Any) -> None:
        """The service has written the related rows together with the row."""

    def log_addition(self, request: Any, obj: Any, message: Any) -> Any:
        """The service has written the audit record."""

    def log_change(self, request: Any, obj: Any, message: Any) -> Any:
        """The service has written the audit record."""

    def log_deletions(self, request: Any, queryset: Any) -> Any:
        """The service has written the audit record."""

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Without buttons that open pop-up windows for related rows."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget.can_add_related = False
        return field

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Two lists with a filter, which speak of what they hold, not of the field's name."""
        title = db_field.related_model._meta.verbose_name_plural
        kwargs.setdefault("widget", FilteredSelectMultiple(title, is_stacked=False))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def list_url(self) -> str:
        """Where the list is."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def refused(self, request: HttpRequest, refusal: Refused) -> HttpResponseRedirect:
        """Back to the list with the sentence."""
        messages.error(request, refusal.sentence)
        return redirect(self.list_url())
