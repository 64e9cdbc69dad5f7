"""The portal's settings with Django's own sessions and users; everything else stays as it is."""

from opsportal.settings.base import *  # noqa: F403
from opsportal.settings.base import INSTALLED_APPS, MIDDLEWARE

#: The tables of the ordinary view, and those of the packages for API keys, which `keyed` serves.
INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.sessions", "knox", "rest_framework_api_key"]
SESSION_ENGINE = "django.contrib.sessions.backends.db"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware"
    if name == "opsportal.accounts.middleware.SessionMiddleware"
    else name
    for name in MIDDLEWARE
]
ROOT_URLCONF = "bench.ordinary.urls"
