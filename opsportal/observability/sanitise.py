"""Takes secrets and personal data out of text and values before anything is logged, stored or shown.

`mask_text` works on prose, `sanitise` on structures. Both are total (they never raise on any input) and run
in time linear in the length of the text: every pattern either starts where the previous character rules
out an earlier start, or is bounded, and runs are matched possessively.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from math import isfinite
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.functional import Promise

from opsportal.observability.keys import is_phone_name, is_sensitive_name
from opsportal.observability.phones import mask_phones

MASK = "***"
REDACTED = "[redacted]"
CUT = "… [cut]"
MAX_TEXT = 4_000
MAX_DEPTH = 8
MAX_ITEMS = 200
MAX_NODES = 5_000

# What is cut before masking, so that a huge value costs a bounded time.
_MASK_WINDOW = 8
_TRACEBACK = 16_000

_PEM = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*+(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?")
_PORTAL_KEY = re.compile(r"(tp_(?:live|test)_[A-Za-z0-9]{8})[A-Za-z0-9_-]++")
# A key drawn badly or typed wrongly (its first 8 characters not alphanumeric) is masked whole.
_ODD_PORTAL_KEY = re.compile(r"(tp_(?:live|test)_)(?=[A-Za-z0-9]{0,7}[_-])[A-Za-z0-9_-]{9,}+")
_JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){1,4}+")
_WEBHOOK = re.compile(
    r"(https?://(?:hooks\.slack(?:-gov)?\.com|discord(?:app)?\.com/api/webhooks|[\w-]{1,63}\.webhook\.office\.com))"
    r"/[^\s\"'<>\\]++",
    re.IGNORECASE,
)
# A link that acknowledges an alert: whoever has it may (AL-6). Mangled, its token stands elsewhere in the path, and is
# known by its parts: a delivery and an hour, a time, a signature.
_ACK_LINK = re.compile(r"(/ack/)(?!\*\*\*)[A-Za-z0-9_.:=%~-]++")
_ACK_TOKEN = re.compile(
    r"(?<!\d)\d{1,18}+(?:-|%2[Dd])\d{1,7}+(?:\.|%2[Ee])[A-Za-z0-9]{4,8}+(?:\.|%2[Ee])[A-Za-z0-9_%-]{20,}+"
)
_ACK_TOKEN_MIN = 29
_PROVIDER_KEY = re.compile(
    r"(?<![A-Za-z0-9])(xox[a-z]-|xapp-|SG\.|gh[pousr]_|github_pat_|sk_live_|rk_live_|AKIA|hvs\.)[A-Za-z0-9_.-]{12,}+"
)
# "http://host:8000/path" has a port after the colon, not a password.
_URL_PASSWORD = re.compile(
    r"(://[^\s/@:\"'<>]{0,128}+:)(?!\*\*\*@)(?!\d{1,5}(?:[/?#\s\"',;)]|$))"
    r"(?:[^\s/\"'<>]{0,256}@|[^\s\"'<>:]{1,256}?@)"
)
_HEADER = re.compile(
    r"(?<![A-Za-z0-9])((?:proxy[-_])?authorization|(?:set[-_])?cookie)(\\{0,3}[\"']?\s{0,3}[:=]\s{0,3})"
    r"(?:\\{0,3}\"[^\"\n]*+|\\{0,3}'[^'\n]*+"
    r"|((?:bearer|basic|token|apikey)\s{1,3})[^\s\"',;)}\]]++|[^\r\n]++)",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![\w.-])([A-Za-z_][\w.-]{0,127}+)\\{0,3}[\"']?\s{0,3}[:=]\s{0,3}")
_VALUE = re.compile(
    r"\\{1,3}\"[^\"\\\n]*+(?:\\{1,3}\")?|\"(?:[^\"\\\n]|\\.)*+\"?|'(?:[^'\\\n]|\\.)*+'?|[^\s\"'&,;<>(){}\[\]]++"
)
_PAIR_HINT = re.compile(
    r"pass|pwd|secret|token|salt|hash|credential|csrf|otp|jwt|key|session|code|webhook|phone|mobile|msisdn"
    r"|telephone|tel|sms|cookie|authorization",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"(?<![A-Za-z0-9_-])(bearer|basic)(\s{1,3}|%20)([A-Za-z0-9._~+/=-]{8,}+)", re.IGNORECASE)
# The local part is matched from its first character only; "@" may be percent-encoded.
_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]++(?:'[\w.+-]++){0,2}+(?:@|%40)((?:[\w-]++\.)+(?:xn--[\w-]++|[^\W\d_]{2,}+))(?![\w-])"
)
_HEADER_NAMES = frozenset(("authorization", "cookie"))


def mask_text(text: str) -> str:
    """`text` with credentials and personal data masked; everything else unchanged.

    E-mail addresses become ``***@domain.com``, telephone numbers ``***1234``, a portal API key its prefix
    followed by ``…***``; bearer tokens, Authorization and Cookie headers, JWTs, private keys, passwords in
    URLs, webhook URLs and ``password=…``-like pairs lose their value. Timestamps, ids, order numbers, prices
    and IP addresses stay. Never raises; linear in the length of `text`.
    """
    if "-----BEGIN" in text:
        text = _PEM.sub(f"[private key {MASK}]", text)
    if "tp_" in text:
        text = _PORTAL_KEY.sub(rf"\1…{MASK}", text)
        text = _ODD_PORTAL_KEY.sub(rf"\1{MASK}", text)
    if "eyJ" in text:
        text = _JWT.sub(f"eyJ…{MASK}", text)
    if "://" in text:
        text = _WEBHOOK.sub(rf"\1/{MASK}", text)
        text = _URL_PASSWORD.sub(rf"\1{MASK}@", text)
    if len(text) >= _ACK_TOKEN_MIN:
        text = _ACK_TOKEN.sub(MASK, text)
    if "/ack/" in text:
        text = _ACK_LINK.sub(rf"\1{MASK}", text)
    text = _PROVIDER_KEY.sub(rf"\1{MASK}", text)
    if _PAIR_HINT.search(text):
        text = _HEADER.sub(_mask_header, text)
        text = _mask_pairs(text)
    text = _SCHEME.sub(_mask_scheme, text)
    if "@" in text or "%40" in text:
        text = _EMAIL.sub(rf"{MASK}@\1", text)
    return mask_phones(text)


def _mask_header(match: re.Match[str]) -> str:
    name, separator, scheme = match.groups()
    matched = match.group(0)
    quote = matched[len(name) + len(separator) :][:4].lstrip("\\")[:1]
    opening = quote if quote in ("'", '"') else ""
    return f"{name}{separator}{opening}{scheme or ''}{MASK}"


def _mask_pairs(text: str) -> str:
    """`name=value`, `name: "value"` and their like, where the name is that of a secret or a telephone number.

    A value under a harmless name is searched itself: KeyError: 'password=x'.
    """
    parts: list[str] = []
    copied = at = 0
    while found := _NAME.search(text, at):
        at = found.end()
        name = found.group(1)
        if not is_sensitive_name(name) and not is_phone_name(name):
            continue
        value = _VALUE.match(text, at)
        if value is None:
            continue
        parts += (text[copied:at], _masked_value(name, value.group(0)))
        copied = at = value.end()
    return "".join((*parts, text[copied:]))


def _masked_value(name: str, value: str) -> str:
    bare = value.strip("\\\"'")
    masked = bare
    if not is_sensitive_name(name):
        masked = mask_phone_value(bare)
    elif bare and not _says_nothing(name, bare):
        masked = MASK
    if masked == bare:
        return value
    opening = value[: len(value) - len(value.lstrip("\\\"'"))]
    closing = opening if opening and value.endswith(opening) else ""
    return f"{opening}{masked}{closing}"


def _says_nothing(name: str, value: str) -> bool:
    """A value that is masked already, absent or a plain switch, or a header that `_HEADER` has dealt with."""
    if value.startswith((MASK, REDACTED[:-1])) or f"…{MASK}" in value:
        return True
    if value in ("None", "null", "True", "False", "true", "false"):
        return True
    return name.lower().rsplit("-", 1)[-1].rsplit("_", 1)[-1] in _HEADER_NAMES


def _mask_scheme(match: re.Match[str]) -> str:
    scheme, gap, token = match.groups()
    # "basic authentication" is prose: a credential has digits, padding, case inside or great length.
    inside = token[1:]
    random = len(token) >= 24 or any(c.isdigit() or c.isupper() or c in "=+/_" for c in inside)
    return f"{scheme}{gap}{MASK}" if random else match.group(0)


def mask_phone_value(text: str) -> str:
    """A value known to be a telephone number: ``***`` and its last 4 digits; other text only masked."""
    digits = [c for c in text if c.isdigit()]
    if len(digits) >= 7 and not any(c.isalpha() for c in text) and not text.startswith(MASK):
        return MASK + "".join(digits[-4:])
    return text


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """`text` masked, valid UTF-8 without NUL, and at most `limit` characters plus a mark that it was cut."""
    window = limit * _MASK_WINDOW
    cut = len(text) > window
    if cut:
        # What the window cuts in two may be a secret that no longer looks like one: drop that piece.
        text = text[:window]
        text = text[: max(text.rfind(" "), text.rfind("\n"), window - 1_000)]
    text = _mask_storable(text)
    if cut or len(text) > limit:
        return text[:limit] + CUT
    return text


def _mask_storable(text: str) -> str:
    """`text` masked, without what PostgreSQL or a UTF-8 stream refuses: NUL and lone surrogates."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return mask_text(text)


