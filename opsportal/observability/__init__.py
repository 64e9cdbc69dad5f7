"""What every app stands on: logs, request context, metrics and the health pages."""
