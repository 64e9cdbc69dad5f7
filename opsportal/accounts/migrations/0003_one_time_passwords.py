"""One-time passwords (AM-1), and when a session was last seen (AUTH-3)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_strategies"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="must_change_password",
            field=models.BooleanField(
                default=False,
                editable=False,
                help_text="A one-time password opens only the page that changes it.",
            ),
        ),
        migrations.AddField(
            model_name="usersession",
            name="seen_at",
            field=models.DateTimeField(null=True),
        ),
    ]
