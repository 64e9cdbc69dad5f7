"""Indexes for the viewer's filters; what is known of the chain; months that were archived, and their end."""

from collections.abc import Sequence

from django.db import migrations, models

# Of a partitioned table: PostgreSQL makes them on every partition. All end in the order of the viewer's pages.
INDEXES = """
DROP INDEX audit_entry_actor, audit_entry_event, audit_entry_resource;
CREATE INDEX audit_entry_who ON audit_entry (actor_label varchar_pattern_ops, "timestamp" DESC, id DESC);
CREATE INDEX audit_entry_event ON audit_entry (event, "timestamp" DESC, id DESC);
CREATE INDEX audit_entry_type ON audit_entry (event_type, "timestamp" DESC, id DESC);
CREATE INDEX audit_entry_outcome ON audit_entry (outcome, "timestamp" DESC, id DESC);
CREATE INDEX audit_entry_kind ON audit_entry (resource_type, "timestamp" DESC, id DESC);
CREATE INDEX audit_entry_resource ON audit_entry (resource_type, resource_id, "timestamp" DESC, id DESC);
CREATE INDEX audit_entry_address ON audit_entry (remote_addr, "timestamp" DESC, id DESC);
CREATE INDEX audit_entry_request ON audit_entry (cid, "timestamp" DESC, id DESC);
"""

APPEND_ONLY = """
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_archive
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_archive
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
"""

# 90 days is the floor whatever the caller's settings say (AUDIT_RETENTION_DAYS may not be less either).
RETENTION = """
CREATE FUNCTION audit_partition_bounds(OUT name text, OUT since timestamptz, OUT until timestamptz)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT c.relname::text,
        substring(pg_get_expr(c.relpartbound, c.oid) FROM $re$FROM \\('([^']+)'\\)$re$)::timestamptz,
        substring(pg_get_expr(c.relpartbound, c.oid) FROM $re$TO \\('([^']+)'\\)$re$)::timestamptz
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.audit_entry'::regclass AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
    ORDER BY 2
$$;

-- The bounds of a partition that may go as far as its age is concerned. Raises when it may not.
CREATE FUNCTION audit_expired_partition(part text, OUT since timestamptz, OUT until timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    SELECT b.since, b.until INTO since, until FROM audit_partition_bounds() AS b WHERE b.name = part;
    IF until IS NULL THEN
        RAISE EXCEPTION '% is not a month of the audit log', part USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF until > clock_timestamp() - interval '90 days' THEN
        RAISE EXCEPTION '% is not old enough: the audit log is kept for 90 days at least', part
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END $$;

CREATE FUNCTION audit_note_archive(part text, row_count bigint, first_seq bigint, last_seq bigint, first_hash bytea,
    last_hash bytea, links_digest bytea, sha256 text, path text, seal bytea) RETURNS void LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    bounds record := audit_expired_partition(part);
    present bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %I', part) INTO present;
    IF present <> row_count THEN
        RAISE EXCEPTION '% has % rows, the archive has %', part, present, row_count
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO audit_archive (partition, since, until, rows, first_seq, last_seq, first_hash, last_hash, links_digest,
        sha256, path, seal, at)
    VALUES (part, bounds.since, bounds.until, row_count, first_seq, last_seq, first_hash, last_hash, links_digest,
        sha256, path, seal, clock_timestamp());
END $$;

CREATE FUNCTION audit_drop_partition(part text, caller_until timestamptz) RETURNS bigint LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
    bounds record := audit_expired_partition(part);
    archived bigint;
    present bigint;
BEGIN
    IF bounds.until > caller_until THEN
        RAISE EXCEPTION '% ends after %', part, caller_until USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT a.rows INTO archived FROM audit_archive AS a WHERE a.partition = part;
    IF archived IS NULL THEN
        RAISE EXCEPTION '% was not archived, so it stays', part USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- Nothing can be added between the count and the end; readers and writers of other months need not wait for it.
    EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', part);
    EXECUTE format('SELECT count(*) FROM %I', part) INTO present;
    IF present <> archived THEN
        RAISE EXCEPTION '% has % rows, its archive has %, so it stays', part, present, archived
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    EXECUTE format('DROP TABLE %I', part);
    RETURN present;
END $$;
"""

