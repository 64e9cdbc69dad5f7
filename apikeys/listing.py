"""The list of keys as people read it: filtered and paged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.core.paginator import Page, Paginator
from django.db.models import Q, QuerySet
from django.http import QueryDict

from apikeys.forms import KeyFilter
from apikeys.models import ApiKey, KeyState
from apikeys.rows import Row, row_of
from apikeys.selectors import ends_within, in_state, shown_keys

PAGE_SIZE = 50


@dataclass(frozen=True)
class Listing:
    """A page of the table with its filters."""

    rows: tuple[Row, ...]
    form: KeyFilter
    page: Page[ApiKey]
    querystring: str

    @property
    def total(self) -> int:
        """How many keys the filters let through."""
        return self.page.paginator.count


def filtered(form: KeyFilter, now: datetime) -> QuerySet[ApiKey]:
    """The keys that the filters let through, newest first; none when a filter is invalid."""
    if not form.is_valid():
        return ApiKey.objects.none()
    values = form.cleaned_data
    keys = shown_keys()
    if text := values["q"]:
        keys = keys.filter(Q(name__icontains=text) | Q(prefix__icontains=text) | Q(owner__username__icontains=text))
    if values["state"]:
        keys = keys.filter(in_state(KeyState(values["state"]), now))
    if values["scope"]:
        keys = keys.filter(scopes__contains=[values["scope"]])
    if values["expiring"]:
        keys = keys.filter(ends_within(int(values["expiring"]), now))
    return keys


def listing(query: QueryDict, now: datetime) -> Listing:
    """The page of the list that a query string asks for."""
    form = KeyFilter(query)
    filters = query.copy()
    for name in [name for name in filters if name not in form.fields or not filters[name]]:
        del filters[name]
    page = Paginator(filtered(form, now), PAGE_SIZE).get_page(query.get("page"))
    return Listing(tuple(row_of(key, now) for key in page.object_list), form, page, filters.urlencode())
