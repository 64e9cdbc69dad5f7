"""Django settings. Nothing here is edited per installation: everything that differs is an environment variable."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from celery.schedules import schedule

from opsportal.audit.chainkey import chain_key_option
from opsportal.observability.logs import configure_structlog, logging_config
from opsportal.settings import environment as e

BASE_DIR = Path(__file__).resolve().parents[2]

# ---------------------------------------------------------------- where we are
ENVIRONMENT = e.text("ENVIRONMENT", "")
IS_DEVELOPMENT = ENVIRONMENT in e.DEVELOPMENT_ENVIRONMENTS
OPERATIONS_DEV_AUTH = e.flag("OPERATIONS_DEV_AUTH", False)
e.refuse_dev_auth_outside_development(ENVIRONMENT, dev_auth=OPERATIONS_DEV_AUTH)
if ENVIRONMENT and ENVIRONMENT not in e.KNOWN_ENVIRONMENTS:
    e.refuse(f"ENVIRONMENT is {ENVIRONMENT!r}; it must be one of {', '.join(sorted(e.KNOWN_ENVIRONMENTS))}.")
DEBUG = False  # a debug page shows settings and local variables to whoever meets an error
SECRET_KEY = e.text("SECRET_KEY")
if len(SECRET_KEY) < 50:
    e.refuse("SECRET_KEY is shorter than 50 characters; make one with `openssl rand -hex 32`.")
ALLOWED_HOSTS = e.words("ALLOWED_HOSTS", ("127.0.0.1", "localhost", "[::1]") if IS_DEVELOPMENT else ())
CSRF_TRUSTED_ORIGINS = e.words("CSRF_TRUSTED_ORIGINS")
try:
    TRUSTED_PROXIES = [ipaddress.ip_network(word) for word in e.words("TRUSTED_PROXIES")]
except ValueError as error:
    e.refuse(f"TRUSTED_PROXIES is not a list of networks such as 10.0.0.0/8: {error}.")

# ---------------------------------------------------------------- domains that can be switched off (RUN-9)
FEATURES = {
    name: e.flag(f"FEATURE_{name.upper()}", True) for name in ("circuit", "health", "alerting", "apikeys", "sysconfig")
}

# ---------------------------------------------------------------- applications
INSTALLED_APPS = [
    "opsportal.apps.PortalAdminConfig",
    "opsportal.observability",
    "opsportal.audit",
    "opsportal.accounts",
    "sysconf",
    "apikeys",
    "circuit",
    "health",
    "alerting",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "auditlog",
    "axes",
    "csp",
    "django_celery_beat",
    "django_htmx",
    "django_prometheus",
    "drf_spectacular",
    "rest_framework",
    *(["opsportal.demo"] if IS_DEVELOPMENT else []),
]
MIDDLEWARE = [
    "opsportal.observability.middleware.RequestContextMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "opsportal.observability.middleware.ProbeMiddleware",
    "opsportal.accounts.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "opsportal.accounts.middleware.DevelopmentSignInMiddleware",
    "opsportal.accounts.middleware.SessionPolicyMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "opsportal.accounts.middleware.RefusalMiddleware",
    "axes.middleware.AxesMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
ROOT_URLCONF = "opsportal.urls"
WSGI_APPLICATION = "opsportal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
INSTALLED_APPS.append("django.forms")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SILENCED_SYSTEM_CHECKS: list[str] = []

# ---------------------------------------------------------------- PostgreSQL and Redis
AUDIT_CHAIN_KEY = e.text("AUDIT_CHAIN_KEY")
if len(AUDIT_CHAIN_KEY) < 32:
    e.refuse("AUDIT_CHAIN_KEY is shorter than 32 characters; make one with `openssl rand -hex 32`.")
AUDIT_CHECKPOINT_FILE = e.text("AUDIT_CHECKPOINT_FILE", "")
AUDIT_RETENTION_DAYS = e.whole("AUDIT_RETENTION_DAYS", 400, low=90, high=36_500)
AUDIT_ARCHIVE_DIR = e.text("AUDIT_ARCHIVE_DIR", "")


FIELD_ENCRYPTION_KEYS = e.words("FIELD_ENCRYPTION_KEYS")
if not FIELD_ENCRYPTION_KEYS or any(len(key) < 32 for key in FIELD_ENCRYPTION_KEYS):
    e.refuse(
        "FIELD_ENCRYPTION_KEYS must hold at least one key of 32 characters or more, the newest first, with commas "
        "between; make one with `openssl rand -hex 32`."
    )


# A stuck statement frees its request; a stuck client frees the lock of the audit chain. Milliseconds.
STATEMENT_LIMITS = "-c statement_timeout=30000 -c idle_in_transaction_session_timeout=30000"


def _database(name: str) -> dict[str, Any]:
    e.text(name)
    config: dict[str, Any] = e.env.db_url(name)
    if config.get("ENGINE") != "django.db.backends.postgresql":
        e.refuse(f"{name} must be a postgres:// URL: PostgreSQL 14 or newer is the only database (RUN-2).")
    config["CONN_MAX_AGE"] = 300
    config["CONN_HEALTH_CHECKS"] = True
    # The audit trigger keys its chain with this; it is a start-up parameter so that no statement carries it.
    given: dict[str, str] = config.get("OPTIONS", {})
    limits = f"{chain_key_option(AUDIT_CHAIN_KEY)} {STATEMENT_LIMITS}"
    config["OPTIONS"] = {
        **given,
        "connect_timeout": 2,
        "application_name": "opsportal",
        "options": f"{limits} {given.get('options', '')}".strip(),
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
    }
    return config


DATABASES = {"default": _database("DATABASE_URL")}
#: The role that owns the tables; only `manage.py prepare` connects with it.
DATABASE_OWNER = _database("DATABASE_OWNER_URL") if e.text("DATABASE_OWNER_URL", "") else None
REDIS_URL = e.text("REDIS_URL")
if not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
    e.refuse("REDIS_URL must begin with redis://, rediss:// or unix://.")
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "opsportal",
        "OPTIONS": {
            # JSON: what lies in Redis must never be able to run code here.
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "SOCKET_CONNECT_TIMEOUT": 0.5,
            "SOCKET_TIMEOUT": 0.5,
            "IGNORE_EXCEPTIONS": True,
        },
    }
}
DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = True

# ---------------------------------------------------------------- people and sessions
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "opsportal.accounts.backends.CachedUserBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "opsportal.accounts.passwords.AnotherPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "opsportal.accounts.views.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "opsportal.observability.client_ip.client_ip"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address"]
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

INSECURE_HTTP = e.flag("INSECURE_HTTP", IS_DEVELOPMENT)
if INSECURE_HTTP and not IS_DEVELOPMENT:
    e.refuse("INSECURE_HTTP is true outside development. Serve the portal over TLS and unset it.")
SESSION_ENGINE = "opsportal.accounts.sessions"
SESSION_IDLE_SECONDS = e.whole("SESSION_IDLE_SECONDS", 15 * 60, low=30, high=86_400)
SESSION_ABSOLUTE_SECONDS = e.whole("SESSION_ABSOLUTE_SECONDS", 4 * 3600, low=60, high=7 * 86_400)
SESSION_COOKIE_AGE = SESSION_ABSOLUTE_SECONDS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = not INSECURE_HTTP
SESSION_COOKIE_NAME = "sessionid" if INSECURE_HTTP else "__Host-sessionid"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = not INSECURE_HTTP
CSRF_COOKIE_NAME = "csrftoken" if INSECURE_HTTP else "__Host-csrftoken"
CSRF_FAILURE_VIEW = "opsportal.accounts.views.csrf_failure"

# ---------------------------------------------------------------- headers (AUTH-4)
SECURE_HSTS_SECONDS = 0 if INSECURE_HTTP else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = not INSECURE_HTTP
SECURE_HSTS_PRELOAD = not INSECURE_HTTP
SECURE_SSL_REDIRECT = not INSECURE_HTTP
SECURE_REDIRECT_EXEMPT = [r"^(livez|readyz|health|metrics)$"]  # probes speak plain HTTP inside the cluster
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# ---------------------------------------------------------------- words, times, files
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = e.text("STATIC_ROOT", str(BASE_DIR / ".run" / "static"))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1_000  # one maintenance window may be of 500 services

# ---------------------------------------------------------------- audit
AUDITLOG_LOGENTRY_MODEL = "audit.Entry"
MIGRATION_MODULES = {"auditlog": None}  # its own table would stand empty beside ours
AUDITLOG_MASK_CALLABLE = "opsportal.audit.recorder.mask_value"
AUDITLOG_CID_GETTER = "opsportal.audit.recorder.current_request_id"

# ---------------------------------------------------------------- tasks
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 2, "visibility_timeout": 3600}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # Redis may be away for hours; the worker waits
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_TASK_TIME_LIMIT = 60
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# The sweep has a worker of its own: neither it nor the breaker's tasks can hold the other up.
# So have the alerts: `alerting.dispatch` runs for as long as there is something to send.
CELERY_TASK_ROUTES = {
    "health.*": {"queue": "health"},
    "alerting.dispatch": {"queue": "alerts"},
    "alerting.evaluate": {"queue": "alerts"},
}
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "audit-checkpoint": {"task": "audit.checkpoint", "schedule": schedule(60.0), "options": {"expires": 50}},
    "audit-partitions": {"task": "audit.ensure_partitions", "schedule": schedule(3600.0)},
    "audit-verify-new": {"task": "audit.verify_new", "schedule": schedule(60.0), "options": {"expires": 50}},
    "audit-verify-all": {"task": "audit.verify_all", "schedule": schedule(60.0), "options": {"expires": 50}},
    "audit-archive": {"task": "audit.archive", "schedule": schedule(86_400.0)},
}
if FEATURES["circuit"]:
    CELERY_BEAT_SCHEDULE |= {
        "circuit-watch": {"task": "circuit.watch", "schedule": schedule(1.0), "options": {"expires": 5}},
        "circuit-drain": {"task": "circuit.drain", "schedule": schedule(2.0), "options": {"expires": 5}},
    }
if FEATURES["health"]:
    CELERY_BEAT_SCHEDULE |= {
        "health-sweep": {"task": "health.sweep", "schedule": schedule(5.0), "options": {"expires": 5}},
        "health-roll-up": {"task": "health.roll_up", "schedule": schedule(20.0), "options": {"expires": 20}},
        "health-partitions": {"task": "health.keep_partitions", "schedule": schedule(600.0)},
    }
if FEATURES["alerting"]:
    CELERY_BEAT_SCHEDULE |= {
        "alerting-dispatch": {"task": "alerting.dispatch", "schedule": schedule(1.0), "options": {"expires": 2}},
        "alerting-evaluate": {"task": "alerting.evaluate", "schedule": schedule(1.0), "options": {"expires": 2}},
        "alerting-partitions": {"task": "alerting.keep_partitions", "schedule": schedule(600.0)},
    }
if FEATURES["sysconfig"]:
    CELERY_BEAT_SCHEDULE |= {
        "sysconfig-settle": {"task": "sysconfig.settle", "schedule": schedule(5.0), "options": {"expires": 5}},
    }

# ---------------------------------------------------------------- API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        *(["apikeys.authentication.ApiKeyAuthentication"] if FEATURES["apikeys"] else []),
        "opsportal.accounts.authentication.PortalSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["opsportal.accounts.parsing.PortalJSONParser"],
    "EXCEPTION_HANDLER": "opsportal.accounts.api.problem_response",
    "DEFAULT_SCHEMA_CLASS": "opsportal.accounts.api.PortalSchema",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "opsportal",
    "DESCRIPTION": "Operations portal of the trading platform.",
    "VERSION": "1",
    "ENUM_NAME_OVERRIDES": {"ServiceStatusEnum": "health.api.STATES"},
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
}

# ---------------------------------------------------------------- circuit breaker
CIRCUIT_DIALECT = e.choice("CIRCUIT_DIALECT", "canonical", {"canonical", "json"})

# ---------------------------------------------------------------- health monitor
SERVICES = e.text("SERVICES", "")
SERVICES_FILE = e.text("SERVICES_FILE", "")
HEALTH_DOWN_AFTER = e.whole("HEALTH_DOWN_AFTER", 2, low=1, high=100)
HEALTH_UP_AFTER = e.whole("HEALTH_UP_AFTER", 1, low=1, high=100)
HEALTH_STREAMS = e.words("HEALTH_STREAMS")
try:
    HEALTH_ALLOWED_NETWORKS = [ipaddress.ip_network(word) for word in e.words("HEALTH_ALLOWED_NETWORKS")]
except ValueError as error:
    e.refuse(f"HEALTH_ALLOWED_NETWORKS is not a list of networks such as 169.254.10.0/24: {error}.")

# ---------------------------------------------------------------- alerting
ALERT_RECIPIENT_HASH_SECRET = e.text("ALERT_RECIPIENT_HASH_SECRET")
if len(ALERT_RECIPIENT_HASH_SECRET) < 32:
    e.refuse("ALERT_RECIPIENT_HASH_SECRET is shorter than 32 characters; make one with `openssl rand -hex 32`.")
ALERT_RECIPIENT_HASH_SECRET_PREVIOUS = e.text("ALERT_RECIPIENT_HASH_SECRET_PREVIOUS", "")
#: Where people reach the portal: links in messages begin with it. Without it messages carry no links.
PUBLIC_URL = e.text("PUBLIC_URL", "").rstrip("/")
#: Messages a minute by kind of channel, and over all of them; messages an hour to one recipient (AD-6).
ALERT_CHANNEL_LIMITS = {
    "email": e.whole("ALERT_LIMIT_EMAIL", 100, low=1, high=1_000_000),
    "slack": e.whole("ALERT_LIMIT_SLACK", 50, low=1, high=1_000_000),
    "sms": e.whole("ALERT_LIMIT_SMS", 10, low=1, high=1_000_000),
}
ALERT_GLOBAL_LIMIT = e.whole("ALERT_LIMIT_GLOBAL", 500, low=1, high=10_000_000)
ALERT_RECIPIENT_LIMITS = {
    "email": e.whole("ALERT_LIMIT_RECIPIENT_EMAIL", 5, low=1, high=1_000_000),
    "sms": e.whole("ALERT_LIMIT_RECIPIENT_SMS", 3, low=1, high=1_000_000),
    "webhook": e.whole("ALERT_LIMIT_RECIPIENT_WEBHOOK", 10, low=1, high=10_000_000),
}
#: At so many waiting deliveries new alerts are refused, until there are fewer than the second number (AD-8).
ALERT_QUEUE_FULL = e.whole("ALERT_QUEUE_FULL", 10_000, low=10, high=1_000_000)
ALERT_QUEUE_RESUME = e.whole("ALERT_QUEUE_RESUME", 8_000, low=1, high=1_000_000)
if ALERT_QUEUE_RESUME >= ALERT_QUEUE_FULL:
    e.refuse("ALERT_QUEUE_RESUME must be lower than ALERT_QUEUE_FULL.")
#: Alerts from outside that may be open at a time.
ALERT_MOST_OPEN = e.whole("ALERT_MOST_OPEN", 10_000, low=10, high=1_000_000)
ALERT_MAX_ATTEMPTS = e.whole("ALERT_MAX_ATTEMPTS", 3, low=1, high=20)
#: Threads of one dispatcher; a kind of channel may take half of them.
ALERT_THREADS = e.whole("ALERT_THREADS", 64, low=2, high=512)
try:
    ALERT_ALLOWED_NETWORKS = [ipaddress.ip_network(word) for word in e.words("ALERT_ALLOWED_NETWORKS")]
except ValueError as error:
    e.refuse(f"ALERT_ALLOWED_NETWORKS is not a list of networks such as 10.1.0.0/16: {error}.")

# ---------------------------------------------------------------- demo
DEMO_MISHAPS = e.flag("DEMO_MISHAPS", True)
DEMO_TRIP_EVERY = e.whole("DEMO_TRIP_EVERY", 600, low=0, high=1_000_000)

# ---------------------------------------------------------------- observability
LOG_LEVEL = e.choice("LOG_LEVEL", "INFO", {"DEBUG", "INFO", "WARNING", "ERROR"})
LOG_FORMAT = e.choice("LOG_FORMAT", "console" if IS_DEVELOPMENT else "json", {"json", "console"})
LOGGING = logging_config(fmt=LOG_FORMAT, level=LOG_LEVEL)  # type: ignore[arg-type]
LOGGING["loggers"].setdefault("axes", {"level": "WARNING"})  # sign-ins are in the audit log
configure_structlog()
#: Machines send to these by the hundred a second. What they sent is in its own tables; a line tells what was refused.
LOG_REFUSALS_ONLY = frozenset(
    {
        "/api/v1/alerts",
        "/api/v1/observations",
        "/api/v1/webhooks/alertmanager",
        "/api/v1/webhooks/grafana",
        "/api/v2/alerts",
    }
)
METRICS_TOKEN = e.text("METRICS_TOKEN", "")
PROMETHEUS_EXPORT_MIGRATIONS = False
PROMETHEUS_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))
