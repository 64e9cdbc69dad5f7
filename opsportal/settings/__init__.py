"""Settings, all from the environment: docs/configuration.md lists every variable."""

from opsportal.settings.base import *  # noqa: F403
