"""The forms of alerting."""
