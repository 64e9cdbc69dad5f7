"""`manage.py prepare`: bring the database up to date. Safe to run at every start."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection, connections, transaction
from psycopg import sql

from opsportal.accounts.roles import sync_roles


class Command(BaseCommand):
    """Migrates as the owner, grants the application role what it needs and no more, and puts the roles in step."""

    help = "Migrate, grant the application role its rights, and put the three roles in step with the permission table."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Do the three steps; the connection is the application's again afterwards."""
        owner = settings.DATABASE_OWNER
        present = connections["default"].settings_dict
        application = {name: present[name] for name in ("USER", "PASSWORD")}
        if owner:
            connection.close()
            present.update(USER=owner["USER"], PASSWORD=owner["PASSWORD"])
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = 0")  # a migration may take its time
            call_command("migrate", interactive=False, verbosity=options["verbosity"])
            if owner and owner["USER"] != application["USER"]:
                self._grant(application["USER"])
            for line in sync_roles():
                self.stdout.write(line)
        finally:
            connection.close()
            present.update(application)

    def _grant(self, role: str) -> None:
        """Rows of every table for the application role; less where an app's own `…_restrict` says so."""
        name = sql.Identifier(role)
        statements = [
            "GRANT USAGE ON SCHEMA public TO {role}",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
            "GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {role}",
            "REVOKE ALL ON django_migrations FROM {role}",
            "GRANT SELECT ON django_migrations TO {role}",
        ]
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(sql.SQL(statement).format(role=name).as_string(cursor.connection))
            for function in self._restrictions(cursor):
                cursor.execute(f"SELECT {function}(%s)", [role])

    def _restrictions(self, cursor: Any) -> list[str]:
        """Apps whose tables want narrower rights have a function `…_restrict(role text)` made by their migration.

        Only the owner's own: anybody else's would run here with the owner's rights.
        """
        cursor.execute(
            """
            SELECT oid::regproc::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
                AND proowner = current_user::regrole
                AND pg_get_function_identity_arguments(oid) = 'role text' AND right(proname, 9) = '_restrict'
            ORDER BY proname
            """
        )
        return [row[0] for row in cursor.fetchall()]
