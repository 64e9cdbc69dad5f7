"""Embedded PostgreSQL and Redis for `make run` and the tests, and the runner that starts the portal.

Imports nothing of Django or of the portal: it must work before either has a database to talk to.
Never part of a production start.
"""

from opsportal.embedded.errors import EmbeddedServerError
from opsportal.embedded.postgres import EmbeddedPostgres
from opsportal.embedded.redis import EmbeddedRedis

__all__ = ["EmbeddedPostgres", "EmbeddedRedis", "EmbeddedServerError"]
