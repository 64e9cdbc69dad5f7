"""Until when a channel rests because its provider asked for it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A small table."""

    dependencies = [("alerting", "0008_ticked_at")]

    operations = [
        migrations.CreateModel(
            name="Rest",
            fields=[
                ("channel_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("version", models.PositiveIntegerField()),
                ("until", models.DateTimeField()),
            ],
            options={"default_permissions": ()},
        ),
    ]
