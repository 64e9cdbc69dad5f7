"""The health of the platform's services."""
