"""The portal as it is, with one endpoint more behind each of several kinds of API keys."""

from opsportal.settings.base import *  # noqa: F403
from opsportal.settings.base import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "knox", "rest_framework_api_key"]
ROOT_URLCONF = "bench.ordinary.keyed_urls"
