"""The log as PostgreSQL keeps it: partitioned by month, append-only by trigger, chained at commit."""

from django.db import migrations

TABLE = """
CREATE SEQUENCE audit_entry_id_seq;
CREATE TABLE audit_entry (
    id bigint NOT NULL DEFAULT nextval('audit_entry_id_seq'),
    "timestamp" timestamptz NOT NULL,
    event_id uuid NOT NULL,
    event varchar(64) NOT NULL,
    event_type varchar(16) NOT NULL,
    outcome varchar(16) NOT NULL,
    actor_id bigint,
    actor_label varchar(200) NOT NULL,
    source varchar(16) NOT NULL,
    cid varchar(255),
    remote_addr inet,
    remote_port integer,
    resource_type varchar(64) NOT NULL,
    resource_id varchar(255) NOT NULL,
    reason text NOT NULL,
    content_type_id integer,
    object_pk varchar(255) NOT NULL,
    object_id bigint,
    object_repr text NOT NULL,
    action smallint NOT NULL,
    changes jsonb,
    changes_text text NOT NULL,
    serialized_data jsonb,
    additional_data jsonb,
    actor_email varchar(254),
    PRIMARY KEY (id, "timestamp")
) PARTITION BY RANGE ("timestamp");
ALTER SEQUENCE audit_entry_id_seq OWNED BY audit_entry.id;
CREATE TABLE audit_entry_default PARTITION OF audit_entry DEFAULT;

CREATE UNIQUE INDEX audit_entry_event_id ON audit_entry (event_id, "timestamp");
CREATE INDEX audit_entry_time ON audit_entry ("timestamp" DESC, id DESC);
CREATE INDEX audit_entry_actor ON audit_entry (actor_id, "timestamp" DESC);
CREATE INDEX audit_entry_event ON audit_entry (event, "timestamp" DESC);
CREATE INDEX audit_entry_resource ON audit_entry (resource_type, resource_id, "timestamp" DESC);
"""

APPEND_ONLY = """
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_entry_default
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_link
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_link
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
"""

# Deferred, so that the one lock of the chain is held only while transactions commit, not while requests run.
# The list of columns is that of opsportal.audit.chain.MESSAGE_SQL; a test compares the two.
CHAIN = """
CREATE FUNCTION audit_chain_append() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    pads text := current_setting('opsportal.audit_pads', true);
    previous_seq bigint;
    previous_hash bytea;
    message text;
BEGIN
    IF pads IS NULL OR length(pads) <> 256 THEN
        RAISE EXCEPTION 'this connection does not carry the key of the audit chain, so it may not write the audit log'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM pg_advisory_xact_lock(7218940115);
    SELECT seq, hash INTO previous_seq, previous_hash FROM audit_link ORDER BY seq DESC LIMIT 1;
    IF previous_seq IS NULL THEN
        previous_seq := 0;
        previous_hash := decode(repeat('00', 32), 'hex');
    END IF;
    SELECT jsonb_build_array(
    e.id, (extract(epoch FROM e."timestamp") * 1000000)::bigint, e.event_id, e.event, e.event_type, e.outcome,
    e.actor_id, e.actor_label, e.source, e.cid, host(e.remote_addr), e.resource_type, e.resource_id, e.reason,
    e.content_type_id, e.object_pk, e.object_id, e.object_repr, e.action, e.changes, e.changes_text,
    e.serialized_data, e.additional_data, e.remote_port, e.actor_email
)::text INTO message FROM (SELECT NEW.*) AS e;
    INSERT INTO audit_link (seq, entry_id, entry_at, hash) VALUES (
        previous_seq + 1, NEW.id, NEW."timestamp",
        sha256(decode(right(pads, 128), 'hex') || sha256(
            decode(left(pads, 128), 'hex') || previous_hash || int8send(previous_seq + 1)
            || convert_to(message, 'UTF8')))
    );
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER audit_chain AFTER INSERT ON audit_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_chain_append();
"""

PARTITIONS = """
CREATE FUNCTION audit_ensure_partition(month date) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    first timestamptz := date_trunc('month', month)::timestamp AT TIME ZONE 'UTC';
    following timestamptz := (date_trunc('month', month) + interval '1 month')::timestamp AT TIME ZONE 'UTC';
    name text := 'audit_entry_' || to_char(month, 'YYYYMM');
BEGIN
    IF to_regclass(quote_ident(name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Rows of this month that came before its partition stay where they are: they may not be moved.
    IF EXISTS (SELECT 1 FROM audit_entry_default WHERE "timestamp" >= first AND "timestamp" < following) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I PARTITION OF audit_entry FOR VALUES FROM (%L) TO (%L)', name, first, following);
    EXECUTE format('CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON %I '
        'FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()', name);
    RETURN true;
END $$;

CREATE FUNCTION audit_restrict(role text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT relid FROM pg_partition_tree('audit_entry') LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I', part, role);
    END LOOP;
    EXECUTE format('GRANT SELECT, INSERT ON audit_entry TO %I', role);
    EXECUTE format('REVOKE ALL ON audit_link FROM %I', role);
    EXECUTE format('GRANT SELECT ON audit_link TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit_ensure_partition(date) TO %I', role);
END $$;
REVOKE EXECUTE ON FUNCTION audit_ensure_partition(date), audit_restrict(text), audit_chain_append() FROM PUBLIC;

SELECT audit_ensure_partition((now() + make_interval(months => n))::date) FROM generate_series(0, 3) AS n;
"""


class Migration(migrations.Migration):
    """Creates what Django's own schema editor cannot."""

    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.RunSQL(TABLE, migrations.RunSQL.noop),
        migrations.RunSQL(APPEND_ONLY, migrations.RunSQL.noop),
        migrations.RunSQL(CHAIN, migrations.RunSQL.noop),
        migrations.RunSQL(PARTITIONS, migrations.RunSQL.noop),
    ]
