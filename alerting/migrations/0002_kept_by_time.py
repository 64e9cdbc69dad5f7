"""What grows, kept by time: observations in parts of a day, events, deliveries and attempts in parts of a month."""

from django.db import migrations

from opsportal.observability.partition_sql import partition_functions

# No key: an observation is never looked up by itself.
OBSERVATIONS = """
CREATE TABLE alerting_observation (
    series_id bigint NOT NULL,
    at timestamptz NOT NULL,
    value double precision NOT NULL
) PARTITION BY RANGE (at);
CREATE TABLE alerting_observation_default PARTITION OF alerting_observation DEFAULT;
CREATE INDEX alerting_observation_series ON alerting_observation (series_id, at);
"""

EVENTS = """
CREATE TABLE alerting_event (
    id uuid NOT NULL,
    started_at timestamptz NOT NULL,
    rule_id bigint,
    rule_name varchar(100) NOT NULL,
    severity smallint NOT NULL CHECK (severity BETWEEN 0 AND 2),
    state varchar(12) NOT NULL CHECK (state IN ('pending', 'firing', 'acknowledged', 'resolved')),
    origin varchar(12) NOT NULL,
    alert_id varchar(100) NOT NULL,
    metric varchar(40) NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    fingerprint varchar(32) NOT NULL,
    comparison varchar(3) NOT NULL,
    threshold double precision NOT NULL,
    value double precision,
    summary varchar(300) NOT NULL,
    annotations jsonb NOT NULL DEFAULT '{}',
    owner varchar(100) NOT NULL DEFAULT '',
    runbook_url varchar(500) NOT NULL DEFAULT '',
    generator_url varchar(500) NOT NULL DEFAULT '',
    triggered_at timestamptz,
    muted_by varchar(120) NOT NULL DEFAULT '',
    notified_at timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by varchar(200) NOT NULL DEFAULT '',
    acknowledgment_note varchar(1000) NOT NULL DEFAULT '',
    resolved_at timestamptz,
    resolved_by varchar(200) NOT NULL DEFAULT '',
    PRIMARY KEY (id, started_at)
) PARTITION BY RANGE (started_at);
CREATE TABLE alerting_event_default PARTITION OF alerting_event DEFAULT;
CREATE INDEX alerting_event_time ON alerting_event (started_at DESC, id DESC);
CREATE INDEX alerting_event_rule ON alerting_event (rule_id, started_at DESC, id DESC);
CREATE INDEX alerting_event_severity ON alerting_event (severity, started_at DESC, id DESC);
CREATE INDEX alerting_event_open ON alerting_event (started_at DESC, id DESC) WHERE state <> 'resolved';
CREATE INDEX alerting_event_muted ON alerting_event (started_at DESC, id DESC) WHERE muted_by <> '';
"""

# The key holds the hour bucket, by which the table is parted: so it is unique over all parts.
DELIVERIES = """
CREATE SEQUENCE alerting_delivery_id_seq;
CREATE TABLE alerting_delivery (
    id bigint NOT NULL DEFAULT nextval('alerting_delivery_id_seq'),
    hour_bucket timestamptz NOT NULL,
    dedup_key varchar(200) NOT NULL,
    event_id uuid NOT NULL,
    event_started_at timestamptz NOT NULL,
    channel_id bigint NOT NULL,
    kind varchar(12) NOT NULL,
    recipient_hash varchar(16) NOT NULL,
    recipient_sealed text NOT NULL,
    recipient_shown varchar(100) NOT NULL,
    notice varchar(12) NOT NULL,
    priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 3),
    status varchar(10) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed', 'poison')),
    due_at timestamptz NOT NULL,
    lease uuid,
    attempts smallint NOT NULL DEFAULT 0,
    taken_over smallint NOT NULL DEFAULT 0,
    waits integer NOT NULL DEFAULT 0,
    waits_for varchar(12) NOT NULL DEFAULT '',
    merged_into bigint,
    triggered_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    outcome varchar(300) NOT NULL DEFAULT '',
    provider_id varchar(200) NOT NULL DEFAULT '',
    link_used_at timestamptz,
    settled_at timestamptz,
    settled_by varchar(200) NOT NULL DEFAULT '',
    settled_note varchar(1000) NOT NULL DEFAULT '',
    PRIMARY KEY (id, hour_bucket),
    UNIQUE (dedup_key, hour_bucket),
    CHECK (hour_bucket = date_trunc('hour', hour_bucket, 'UTC'))
) PARTITION BY RANGE (hour_bucket);
ALTER SEQUENCE alerting_delivery_id_seq OWNED BY alerting_delivery.id;
CREATE TABLE alerting_delivery_default PARTITION OF alerting_delivery DEFAULT;
CREATE INDEX alerting_delivery_due ON alerting_delivery (priority, due_at, id)
    WHERE status IN ('pending', 'failed') AND merged_into IS NULL;
CREATE INDEX alerting_delivery_open ON alerting_delivery (id) WHERE status IN ('pending', 'failed');
CREATE INDEX alerting_delivery_poison ON alerting_delivery (id DESC) WHERE status = 'poison' AND settled_at IS NULL;
CREATE INDEX alerting_delivery_event ON alerting_delivery (event_id, id);
CREATE INDEX alerting_delivery_recipient ON alerting_delivery (recipient_hash, id DESC);
CREATE INDEX alerting_delivery_merged ON alerting_delivery (merged_into) WHERE merged_into IS NOT NULL;
"""

