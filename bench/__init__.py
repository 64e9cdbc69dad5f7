"""Benchmarks of the portal on servers of its own: `python -m bench` (see docs/benchmarks.md)."""
