"""No entry has an id that the sequence does not give: what is below 1 was put in by hand."""

from django.db import migrations

# Not valid yet for what is there, so that neither a long log nor a forged row stands in the way of an upgrade; what is
# there is looked at by the verification. It holds for every new row, and in every month that is made from now on.
CHECK = "ALTER TABLE audit_entry ADD CONSTRAINT audit_entry_id_positive CHECK (id > 0) NOT VALID"
BACK = "ALTER TABLE audit_entry DROP CONSTRAINT audit_entry_id_positive"


class Migration(migrations.Migration):
    """Adds the check to the log and all its months."""

    dependencies = [("audit", "0004_viewer_and_retention")]

    operations = [migrations.RunSQL(CHECK, BACK)]
