"""A key in words: its state, its end, and whether it is in use. For the list, the page of a key and the command."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from apikeys.models import ApiKey, KeyState
from apikeys.selectors import WARN_DAYS

_TONES = {KeyState.ACTIVE: "ok", KeyState.PENDING: "warn", KeyState.EXPIRED: "bad", KeyState.REVOKED: "unknown"}
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


@dataclass(frozen=True)
class Row:
    """One key, ready to be shown."""

    key: ApiKey
    state: KeyState
    tone: str
    word: str
    owner: str
    owner_off: bool
    end_tone: str
    end_note: str
    use_note: str

    @property
    def may_change(self) -> bool:
        """Whether the key can still be revoked."""
        return self.state != KeyState.REVOKED

    @property
    def may_rotate(self) -> bool:
        """Whether a successor can be made of it."""
        return self.may_change and self.key.pending_since is None and not self.owner_off


def row_of(key: ApiKey, now: datetime) -> Row:
    """What the pages say of the key at `now`."""
    state = key.state(now)
    tone, note = _end(key, state, now)
    owner_off = not key.owner.is_active
    return Row(
        key=key,
        state=state,
        tone="bad" if owner_off and state in (KeyState.ACTIVE, KeyState.PENDING) else _TONES[state],
        word=str(state.label),
        owner=key.owner.get_username(),
        owner_off=owner_off,
        end_tone=tone,
        end_note=note,
        use_note=_use(key, now) if key.pending_since and state != KeyState.REVOKED else "",
    )


def _end(key: ApiKey, state: KeyState, now: datetime) -> tuple[str, str]:
    """The tone and words of the warning before the end: at 14, 3 and 1 days (AK-8)."""
    if key.expires_at is None or state in (KeyState.REVOKED, KeyState.EXPIRED):
        return "", ""
    left = (key.expires_at - now).total_seconds()
    if left > WARN_DAYS[-1] * _DAY:
        return "", ""
    return ("bad" if left <= WARN_DAYS[0] * _DAY else "warn"), f"expires in {span(left)}"


def _use(key: ApiKey, now: datetime) -> str:
    """Whether a key that has a successor is still in use (AK-6)."""
    assert key.pending_since is not None
    if key.last_used_at is None or key.last_used_at < key.pending_since:
        return "not used since the new one was made"
    ago = (now - key.last_used_at).total_seconds()
    return f"last used {span(ago)} ago: {'still in use' if ago <= _DAY else 'used after the new one was made'}"


def span(seconds: float) -> str:
    """A time in its largest whole unit: 3 min, 5 h, 12 days."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return "less than a minute"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < 2 * _DAY:
        return f"{whole // _HOUR} h"
    return f"{whole // _DAY} days"
