"""Where messages go."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Lower, Now


class Channel(models.Model):
    """One set-up way to reach people: a mail server with its addresses, a Slack webhook, a phone list, … (AD-1).

    `kind` is a name in `alerting.channels.KINDS`. Everything that is secret or personal (credentials, addresses, phone
    numbers, webhook addresses) lies in `sealed`, encrypted with the key ring; pages show `shown`, which is masked.
    """

    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=12)
    #: The kind's settings as JSON text, sealed by `opsportal.secrets.keyring`.
    sealed = models.TextField(editable=False)
    #: What pages may show: label to masked text, such as {"Recipients": "***@example.com"} (AC-2, AC-5).
    shown = models.JSONField(default=dict, editable=False)
    enabled = models.BooleanField(default=True)
    #: Goes up with each change: a form drawn before is stale, an opened sender is opened anew.
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    changed_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name",)
        permissions = [("test_channel", "Can send a test notification")]
        constraints = [models.UniqueConstraint(Lower("name"), name="alerting_channel_name")]

    def __str__(self) -> str:
        return self.name


class Rest(models.Model):
    """Until when a channel's messages wait because its provider asked for it (AD-5).

    Apart from `Channel`, whose changes are audited and make every process read it anew.
    """

    channel_id = models.BigIntegerField(primary_key=True)
    #: `Channel.version` of the settings that the provider said it to: an edit ends the rest.
    version = models.PositiveIntegerField()
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"channel {self.channel_id} rests until {self.until:%Y-%m-%d %H:%M:%S}"
