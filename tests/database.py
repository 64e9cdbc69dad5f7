"""Bringing the test database back to what `manage.py prepare` left, quickly.

The application role may not TRUNCATE, and the audit tables refuse it (and UPDATE and DELETE) by
trigger, so Django's own flush cannot work here. A superuser session in which no trigger fires does it.
"""

from __future__ import annotations

import psycopg

BASELINE = """
CREATE SCHEMA IF NOT EXISTS baseline;
DO $$
DECLARE name text; filled boolean;
BEGIN
    FOR name IN
        SELECT format('%I', c.relname) FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM public.%s)', name) INTO filled;
        IF filled THEN
            EXECUTE format('CREATE TABLE baseline.%s AS TABLE public.%s', name, name);
        END IF;
    END LOOP;
END $$;
CREATE FUNCTION baseline.restore() RETURNS void LANGUAGE plpgsql AS $$
DECLARE name text; kept boolean; dirty boolean;
BEGIN
    FOR name, kept IN
        SELECT format('%I', c.relname), to_regclass(format('baseline.%I', c.relname)) IS NOT NULL
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    LOOP
        IF kept THEN
            EXECUTE format(
                'WITH now AS (SELECT t::text FROM public.%1$s t), kept AS (SELECT t::text FROM baseline.%1$s t)'
                ' SELECT EXISTS (TABLE now EXCEPT TABLE kept) OR EXISTS (TABLE kept EXCEPT TABLE now)', name)
            INTO dirty;
            IF dirty THEN
                EXECUTE format('DELETE FROM public.%s', name);
                EXECUTE format(
                    'INSERT INTO public.%1$s OVERRIDING SYSTEM VALUE SELECT * FROM baseline.%1$s', name);
            END IF;
        ELSE
            -- not TRUNCATE: it would wait for every idle reader, and take longer on small tables
            EXECUTE format('DELETE FROM public.%s', name);
        END IF;
    END LOOP;
END $$;
"""


def remember_baseline(superuser_url: str) -> None:
    """Keep a copy of every row there is now; called once, after `prepare`."""
    with psycopg.connect(superuser_url) as connection:
        # As beside a ticker that runs: what is shown where none does has tests of its own.
        connection.execute("UPDATE alerting_gate SET ticked_at = now() + interval '1 day'")
        connection.execute(BASELINE)


def restore_baseline(superuser_url: str) -> None:
    """Make every table hold again exactly what it held at `remember_baseline`.

    Raises psycopg.errors.LockNotAvailable after 5 s if a test left a transaction open on the rows.
    """
    with psycopg.connect(superuser_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET lock_timeout = '5s'")
        connection.execute("SELECT baseline.restore()")
