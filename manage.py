#!/usr/bin/env python
"""The portal's command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run a management command, against the running portal when no database is named (RUN-4)."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsportal.settings")
    if not os.environ.get("DATABASE_URL") and not os.environ.get("REDIS_URL"):
        from opsportal.embedded.dotenv import load_run_env

        load_run_env(Path(__file__).resolve().parent)
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
