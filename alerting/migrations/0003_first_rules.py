"""The rules that a fresh portal has. They have no channels yet: what they find is shown, not told."""

from django.db import migrations

CRITICAL, WARNING, INFO = 0, 1, 2
# Name, metric, comparison, threshold, severity, seconds that it must hold, and what it is for.
RULES = (
    ("Circuit breaker not open", "circuit_tripped", "gte", 1, CRITICAL, 0,
     "Trading is halted, or nobody knows whether it is."),
    ("Service down", "service_down", "gte", 1, CRITICAL, 15,
     "A service is unreachable, unhealthy or breaks the health contract."),
    ("PostgreSQL or Redis down", "component_down", "gte", 1, CRITICAL, 10,
     "Something that the portal itself needs does not answer."),
    ("Poison queue above 10", "poison_queue", "gt", 10, CRITICAL, 0,
     "Deliveries of alerts fail for good and need a person."),
    ("API key expires within 14 days", "api_key_expiry", "lte", 14, INFO, 0,
     "Rotate it before services are refused."),
    ("API key expires within 3 days", "api_key_expiry", "lte", 3, WARNING, 0,
     "Rotate it before services are refused."),
    ("API key expires within 1 day", "api_key_expiry", "lte", 1, CRITICAL, 0,
     "Rotate it now: services will be refused."),
    ("Alert from outside", "external_alert", "gte", 1, WARNING, 0,
     "Whatever Prometheus, Alertmanager, Grafana or a service sends, with the severity that it gives."),
    ("Drawdown limit", "drawdown", "gte", 0.05, CRITICAL, 0,
     "A strategy has lost too much since its last high."),
    ("Position limit reached", "position_limit", "gte", 1, CRITICAL, 0,
     "A position has reached its limit."),
)  # fmt: skip


def add_rules(apps, schema_editor):
    rules = apps.get_model("alerting", "Rule").objects
    for name, metric, comparison, threshold, severity, for_seconds, description in RULES:
        if not rules.filter(name__iexact=name).exists():
            rules.create(
                name=name,
                description=description,
                metric=metric,
                comparison=comparison,
                threshold=threshold,
                severity=severity,
                for_seconds=for_seconds,
            )


class Migration(migrations.Migration):
    """Adds rows; a rule that is there already under the same name stays as it is."""

    dependencies = [("alerting", "0002_kept_by_time")]

    operations = [migrations.RunPython(add_rules, migrations.RunPython.noop)]
