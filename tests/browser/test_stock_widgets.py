"""What Django's own widgets lack, and the portal adds."""

from __future__ import annotations

import re

from django.contrib.admin.widgets import AdminSplitDateTime


def test_split_datetime__rendered__both_inputs_have_a_label() -> None:
    """Q-1: stock Django leaves the second input without a name."""
    html = AdminSplitDateTime().render("at", None, {"id": "id_at"})
    inputs = re.findall(r'<input[^>]* id="([^"]+)"', html)
    assert inputs == ["id_at_0", "id_at_1"]
    assert re.findall(r'<label for="([^"]+)"', html) == inputs