def clip_traceback(text: str) -> str:
    """A traceback masked and at most about 16,000 characters: the end says what happened, so it stays."""
    if len(text) > _TRACEBACK * _MASK_WINDOW:
        text = text[: _TRACEBACK * 2] + f"\n{CUT}\n" + text[-_TRACEBACK * 4 :]
    text = _mask_storable(text)
    if len(text) <= _TRACEBACK:
        return text
    return text[: _TRACEBACK // 4] + f"\n{CUT}\n" + text[-_TRACEBACK * 3 // 4 :]


def sanitise_named(name: str, value: object) -> Any:
    """As `sanitise`, for a value that is kept under `name`."""
    return _Walk().named(name, value, 0)


def sanitise(value: object) -> Any:
    """A copy of `value` fit to be logged or stored: no secret, no personal data, bounded, JSON-friendly.

    Text is masked and cut at 4,000 characters; a value under a sensitive name becomes ``[redacted]`` (None
    and booleans stay, they only say whether there is one); bytes become text; sets and tuples become lists;
    numbers, dates, UUIDs and IP addresses stay, infinities and NaN become text; any other object becomes its
    masked text. At most 8 levels, 200 items a container and 5,000 values in all. Never raises.
    """
    return _Walk().visit(value, 0)


class _Walk:
    """One pass over one value, counting what it has seen."""

    def __init__(self) -> None:
        self.nodes = 0

    def visit(self, value: object, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            return CUT
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return clip(value.value if isinstance(value, Enum) else value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return clip(bytes(value[: MAX_TEXT * _MASK_WINDOW]).decode("utf-8", "replace"))
        if isinstance(value, float):
            return value if isfinite(value) else str(value)
        if isinstance(value, _PLAIN):
            return value
        return self._visit_other(value, depth)

    def _visit_other(self, value: object, depth: int) -> Any:
        if not isinstance(value, (Mapping, list, tuple, set, frozenset)):
            return _describe(value)
        if depth >= MAX_DEPTH:
            return "[too deep]"
        try:
            return self._mapping(value, depth) if isinstance(value, Mapping) else self._items(value, depth)
        except Exception:
            # A container that breaks while it is read must not break the caller: say so and go on.
            return f"[unreadable {type(value).__name__}]"

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        clean: dict[str, Any] = {}
        for key, item in value.items():
            if len(clean) >= MAX_ITEMS:
                clean[CUT] = len(value) - MAX_ITEMS
                break
            name = key if isinstance(key, str) else str(key)
            shown = clip(name, 200)
            while shown in clean:
                shown += "'"
            clean[shown] = self.named(name, item, depth)
        return clean

    def _items(self, value: Any, depth: int) -> list[Any]:
        items = list(value)
        if len(items) == 2 and isinstance(value, tuple) and isinstance(items[0], str):
            # ("Authorization", "Bearer …"): a header or form field as a pair.
            return [clip(items[0], 200), self.named(items[0], items[1], depth)]
        clean = [self.visit(item, depth + 1) for item in items[:MAX_ITEMS]]
        if len(items) > MAX_ITEMS:
            clean.append(f"{CUT} {len(items) - MAX_ITEMS} more")
        return clean

    def named(self, name: str, item: object, depth: int) -> Any:
        if is_sensitive_name(name):
            return item if item is None or isinstance(item, bool) else REDACTED
        if isinstance(item, str) and is_phone_name(name):
            return mask_phone_value(clip(item))
        if isinstance(item, int) and not isinstance(item, bool) and is_phone_name(name):
            return mask_phone_value(str(item))
        return self.visit(item, depth + 1)


_PLAIN = (
    int,
    Decimal,
    datetime,
    date,
    time,
    timedelta,
    UUID,
    IPv4Address,
    IPv6Address,
    IPv4Network,
    IPv6Network,
)


def _describe(value: object) -> str:
    try:
        # Printing a lazy query would run it: name what can be iterated, print the rest.
        if hasattr(value, "__iter__") and not isinstance(value, (BaseException, Promise, HttpRequest)):
            return f"<{type(value).__name__}>"
        return clip(str(value))
    except Exception:
        # Whatever a foreign object raises, the log line or audit row must still be written.
        return f"<{type(value).__name__}>"
