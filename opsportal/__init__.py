"""opsportal: the operations portal of a trading platform.

`celery_app` is resolved when it is asked for: importing a light part of the package (the embedded servers, the
reader of `.run/env`) must not load Celery or fix a settings module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opsportal.celery import app as celery_app

__version__ = "0.1.0"
__all__ = ["__version__", "celery_app"]


def __getattr__(name: str) -> object:
    """Load the Celery application on first use."""
    if name == "celery_app":
        from opsportal.celery import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
