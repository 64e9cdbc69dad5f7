"""Deliveries name the request that made them; events that are still open stay with their messages (AL-3, SLA-5)."""

from django.db import migrations, models

from opsportal.observability.partition_sql import partition_functions

LOCK = 7218940117  # as in 0002
COLUMN = "ALTER TABLE alerting_delivery ADD COLUMN request_id varchar(64) NOT NULL DEFAULT ''"
NO_COLUMN = "ALTER TABLE alerting_delivery DROP COLUMN request_id"

_ADD = """
CREATE OR REPLACE FUNCTION alerting_add_deliveries(told json) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    INSERT INTO alerting_delivery AS a (event_id, event_started_at, dedup_key, hour_bucket, channel_id, kind,
        recipient_hash, recipient_sealed, recipient_shown, notice, priority, status, due_at, triggered_at, finished_at,
        outcome{column})
    SELECT d.event_id, d.event_started_at, d.dedup_key, d.hour_bucket, d.channel_id, d.kind,
        d.recipient_hash, d.recipient_sealed, d.recipient_shown, d.notice, d.priority, d.status,
        -- By PostgreSQL's clock, as they are claimed: the sender's may run ahead.
        least(d.due_at, clock_timestamp()), d.triggered_at, d.finished_at, d.outcome{value}
    FROM json_to_recordset(told) AS d (event_id uuid, event_started_at timestamptz, dedup_key text, earlier_key text,
        hour_bucket timestamptz, channel_id bigint, kind text, recipient_hash text, recipient_sealed text,
        recipient_shown text, notice text, priority smallint, status text, due_at timestamptz,
        triggered_at timestamptz, finished_at timestamptz, outcome text{told})
    WHERE d.earlier_key IS NULL OR NOT EXISTS (
        SELECT FROM alerting_delivery e WHERE e.dedup_key = d.earlier_key AND e.hour_bucket = d.hour_bucket)
    ORDER BY d.dedup_key
    ON CONFLICT (dedup_key, hour_bucket) DO NOTHING
    RETURNING a.event_id;
END $$;
"""
# A caller of the release before tells no request.
ADD = _ADD.format(column=", request_id", value=", left(coalesce(d.request_id, ''), 64)", told=", request_id text")
ADD_AS_BEFORE = _ADD.format(column="", value="", told="")

# As `partition_sql` has them, but for what open episodes still need: their events, and the firing notices by which
# their recoveries find whom to tell.
KEEP = f"""
CREATE FUNCTION alerting_still_needed(parent text, part text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    needed boolean := false;
BEGIN
    IF parent IN ('alerting_event', 'alerting_delivery') THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM alerting_episode p JOIN %I AS r ON r.%I = p.event_id)',
            part, CASE parent WHEN 'alerting_event' THEN 'id' ELSE 'event_id' END) INTO needed;
    END IF;
    RETURN needed;
END $$;

CREATE OR REPLACE FUNCTION alerting_drop_expired(parent text, caller_now timestamptz) RETURNS text LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
    expiry timestamptz := alerting_expiry(parent, caller_now);
    name text;
BEGIN
    IF NOT pg_try_advisory_xact_lock({LOCK}) THEN
        RETURN NULL;
    END IF;
    FOR name IN SELECT part.relname FROM (
        SELECT c.relname,
            substring(pg_get_expr(c.relpartbound, c.oid) FROM $re$TO \\('([^']+)'\\)$re$)::timestamptz AS until
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = parent::regclass
    ) AS part WHERE part.until <= expiry ORDER BY part.until
    LOOP
        CONTINUE WHEN alerting_still_needed(parent, name);
        EXECUTE format('DROP TABLE %I', name);
        RETURN name;
    END LOOP;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION alerting_trim_default(parent text, caller_now timestamptz) RETURNS bigint LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
    rule record := alerting_parting(parent);
    kept text := CASE parent
        WHEN 'alerting_event' THEN 'AND id NOT IN (SELECT event_id FROM alerting_episode)'
        WHEN 'alerting_delivery' THEN 'AND event_id NOT IN (SELECT event_id FROM alerting_episode)'
        ELSE '' END;
    trimmed bigint;
BEGIN
    EXECUTE format('DELETE FROM %1$I WHERE ctid = ANY (ARRAY(SELECT ctid FROM %1$I WHERE %2$I < $1 %3$s LIMIT 50000))',
        parent || '_default', rule.by_column, kept) USING alerting_expiry(parent, caller_now);
    GET DIAGNOSTICS trimmed = ROW_COUNT;
    RETURN trimmed;
END $$;
"""  # noqa: S608 - our own constant
KEEP_AS_BEFORE = (
    partition_functions("alerting", lock=LOCK).replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
    + "DROP FUNCTION alerting_still_needed(text, text);"
)


class Migration(migrations.Migration):
    """A column with a constant default: no row is written. Functions."""

    dependencies = [("alerting", "0009_rest")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMN, NO_COLUMN)],
            state_operations=[
                migrations.AddField("delivery", "request_id", models.CharField(blank=True, default="", max_length=64)),
            ],
        ),
        migrations.RunSQL(ADD, ADD_AS_BEFORE),
        migrations.RunSQL(KEEP, KEEP_AS_BEFORE),
    ]
