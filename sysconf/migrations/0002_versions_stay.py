"""A version of a section is never changed or removed: by trigger, and the application's role may only add and read."""

from django.db import migrations

APPEND_ONLY = """
CREATE FUNCTION sysconfig_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the versions of the system configuration are kept: % is refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER sysconfig_no_change BEFORE UPDATE OR DELETE ON sysconfig_version
    FOR EACH ROW EXECUTE FUNCTION sysconfig_refuse_change();
CREATE TRIGGER sysconfig_no_truncate BEFORE TRUNCATE ON sysconfig_version
    FOR EACH STATEMENT EXECUTE FUNCTION sysconfig_refuse_change();

CREATE FUNCTION sysconfig_restrict(role text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('REVOKE ALL ON sysconfig_version FROM %I', role);
    EXECUTE format('GRANT SELECT, INSERT ON sysconfig_version TO %I', role);
END $$;
REVOKE EXECUTE ON FUNCTION sysconfig_restrict(text) FROM PUBLIC;
"""


class Migration(migrations.Migration):
    """Creates what Django's own schema editor cannot."""

    dependencies = [("sysconfig", "0001_initial")]

    operations = [migrations.RunSQL(APPEND_ONLY, migrations.RunSQL.noop)]
