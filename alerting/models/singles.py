"""Tables of one row."""

from __future__ import annotations

from django.db import models


class Revision(models.Model):
    """Goes up, by trigger, with each change of a rule, channel or silence: what processes remember of them is stale."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    number = models.BigIntegerField(default=1)

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="alerting_revision_one_row")]

    def __str__(self) -> str:
        return f"revision {self.number}"


class Gate(models.Model):
    """Whether new alerts are refused because too many deliveries wait (AD-8), and when the portal last looked."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    closed = models.BooleanField(default=False)
    since = models.DateTimeField(null=True)
    #: When the ticker last looked at what the portal watches itself, by PostgreSQL's clock; at first, when this column
    #: was made. Written by `alerting.ticks`; not a part of the revision, which would have rules read anew.
    ticked_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="alerting_gate_one_row")]

    def __str__(self) -> str:
        return "closed" if self.closed else "open"
