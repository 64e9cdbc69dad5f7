"""A silence stays when its rule is deleted (AL-7)."""

import django.db.models.deletion
from django.db import migrations, models

# What the table could not hold before.
BACKWARDS = "DELETE FROM alerting_silence s WHERE s.rule_id <> ALL (SELECT id FROM alerting_rule)"


class Migration(migrations.Migration):
    """The rule's number without a foreign key, as an event has it, and its name."""

    dependencies = [("alerting", "0006_what_came_late")]

    operations = [
        migrations.AlterField(
            "silence",
            "rule",
            models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="silences",
                to="alerting.rule",
            ),
        ),
        migrations.AddField(
            "silence",
            "rule_name",
            models.CharField(blank=True, db_default="", default="", editable=False, max_length=100),
        ),
        migrations.RunSQL(migrations.RunSQL.noop, BACKWARDS),
    ]
