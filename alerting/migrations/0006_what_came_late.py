"""A pending episode that was begun by what came late waits from its arrival."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A column that may be empty: no row is written. Episodes that are pending now wait as before."""

    dependencies = [("alerting", "0005_in_one_call")]

    operations = [migrations.AddField("episode", "waits_from", models.DateTimeField(null=True))]
