"""What people may do with the log beyond reading it."""

from __future__ import annotations

from collections.abc import Iterator

from opsportal.accounts.actors import Actor
from opsportal.audit import export as exporting
from opsportal.audit.forms import EntryFilter


def export_log(form: EntryFilter, file_form: str, *, by: Actor) -> Iterator[str]:
    """The filtered log as a file in pieces, audited. `form` is a valid one, `file_form` csv or jsonl.

    Raises `PermissionRefused`, and `django.db.Error` while nothing has been sent.
    """
    by.require("audit.export_entry")
    return exporting.export(
        exporting.Ordered(
            form=file_form,
            filters=form.filters(),
            given=form.given(),
            actor_id=by.user.pk if by.user else None,
            actor_label=by.label,
        )
    )
