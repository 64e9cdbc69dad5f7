"""SQL of tables parted by time: for migrations, which must go on giving what they gave. Add here, never change.

An app gives a function `{app}_parting(parent text, OUT by_column text, OUT unit text, OUT suffix text, OUT kept
interval)`, the rules of its tables, and gets three, which its database role may execute while it may neither make nor
drop a table.
"""

# Both give up after 0.25 s without their lock: whoever waits for a lock makes all later readers wait behind.
_FUNCTIONS = """
CREATE FUNCTION {app}_ensure_partition(parent text, moment timestamptz) RETURNS boolean LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
    rule record := {app}_parting(parent);
    first timestamptz := date_trunc(rule.unit, moment, 'UTC');
    following timestamptz := (date_trunc(rule.unit, moment AT TIME ZONE 'UTC') + ('1 ' || rule.unit)::interval)
        AT TIME ZONE 'UTC';
    name text := parent || '_' || to_char(moment AT TIME ZONE 'UTC', rule.suffix);
    stray boolean;
BEGIN
    IF to_regclass(quote_ident(name)) IS NOT NULL OR NOT pg_try_advisory_xact_lock({lock}) THEN
        RETURN false;
    END IF;
    -- Rows of this time that came before its partition stay where they are until they are too old.
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE %I >= $1 AND %I < $2)',
        parent || '_default', rule.by_column, rule.by_column) INTO stray USING first, following;
    IF stray THEN
        RETURN false;
    END IF;
    -- Not CREATE … PARTITION OF: that would lock the whole table, attaching locks readers of the default part only.
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name, parent);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name, first, following);
    RETURN true;
END $$;

CREATE FUNCTION {app}_drop_expired(parent text, caller_now timestamptz) RETURNS text LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
    expiry timestamptz := {app}_expiry(parent, caller_now);
    name text;
BEGIN
    IF NOT pg_try_advisory_xact_lock({lock}) THEN
        RETURN NULL;
    END IF;
    SELECT part.relname INTO name FROM (
        SELECT c.relname,
            substring(pg_get_expr(c.relpartbound, c.oid) FROM $re$TO \\('([^']+)'\\)$re$)::timestamptz AS until
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = parent::regclass
    ) AS part WHERE part.until <= expiry ORDER BY part.until LIMIT 1;
    IF name IS NOT NULL THEN
        EXECUTE format('DROP TABLE %I', name);
    END IF;
    RETURN name;
END $$;

CREATE FUNCTION {app}_trim_default(parent text, caller_now timestamptz) RETURNS bigint LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
    rule record := {app}_parting(parent);
    trimmed bigint;
BEGIN
    EXECUTE format('DELETE FROM %1$I WHERE ctid = ANY (ARRAY(SELECT ctid FROM %1$I WHERE %2$I < $1 LIMIT 50000))',
        parent || '_default', rule.by_column) USING {app}_expiry(parent, caller_now);
    GET DIAGNOSTICS trimmed = ROW_COUNT;
    RETURN trimmed;
END $$;
"""

_EXPIRY = """
-- Up to when rows of this table may go: the retention before PostgreSQL's clock or the caller's, whichever is earlier.
CREATE FUNCTION {app}_expiry(parent text, caller_now timestamptz) RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT date_trunc('hour', least(caller_now, clock_timestamp()) - r.kept, 'UTC') FROM {app}_parting(parent) AS r
$$;
"""


def partition_functions(app: str, *, lock: int) -> str:
    """`{app}_ensure_partition`, `{app}_drop_expired` and `{app}_trim_default`; `lock` is their advisory lock."""
    return _EXPIRY.format(app=app) + _FUNCTIONS.format(app=app, lock=lock)
