"""Reading the log and taking it away are two permissions."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_log_in_the_database"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="entry",
            options={
                "default_permissions": ("view",),
                "get_latest_by": "timestamp",
                "ordering": ["-timestamp"],
                "permissions": (("export_entry", "Can export the audit log"),),
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit entries",
            },
        ),
    ]
