"""Reads and judges the environment before Django starts: one clear line on a wrong or missing setting."""

from __future__ import annotations

import sys
from typing import NoReturn

import environ

DEVELOPMENT_ENVIRONMENTS = frozenset({"development", "dev", "local", "test", "ci"})
KNOWN_ENVIRONMENTS = DEVELOPMENT_ENVIRONMENTS | {"staging", "production"}

env = environ.Env()


def refuse(message: str) -> NoReturn:
    """End the process with exit code 1 and one line that names the setting (RUN-5, AUTH-2)."""
    print(f"opsportal: cannot start: {message}", file=sys.stderr)
    raise SystemExit(1)


def text(name: str, default: str | None = None) -> str:
    """The variable's text; without a default a missing or empty one ends the start."""
    value = str(env.str(name, default="")).strip()
    if value:
        return value
    if default is None:
        refuse(f"{name} is not set. Set it in the environment; docs/configuration.md says what it holds.")
    return default


def flag(name: str, default: bool) -> bool:
    """A yes/no variable: true/false, yes/no, on/off, 1/0, in any case."""
    value = env.str(name, default="").strip().lower()
    if not value:
        return default
    if value in {"true", "yes", "on", "1"}:
        return True
    if value in {"false", "no", "off", "0"}:
        return False
    refuse(f"{name} is {value!r}; it must be true or false.")


def whole(name: str, default: int, *, low: int, high: int) -> int:
    """A whole number within low..high."""
    value = env.str(name, default="").strip()
    if not value:
        return default
    if not value.isdigit() or not low <= int(value) <= high:
        refuse(f"{name} is {value!r}; it must be a whole number from {low} to {high}.")
    return int(value)


def choice(name: str, default: str, allowed: frozenset[str] | set[str]) -> str:
    """One of a few words."""
    value = env.str(name, default="").strip() or default
    if value not in allowed:
        refuse(f"{name} is {value!r}; it must be one of {', '.join(sorted(allowed))}.")
    return value


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in env.str(name, default=",".join(default)).split(",") if word.strip()]


def refuse_dev_auth_outside_development(environment: str, *, dev_auth: bool) -> None:
    """End the start when the development sign-in is asked for where real people work (AUTH-2)."""
    if dev_auth and environment not in DEVELOPMENT_ENVIRONMENTS:
        refuse(
            f"OPERATIONS_DEV_AUTH is true while ENVIRONMENT is {environment or 'not set'!r}. It signs everybody in "
            f"and is allowed only in {', '.join(sorted(DEVELOPMENT_ENVIRONMENTS))}. Unset OPERATIONS_DEV_AUTH."
        )
