"""Strategies: created, renamed, described, retired; never deleted (AM-4). Grants are in `changes`."""

from __future__ import annotations

from opsportal.accounts.actors import Actor
from opsportal.accounts.models import Strategy
from opsportal.accounts.records import one_at_a_time, plain_text
from opsportal.accounts.refusals import InvalidInput, StaleForm
from opsportal.audit import recorder

NAME_MAX = 100
DESCRIPTION_MAX = 300


def create_strategy(name: str, *, by: Actor, description: str = "") -> Strategy:
    """A strategy that users can be granted. Raises `PermissionRefused`, and `InvalidInput` for a name that is taken."""
    by.require("accounts.add_strategy")
    values = _clean(name, description)
    with one_at_a_time(by, "accounts.add_strategy"):
        _require_free(values["name"])
        strategy = Strategy.objects.create(**values)
        _audit("strategy_create", strategy, by=by, details={**values})
    return strategy


def update_strategy(
    strategy: Strategy,
    *,
    by: Actor,
    name: str,
    description: str,
    retired: bool,
    expected: tuple[str, str, bool] | None = None,
) -> bool:
    """Rename, describe, retire or bring back. A retired strategy keeps its grants and takes no new ones.

    `expected` is what the form was drawn with: name, description, retired. False if all was so already.
    Raises `PermissionRefused`, `InvalidInput`, and `StaleForm` when somebody else has changed it meanwhile.
    """
    by.require("accounts.change_strategy")
    wanted: dict[str, str | bool] = {**_clean(name, description), "retired": retired}
    with one_at_a_time(by, "accounts.change_strategy"):
        now = Strategy.objects.get(pk=strategy.pk)
        if expected is not None and expected != (now.name, now.description, now.retired):
            raise StaleForm("Somebody else has changed this strategy meanwhile. Nothing was saved: look at it again.")
        before = {field: getattr(now, field) for field in wanted}
        changed = [field for field, value in wanted.items() if before[field] != value]
        if not changed:
            return False
        if "name" in changed:
            _require_free(str(wanted["name"]), but=now)
        for field in changed:
            setattr(now, field, wanted[field])
        now.save(update_fields=changed)
        details = {field: {"before": before[field], "after": wanted[field]} for field in changed}
        _audit("strategy_update", now, by=by, details={"strategy": now.name, "changed": details})
    return True


def _clean(name: str, description: str) -> dict[str, str]:
    cleaned = plain_text("name", name, longest=NAME_MAX, name="The name")
    if not cleaned:
        raise InvalidInput("name", "Give the strategy a name.")
    text = plain_text("description", description, longest=DESCRIPTION_MAX, name="The description")
    return {"name": cleaned, "description": text}


def _require_free(name: str, *, but: Strategy | None = None) -> None:
    others = Strategy.objects.filter(name__iexact=name)
    if others.exclude(pk=but.pk).exists() if but else others.exists():
        raise InvalidInput("name", f"There is a strategy “{name}” already, in these or other capitals.")


def _audit(event: str, strategy: Strategy, *, by: Actor, details: dict[str, object]) -> None:
    recorder.record(
        event,
        event_type="admin",
        actor=by.user,
        actor_label=by.label,
        resource_type="strategy",
        resource_id=str(strategy.pk),
        details=details,
    )
