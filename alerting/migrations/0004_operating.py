"""What the operators' pages need: why an alert was resolved by hand, and an index of what was resolved last."""

from django.db import migrations, models

FORWARDS = """
ALTER TABLE alerting_event ADD COLUMN resolved_note varchar(1000) NOT NULL DEFAULT '';
CREATE INDEX alerting_event_resolved ON alerting_event (resolved_at DESC)
    WHERE state = 'resolved' AND triggered_at IS NOT NULL;
"""
BACKWARDS = """
DROP INDEX alerting_event_resolved;
ALTER TABLE alerting_event DROP COLUMN resolved_note;
"""


class Migration(migrations.Migration):
    """A column and an index of the table of events, which is parted by month."""

    dependencies = [("alerting", "0003_first_rules")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(FORWARDS, BACKWARDS)],
            state_operations=[
                migrations.AddField(
                    "event", "resolved_note", models.CharField(blank=True, default="", max_length=1000)
                ),
            ],
        ),
    ]
