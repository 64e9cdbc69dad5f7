"""The names of everything that is audited explicitly (AU-2). A metric label is one of these, never free text."""

from __future__ import annotations

ACTIONS = frozenset(
    {
        # sign-in
        "login",
        "login_failed",
        "logout",
        # people
        "user_create",
        "user_update",
        "user_disable",
        "user_enable",
        "role_change",
        "password_set",
        "sessions_end",
        "strategy_create",
        "strategy_update",
        "strategy_grant",
        "strategy_revoke",
        # API keys
        "api_key_create",
        "api_key_rotate",
        "api_key_revoke",
        "api_key_refused",
        # system configuration
        "config_update",
        "config_restore",
        # circuit breaker
        "circuit_init",
        "circuit_trip",
        "circuit_reset",
        "circuit_restore",
        "circuit_external_change",
        # services and planned work on them
        "service_create",
        "service_update",
        "service_delete",
        "maintenance_create",
        "maintenance_update",
        "maintenance_delete",
        # alerting
        "alert_rule_create",
        "alert_rule_update",
        "alert_rule_delete",
        "alert_acknowledge",
        "alert_resolve",
        "channel_create",
        "channel_update",
        "channel_delete",
        "channel_test",
        "silence_create",
        "silence_update",
        "silence_end",
        "delivery_retry",
        "delivery_resolve",
        "keys_rotate",
        # denials and exports
        "admin_page_access_denied",
        "api_key_action_denied",
        "config_edit_denied",
        "export",
        # the log itself
        "audit_verify",
        "audit_checkpoint",
        "audit_archive",
        "audit_drop",
        # rows written by django-auditlog
        "object_create",
        "object_update",
        "object_delete",
        "object_access",
    }
)

#: What entries are about; for suggestions only, an entry may be about anything.
RESOURCE_TYPES = (
    "alert", "alert_channel", "alert_delivery", "alert_rule", "alert_silence", "api_key", "audit_log",
    "circuit_breaker", "circuit_history", "config_section", "maintenance", "page", "service",
    "strategy", "user",
)  # fmt: skip


def label_of(event: str) -> str:
    """An action's name for people: `api_key_create` is "API key create"."""
    words = event.replace("_", " ")
    return "API" + words[3:] if words.startswith("api ") else words[:1].upper() + words[1:]