RIGHTS = """
CREATE OR REPLACE FUNCTION audit_restrict(role text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT relid FROM pg_partition_tree('audit_entry') LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I', part, role);
    END LOOP;
    EXECUTE format('GRANT SELECT, INSERT ON audit_entry TO %I', role);
    EXECUTE format('REVOKE ALL ON audit_link, audit_archive FROM %I', role);
    EXECUTE format('GRANT SELECT ON audit_link, audit_archive TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit_ensure_partition(date), audit_partition_bounds(), '
        'audit_note_archive(text, bigint, bigint, bigint, bytea, bytea, bytea, text, text, bytea), '
        'audit_drop_partition(text, timestamptz) TO %I', role);
END $$;
REVOKE EXECUTE ON FUNCTION audit_restrict(text), audit_partition_bounds(), audit_expired_partition(text),
    audit_note_archive(text, bigint, bigint, bigint, bytea, bytea, bytea, text, text, bytea),
    audit_drop_partition(text, timestamptz) FROM PUBLIC;
"""


def _index(name: str, *fields: str, opclasses: Sequence[str] = ()) -> migrations.AddIndex:
    return migrations.AddIndex(
        model_name="entry", index=models.Index(fields=[*fields, "-timestamp", "-id"], name=name, opclasses=opclasses)
    )


class Migration(migrations.Migration):
    """Adds what Django can describe, then what it cannot."""

    dependencies = [("audit", "0003_export_permission")]

    operations = [
        migrations.CreateModel(
            name="Verification",
            fields=[
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("new", "the links since the last look, every minute"),
                            ("full", "the last look at the whole chain that came to an end"),
                            ("pass", "the daily look at the whole chain, as far as it has come"),
                            ("checkpoint", "the last head that went to the second sink"),
                        ],
                        max_length=16,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("seq", models.BigIntegerField(default=0)),
                ("hash", models.BinaryField(max_length=32)),
                ("problem", models.TextField(blank=True, default="")),
                ("entry_id", models.BigIntegerField(null=True)),
                ("ids_seen", models.BigIntegerField(default=0)),
                ("notes_seen", models.IntegerField(default=0)),
            ],
            options={"db_table": "audit_verification", "default_permissions": ()},
        ),
        migrations.CreateModel(
            name="Archive",
            fields=[
                ("partition", models.CharField(max_length=63, primary_key=True, serialize=False)),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("rows", models.BigIntegerField()),
                ("first_seq", models.BigIntegerField()),
                ("last_seq", models.BigIntegerField()),
                ("first_hash", models.BinaryField(max_length=32)),
                ("last_hash", models.BinaryField(max_length=32)),
                ("links_digest", models.BinaryField(max_length=32)),
                ("sha256", models.CharField(max_length=64)),
                ("path", models.TextField()),
                ("seal", models.BinaryField(max_length=32)),
                ("at", models.DateTimeField()),
            ],
            options={"db_table": "audit_archive", "default_permissions": (), "ordering": ["since"]},
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(INDEXES, migrations.RunSQL.noop)],
            state_operations=[
                migrations.RemoveIndex(model_name="entry", name="audit_entry_actor"),
                migrations.RemoveIndex(model_name="entry", name="audit_entry_event"),
                migrations.RemoveIndex(model_name="entry", name="audit_entry_resource"),
                _index(
                    "audit_entry_who",
                    "actor_label",
                    opclasses=["varchar_pattern_ops", "timestamptz_ops", "int8_ops"],
                ),
                _index("audit_entry_event", "event"),
                _index("audit_entry_type", "event_type"),
                _index("audit_entry_outcome", "outcome"),
                _index("audit_entry_kind", "resource_type"),
                _index("audit_entry_resource", "resource_type", "resource_id"),
                _index("audit_entry_address", "remote_addr"),
                _index("audit_entry_request", "cid"),
            ],
        ),
        migrations.RunSQL(APPEND_ONLY, migrations.RunSQL.noop),
        migrations.RunSQL(RETENTION, migrations.RunSQL.noop),
        migrations.RunSQL(RIGHTS, migrations.RunSQL.noop),
    ]
