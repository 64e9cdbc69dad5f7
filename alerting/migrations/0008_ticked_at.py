"""When the portal last looked at what it watches itself."""

from django.db import migrations, models

# From now on: what was migrated a moment ago has had no time yet to tick.
SINCE_NOW = "UPDATE alerting_gate SET ticked_at = now()"


class Migration(migrations.Migration):
    """A column without a default: no table is rewritten."""

    dependencies = [("alerting", "0007_silences_outlive_rules")]

    operations = [
        migrations.AddField("gate", "ticked_at", models.DateTimeField(null=True)),
        migrations.RunSQL(SINCE_NOW, migrations.RunSQL.noop),
    ]
