"""The sections: one file each. A file that lies here is found by itself (CF-6)."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from sysconf.sections.base import Section, all_sections, find_section

__all__ = ["Section", "all_sections", "find_section"]

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
