"""What the pages of people say, in words."""

from __future__ import annotations

import re

from opsportal.accounts.models import User

#: The first that matches: browsers name their ancestors too, so the descendants come first.
_BROWSERS = (
    ("Edge", re.compile(r"Edg(?:e|A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"OPR/(\d+)")),
    ("Samsung Internet", re.compile(r"SamsungBrowser/(\d+)")),
    ("Firefox", re.compile(r"(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"(?:HeadlessChrome|Chrome|Chromium|CriOS)/(\d+)")),
    ("Safari", re.compile(r"Version/(\d+).{0,40}Safari/")),
    ("curl", re.compile(r"^curl/(\d+)")),
    ("a Python program", re.compile(r"^python-(?:requests|httpx|urllib)[^\d]{0,10}(\d+)", re.IGNORECASE)),
)
_SYSTEMS = (
    ("iPhone", re.compile(r"iPhone")),
    ("iPad", re.compile(r"iPad")),
    ("Android", re.compile(r"Android")),
    ("Windows", re.compile(r"Windows")),
    ("macOS", re.compile(r"Macintosh|Mac OS X")),
    ("ChromeOS", re.compile(r"CrOS")),
    ("Linux", re.compile(r"Linux|X11")),
)


def browser_words(user_agent: str) -> str:
    """ "Firefox 128 on Windows": what the browser says of itself, which anybody can make up."""
    found = ((name, pattern.search(user_agent)) for name, pattern in _BROWSERS)
    browser = next((f"{name} {match.group(1)}" for name, match in found if match), "")
    system = next((name for name, pattern in _SYSTEMS if pattern.search(user_agent)), "")
    if not browser:
        return f"an unknown browser on {system}" if system else "an unknown browser"
    return f"{browser} on {system}" if system else browser


def role_words(user: User) -> str:
    """The role as the pages and the audit log name it. A superuser has every permission, whatever the role."""
    if user.is_superuser:
        return "superuser"
    return user.role.value if user.role else "none"


def event_words(event: str) -> str:
    """ "Role change" for `role_change`; the rows that are written for a changed record say so."""
    if event == "object_update":
        return "Record changed"
    if event == "object_create":
        return "Record created"
    return event.replace("_", " ").capitalize()


def counted(number: int, one: str, many: str = "") -> str:
    """ "1 session", "2 sessions"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
