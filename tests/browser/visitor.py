"""A person at a browser: signs in, opens pages, and keeps note of what the browser complained about."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from playwright.sync_api import Browser, Page, expect

# Violations alone: telling of each element what it passes takes longer than the checks.
WCAG = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "resultTypes": ["violations"],
}
WIDE, PHONE = 1440, 390
#: Runs a test wide and on a phone; `assert_looks_right` sees both in light and dark.
each_width = pytest.mark.parametrize("width", [WIDE, PHONE], ids=str)
# What is still fading from one colour to the other would be judged as it is not. Not waited for: a window in the
# background draws nothing, and its transitions never end by themselves.
END_FADING = "document.getAnimations().filter((each) => each instanceof CSSTransition).forEach((each) => each.finish())"
# In the page before anything else runs; console messages alone would miss some directives.
NOTE_VIOLATIONS = """
window.policyViolations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.policyViolations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
});
"""


class Visitor:
    """One browser window of its own: cookies, theme, width."""

    def __init__(
        self,
        browser: Browser,
        address: str,
        *,
        width: int = WIDE,
        dark: bool = False,
        javascript: bool = True,
        zone: str = "UTC",
    ) -> None:
        self.address = address
        self.javascript = javascript
        self.context = browser.new_context(
            base_url=address,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=javascript,
            timezone_id=zone,
            locale="en-GB",
        )
        self.context.set_default_timeout(8_000)
        self.context.add_init_script(NOTE_VIOLATIONS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.page.on(
            "console",
            lambda message: self.complaints.append(message.text) if "Content Security Policy" in message.text else None,
        )

    def close(self) -> None:
        """Close the window and forget its cookies."""
        self.context.close()

    def go(self, path: str) -> Page:
        """Open a page of the portal."""
        self.page.goto(path)
        return self.page

    def sign_in(self, user: Any, password: str) -> Visitor:
        """Be signed in, by the portal's own sign-in view; the browser gets the session it gave."""
        client = Client()
        response = client.post("/admin/login/?next=/admin/", {"username": user.username, "password": password})
        assert response.status_code == 302, response.content
        cookies: Any = [
            {"name": name, "value": morsel.value, "url": self.address} for name, morsel in client.cookies.items()
        ]
        self.context.add_cookies(cookies)
        return self

    def assert_no_complaint(self) -> None:
        """No violation of the Content-Security-Policy and no uncaught error. Before axe: it adds a script of its own."""
        violations = self.page.evaluate("window.policyViolations") if self.javascript else []
        assert violations == [] and self.complaints == []

    def assert_fits(self) -> None:
        """Nothing makes the page scroll sideways (Q-2)."""
        widths = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1], f"the page is {widths[0]} px wide in a window of {widths[1]} px"

    def assert_accessible(self) -> None:
        """No axe violation of WCAG 2.1 A and AA (Q-1)."""
        results = Axe().run(self.page, options=WCAG)
        assert results.violations_count == 0, results.generate_report()

    def assert_looks_right(self) -> None:
        """No complaint of the browser, nothing wider than the window, no axe violation in light nor in dark."""
        self.assert_no_complaint()
        self.assert_fits()
        for theme in ("light", "dark"):
            self.page.emulate_media(color_scheme=theme)
            self.page.evaluate(END_FADING)
            self.assert_accessible()

    def assert_state(self, text: str, *, within: float = 8) -> None:
        """The card shows this state within so many seconds."""
        expect(self.page.locator(".breaker__state")).to_have_text(text, timeout=within * 1000)
