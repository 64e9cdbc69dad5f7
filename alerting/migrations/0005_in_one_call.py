"""The statements of every alert as functions: their plans are kept, a statement's is made each time."""

from django.db import migrations

# The episode makes the event one event (AL-3): of several that begin it at the same time one adds the row. A delivery
# is new unless it is there, under this hash of the recipient or the one before (AD-3, AD-9). Rows go in by name, in
# one order, so that two calls wait for each other and not in a circle.
FORWARDS = """
-- What evaluation must know before all: the revision of rules, channels and silences, whether the queue is full,
-- whether planned work goes on, and which of these episodes are open.
CREATE FUNCTION alerting_look(moment timestamptz, keys text[],
    OUT number bigint, OUT stamp text, OUT is_full boolean, OUT planned boolean, OUT episodes text)
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT r.number, r.xmin::text, g.closed INTO number, stamp, is_full FROM alerting_revision r, alerting_gate g;
    planned := EXISTS (SELECT FROM health_maintenance m WHERE m.starts_at <= moment AND m.ends_at > moment);
    IF cardinality(keys) > 0 THEN
        SELECT json_agg(json_build_array(p.key, p.event_id, p.event_started_at, p.rule_id, p.firing, p.expires_at))
            INTO episodes FROM alerting_episode p WHERE p.key = ANY (keys);
    END IF;
END $$;

CREATE FUNCTION alerting_add_deliveries(told json) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    INSERT INTO alerting_delivery AS a (event_id, event_started_at, dedup_key, hour_bucket, channel_id, kind,
        recipient_hash, recipient_sealed, recipient_shown, notice, priority, status, due_at, triggered_at, finished_at,
        outcome)
    SELECT d.event_id, d.event_started_at, d.dedup_key, d.hour_bucket, d.channel_id, d.kind,
        d.recipient_hash, d.recipient_sealed, d.recipient_shown, d.notice, d.priority, d.status,
        -- By PostgreSQL's clock, as they are claimed: the sender's may run ahead.
        least(d.due_at, clock_timestamp()), d.triggered_at, d.finished_at, d.outcome
    FROM json_to_recordset(told) AS d (event_id uuid, event_started_at timestamptz, dedup_key text, earlier_key text,
        hour_bucket timestamptz, channel_id bigint, kind text, recipient_hash text, recipient_sealed text,
        recipient_shown text, notice text, priority smallint, status text, due_at timestamptz,
        triggered_at timestamptz, finished_at timestamptz, outcome text)
    WHERE d.earlier_key IS NULL OR NOT EXISTS (
        SELECT FROM alerting_delivery e WHERE e.dedup_key = d.earlier_key AND e.hour_bucket = d.hour_bucket)
    ORDER BY d.dedup_key
    ON CONFLICT (dedup_key, hour_bucket) DO NOTHING
    RETURNING a.event_id;
END $$;

CREATE FUNCTION alerting_begin(told json, deliveries json) RETURNS TABLE (id uuid, made bigint)
    LANGUAGE plpgsql AS $$
DECLARE
    begun uuid[];
    missing boolean;
BEGIN
    WITH placed AS (
        INSERT INTO alerting_episode AS p (key, event_id, event_started_at, rule_id, firing, due_at, expires_at, muted)
        SELECT f.key, f.id, f.started_at, f.rule_id, f.firing, f.due_at, f.expires_at, f.muted_by <> ''
        FROM json_to_recordset(told) AS f (key text, id uuid, started_at timestamptz, rule_id bigint, firing boolean,
            due_at timestamptz, expires_at timestamptz, muted_by text, open boolean)
        WHERE f.open ORDER BY f.key
        ON CONFLICT (key) DO NOTHING RETURNING p.event_id
    )
    SELECT array_agg(p.event_id) INTO begun FROM placed p;
    WITH added AS (
        INSERT INTO alerting_event AS e (id, started_at, rule_id, rule_name, severity, state, origin, alert_id, metric,
            labels, fingerprint, comparison, threshold, value, summary, annotations, owner, runbook_url, generator_url,
            triggered_at, muted_by, notified_at, resolved_at)
        SELECT f.id, f.started_at, f.rule_id, f.rule_name, f.severity, f.state, f.origin, f.alert_id, f.metric,
            f.labels, f.fingerprint, f.comparison, f.threshold, f.value, f.summary, f.annotations, f.owner,
            f.runbook_url, f.generator_url, f.triggered_at, f.muted_by, f.notified_at, f.resolved_at
        FROM json_to_recordset(told) AS f (id uuid, started_at timestamptz, rule_id bigint, rule_name text,
            severity smallint, state text, origin text, alert_id text, metric text, labels jsonb, fingerprint text,
            comparison text, threshold float8, value float8, summary text, annotations jsonb, owner text,
            runbook_url text, generator_url text, triggered_at timestamptz, muted_by text, notified_at timestamptz,
            resolved_at timestamptz, open boolean)
        WHERE NOT f.open OR f.id = ANY (begun)
        RETURNING e.id
    )
    SELECT array_agg(a.id), count(*) < json_array_length(told) INTO begun, missing FROM added a;
    IF missing THEN
        SELECT json_agg(d) INTO deliveries FROM json_array_elements(deliveries) AS d
            WHERE (d ->> 'event_id')::uuid = ANY (begun);
    END IF;
    RETURN QUERY
    SELECT b, (SELECT count(*) FROM unnest(sent.ids) AS s WHERE s = b)
    FROM unnest(begun) AS b, (SELECT array_agg(s) AS ids FROM alerting_add_deliveries(deliveries) AS s) AS sent;
END $$;
"""
BACKWARDS = """
DROP FUNCTION alerting_look(timestamptz, text[]);
DROP FUNCTION alerting_begin(json, json);
DROP FUNCTION alerting_add_deliveries(json);
"""


class Migration(migrations.Migration):
    """Functions, which run with the rights of who calls them."""

    dependencies = [("alerting", "0004_operating"), ("health", "0002_history_by_time")]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
