"""The doors for services and for other alerting systems."""