ATTEMPTS = """
CREATE SEQUENCE alerting_attempt_id_seq;
CREATE TABLE alerting_attempt (
    id bigint NOT NULL DEFAULT nextval('alerting_attempt_id_seq'),
    delivery_id bigint NOT NULL,
    at timestamptz NOT NULL,
    number smallint NOT NULL,
    duration_ms integer NOT NULL,
    outcome varchar(12) NOT NULL,
    status_code integer,
    answer varchar(300) NOT NULL DEFAULT '',
    next_at timestamptz,
    late boolean NOT NULL DEFAULT false,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
ALTER SEQUENCE alerting_attempt_id_seq OWNED BY alerting_attempt.id;
CREATE TABLE alerting_attempt_default PARTITION OF alerting_attempt DEFAULT;
CREATE INDEX alerting_attempt_delivery ON alerting_attempt (delivery_id, id);
CREATE INDEX alerting_attempt_time ON alerting_attempt (at);
"""

RULES = """
CREATE FUNCTION alerting_parting(parent text, OUT by_column text, OUT unit text, OUT suffix text, OUT kept interval)
    LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    SELECT v.by_column, v.unit, v.suffix, v.kept INTO by_column, unit, suffix, kept FROM (VALUES
        ('alerting_observation', 'at', 'day', 'YYYYMMDD', interval '7 days'),
        ('alerting_event', 'started_at', 'month', 'YYYYMM', interval '90 days'),
        ('alerting_delivery', 'hour_bucket', 'month', 'YYYYMM', interval '90 days'),
        ('alerting_attempt', 'at', 'month', 'YYYYMM', interval '90 days')
    ) AS v (name, by_column, unit, suffix, kept) WHERE v.name = parent;
    IF unit IS NULL THEN
        RAISE EXCEPTION '% is not a table of alerting that is kept by time', parent
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;
"""

# In the same transaction as the change: whoever reads the revision afterwards knows that its memory is stale.
REVISIONS = """
INSERT INTO alerting_revision (id, number) VALUES (1, 1);
INSERT INTO alerting_gate (id, closed) VALUES (1, false);
CREATE FUNCTION alerting_bump() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE alerting_revision SET number = number + 1 WHERE id = 1;
    RETURN NULL;
END $$;
CREATE TRIGGER alerting_rule_bump AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON alerting_rule
    FOR EACH STATEMENT EXECUTE FUNCTION alerting_bump();
CREATE TRIGGER alerting_channel_bump AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON alerting_channel
    FOR EACH STATEMENT EXECUTE FUNCTION alerting_bump();
CREATE TRIGGER alerting_rule_channels_bump AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON alerting_rule_channels
    FOR EACH STATEMENT EXECUTE FUNCTION alerting_bump();
-- Not of `suppressed`, which counts.
CREATE TRIGGER alerting_silence_bump AFTER INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF rule_id, service, labels, starts_at, ends_at, ended_at ON alerting_silence
    FOR EACH STATEMENT EXECUTE FUNCTION alerting_bump();
"""

RIGHTS = """
CREATE FUNCTION alerting_restrict(role text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT t.relid
        FROM unnest(ARRAY['alerting_observation', 'alerting_event', 'alerting_delivery', 'alerting_attempt']) AS parent,
            pg_partition_tree(parent::regclass) AS t
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I', part, role);
    END LOOP;
    EXECUTE format('GRANT SELECT, INSERT ON alerting_observation, alerting_attempt TO %I', role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON alerting_event, alerting_delivery TO %I', role);
    EXECUTE format('REVOKE INSERT, DELETE ON alerting_revision, alerting_gate FROM %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION alerting_ensure_partition(text, timestamptz), '
        'alerting_drop_expired(text, timestamptz), alerting_trim_default(text, timestamptz) TO %I', role);
END $$;
REVOKE EXECUTE ON FUNCTION alerting_restrict(text), alerting_ensure_partition(text, timestamptz),
    alerting_drop_expired(text, timestamptz), alerting_trim_default(text, timestamptz) FROM PUBLIC;

SELECT alerting_ensure_partition('alerting_observation', now() + make_interval(days => n))
    FROM generate_series(0, 2) AS n;
SELECT alerting_ensure_partition(parent, now() + make_interval(months => n))
    FROM generate_series(0, 1) AS n,
        unnest(ARRAY['alerting_event', 'alerting_delivery', 'alerting_attempt']) AS parent;
"""


class Migration(migrations.Migration):
    """Creates what Django's own schema editor cannot."""

    dependencies = [("alerting", "0001_initial")]

    operations = [
        migrations.RunSQL(OBSERVATIONS, migrations.RunSQL.noop),
        migrations.RunSQL(EVENTS, migrations.RunSQL.noop),
        migrations.RunSQL(DELIVERIES, migrations.RunSQL.noop),
        migrations.RunSQL(ATTEMPTS, migrations.RunSQL.noop),
        migrations.RunSQL(RULES, migrations.RunSQL.noop),
        migrations.RunSQL(partition_functions("alerting", lock=7218940117), migrations.RunSQL.noop),
        migrations.RunSQL(REVISIONS, migrations.RunSQL.noop),
        migrations.RunSQL(RIGHTS, migrations.RunSQL.noop),
    ]
