"""What is wrong with a section, found at start."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register

from sysconf.errors import InvalidValues
from sysconf.forms import section_form
from sysconf.sections import all_sections
from sysconf.selectors import validated


@register()
def check_sections(**_kwargs: Any) -> list[CheckMessage]:
    """Every section makes a form, and its defaults are valid."""
    found: list[CheckMessage] = []
    for section in all_sections():
        try:
            section_form(section)
            validated(section, section.defaults())
        except TypeError as error:
            found.append(
                Error(str(error), hint="Use a type that sysconf/kinds.py knows, or teach it.", id="sysconfig.E001")
            )
        except InvalidValues as error:
            hint = f"{error.field}: {error.sentence}"
            found.append(Error(f"The defaults of “{section.title}” are not valid.", hint=hint, id="sysconfig.E002"))
    return found
