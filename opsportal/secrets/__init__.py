"""Secrets of the portal: fields encrypted at rest."""
