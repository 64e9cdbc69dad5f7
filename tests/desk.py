"""Whoever acts on the breaker in the tests, and why."""

from opsportal.accounts.actors import Actor

DESK = Actor.system("desk")
WHY = "Checked positions and limits; all clear."
