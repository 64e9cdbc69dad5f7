"""What was measured, kept by time: samples in parts of an hour, minutes of a day, hours and transitions of a month."""

from django.db import migrations

from opsportal.observability.partition_sql import partition_functions

# Wide columns first: a sample takes 52 bytes instead of 60. No key: a sample is never looked up by itself.
SAMPLES = """
CREATE TABLE health_sample (
    service_id bigint NOT NULL,
    at timestamptz NOT NULL,
    latency_us integer,
    status smallint NOT NULL,
    planned boolean NOT NULL
) PARTITION BY RANGE (at);
CREATE TABLE health_sample_default PARTITION OF health_sample DEFAULT;
CREATE INDEX health_sample_service ON health_sample (service_id, at);
"""

# `sketch` is that of health.sketch. Of the hours `minutes` is how many had a probe, `down` how many it was down.
ROLL_UPS = """
CREATE TABLE health_minute (
    service_id bigint NOT NULL,
    minute timestamptz NOT NULL,
    probes smallint NOT NULL,
    up smallint NOT NULL,
    planned_down smallint NOT NULL,
    replies smallint NOT NULL,
    degraded smallint NOT NULL,
    unhealthy smallint NOT NULL,
    violation smallint NOT NULL,
    unreachable smallint NOT NULL,
    sketch bytea NOT NULL
) PARTITION BY RANGE (minute);
CREATE TABLE health_minute_default PARTITION OF health_minute DEFAULT;
CREATE UNIQUE INDEX health_minute_service ON health_minute (service_id, minute);

CREATE TABLE health_hour (
    service_id bigint NOT NULL,
    hour timestamptz NOT NULL,
    probes integer NOT NULL,
    up integer NOT NULL,
    planned_down integer NOT NULL,
    replies integer NOT NULL,
    degraded integer NOT NULL,
    unhealthy integer NOT NULL,
    violation integer NOT NULL,
    unreachable integer NOT NULL,
    down real NOT NULL,
    minutes smallint NOT NULL,
    sketch bytea NOT NULL
) PARTITION BY RANGE (hour);
CREATE TABLE health_hour_default PARTITION OF health_hour DEFAULT;
CREATE UNIQUE INDEX health_hour_service ON health_hour (service_id, hour);
"""

TRANSITIONS = """
CREATE SEQUENCE health_transition_id_seq;
CREATE TABLE health_transition (
    id bigint NOT NULL DEFAULT nextval('health_transition_id_seq'),
    service_id bigint NOT NULL,
    service_name varchar(100) NOT NULL,
    at timestamptz NOT NULL,
    began_at timestamptz NOT NULL,
    from_status smallint NOT NULL,
    to_status smallint NOT NULL,
    cause varchar(16) NOT NULL DEFAULT '',
    field varchar(100) NOT NULL DEFAULT '',
    sentence varchar(300) NOT NULL DEFAULT '',
    caused_by_id bigint,
    planned boolean NOT NULL DEFAULT false,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
ALTER SEQUENCE health_transition_id_seq OWNED BY health_transition.id;
CREATE TABLE health_transition_default PARTITION OF health_transition DEFAULT;
CREATE INDEX health_transition_service ON health_transition (service_id, at DESC, id DESC);
CREATE INDEX health_transition_time ON health_transition (at DESC, id DESC);
"""

# The tables, the column they are parted by, how long a part is, and how long its rows are kept.
RULES = """
CREATE FUNCTION health_parting(parent text, OUT by_column text, OUT unit text, OUT suffix text, OUT kept interval)
    LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    SELECT v.by_column, v.unit, v.suffix, v.kept INTO by_column, unit, suffix, kept FROM (VALUES
        ('health_sample', 'at', 'hour', 'YYYYMMDDHH24', interval '24 hours'),
        ('health_minute', 'minute', 'day', 'YYYYMMDD', interval '90 days'),
        ('health_hour', 'hour', 'month', 'YYYYMM', interval '90 days'),
        ('health_transition', 'at', 'month', 'YYYYMM', interval '90 days')
    ) AS v (name, by_column, unit, suffix, kept) WHERE v.name = parent;
    IF unit IS NULL THEN
        RAISE EXCEPTION '% is not a table of the health monitor that is kept by time', parent
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;
"""

# What is measured is added and read, not rewritten, but for a cause that is found later.
RIGHTS = """
CREATE FUNCTION health_restrict(role text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT t.relid
        FROM unnest(ARRAY['health_sample', 'health_minute', 'health_hour', 'health_transition']) AS parent,
            pg_partition_tree(parent::regclass) AS t
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I', part, role);
    END LOOP;
    EXECUTE format('GRANT SELECT, INSERT ON health_sample, health_minute, health_hour, health_transition TO %I', role);
    EXECUTE format('GRANT UPDATE ON health_minute, health_hour TO %I', role);
    EXECUTE format('GRANT UPDATE (caused_by_id) ON health_transition TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION health_ensure_partition(text, timestamptz), '
        'health_drop_expired(text, timestamptz), health_trim_default(text, timestamptz) TO %I', role);
END $$;
REVOKE EXECUTE ON FUNCTION health_restrict(text), health_ensure_partition(text, timestamptz),
    health_drop_expired(text, timestamptz), health_trim_default(text, timestamptz) FROM PUBLIC;

SELECT health_ensure_partition('health_sample', now() + make_interval(hours => n)) FROM generate_series(0, 3) AS n;
SELECT health_ensure_partition('health_minute', now() + make_interval(days => n)) FROM generate_series(0, 2) AS n;
SELECT health_ensure_partition('health_hour', now() + make_interval(months => n)) FROM generate_series(0, 1) AS n;
SELECT health_ensure_partition('health_transition', now() + make_interval(months => n)) FROM generate_series(0, 1) AS n;
"""


class Migration(migrations.Migration):
    """Creates what Django's own schema editor cannot."""

    dependencies = [("health", "0001_initial")]

    operations = [
        migrations.RunSQL(SAMPLES, migrations.RunSQL.noop),
        migrations.RunSQL(ROLL_UPS, migrations.RunSQL.noop),
        migrations.RunSQL(TRANSITIONS, migrations.RunSQL.noop),
        migrations.RunSQL(RULES, migrations.RunSQL.noop),
        migrations.RunSQL(partition_functions("health", lock=7218940116), migrations.RunSQL.noop),
        migrations.RunSQL(RIGHTS, migrations.RunSQL.noop),
    ]
