"""Who a message may go to: addresses made uniform (AD-3), and masked for people's eyes (AC-5).

Each `clean_…` gives the address as it is kept and hashed, or raises `BadRecipient` with a sentence that does not repeat
what was typed: it may be personal, or a secret.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

import idna
import phonenumbers
from email_validator import EmailNotValidError, EmailUndeliverableError, validate_email

#: Of RFC 5321: the whole address, and what stands before the @.
EMAIL_MAX, LOCAL_MAX = 254, 64
URL_MAX = 2_000
RECIPIENTS_MAX = 100

_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\.?")
_AFTER_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?|\[\]{}-]*")


class BadRecipient(ValueError):
    """A recipient that no message can go to. `sentence`: why, in plain words, without the recipient."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


def clean_email(text: str) -> str:
    """A bare address, lower-cased, its domain in ASCII. One address only: no names, lists or line breaks."""
    address = _one_line(text, "the e-mail address")
    if not address:
        raise BadRecipient("Give an e-mail address, for example ops@example.com.")
    if any(mark in address for mark in ",;<>\"'()"):
        raise BadRecipient(
            "Give the e-mail address alone, one a line: without a name, quotes, brackets, commas or semicolons."
        )
    if len(address) > EMAIL_MAX:
        raise BadRecipient(f"The e-mail address is too long: at most {EMAIL_MAX} characters.")
    if len(address.rpartition("@")[0]) > LOCAL_MAX:
        raise BadRecipient(f"What stands before the @ is too long: at most {LOCAL_MAX} characters.")
    if "@" not in address:
        raise BadRecipient("This is no e-mail address: it has no @.")
    try:
        found = validate_email(address, check_deliverability=False, test_environment=True, allow_smtputf8=False)
    except EmailUndeliverableError:
        raise BadRecipient("No mail can be sent to the domain of this address.") from None
    except EmailNotValidError:
        raise BadRecipient("This is no e-mail address that mail can be sent to, such as ops@example.com.") from None
    return (found.ascii_email or found.normalized).lower()


def clean_phone(text: str) -> str:
    """A telephone number in the form E.164, `+15551234567`; it must exist in its country's numbering plan."""
    number = _one_line(text, "the telephone number")
    if not number.startswith("+"):
        raise BadRecipient("Give the telephone number with its country, beginning with +, for example +442079460958.")
    if len(number) > 40:
        raise BadRecipient("The telephone number is too long.")
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        raise BadRecipient("This is no telephone number: give + and digits, for example +442079460958.") from None
    if parsed.extension:
        raise BadRecipient("A text message cannot go to an extension; give the number without it.")
    if not phonenumbers.is_possible_number(parsed):
        raise BadRecipient("The telephone number has too many or too few digits for its country.")
    if not phonenumbers.is_valid_number(parsed):
        raise BadRecipient("There is no such telephone number in its country.")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def clean_url(text: str, *, schemes: Sequence[str] = ("https", "http")) -> str:
    """A web address: scheme and host lower-cased, the host in ASCII, the rest as it was given."""
    url = _one_line(text, "the address")
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    if len(url) > URL_MAX:
        raise BadRecipient(f"The address is too long: at most {URL_MAX} characters.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadRecipient(f"This is no valid web address; it must begin with {wanted}.") from None
    if parts.scheme.lower() not in schemes or not host:
        raise BadRecipient(f"Give a whole web address; it must begin with {wanted}.")
    if parts.username is not None or parts.password is not None:
        raise BadRecipient("Leave user name and password out of the address; there is a field for a token.")
    if "#" in url:
        raise BadRecipient("Leave out “#” and what follows; it is never sent.")
    host = clean_host(host)
    rest = parts.path + (f"?{parts.query}" if "?" in url else "")
    if not _AFTER_HOST.fullmatch(rest):
        raise BadRecipient("The address has a character that no address may have; write it as % and two digits.")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme.lower()}://{shown}{f':{port}' if port is not None else ''}{rest or '/'}"


def clean_host(text: str) -> str:
    """A host's name in lower-case ASCII, or an address of IPv4 or IPv6 without brackets."""
    host = _one_line(text, "the host").strip("[]").lower()
    if ":" in host:
        if not re.fullmatch(r"[0-9a-f:.]{2,45}", host):
            raise BadRecipient("This is no host name or address.")
        return host
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii").lower()
        except UnicodeError:
            raise BadRecipient("The host's name has letters that no domain may have.") from None
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise BadRecipient("This is no host name: it has letters, digits, hyphens and dots only.")
    return host


def clean_lines(values: Sequence[str], clean: Callable[[str], str], what: str) -> list[str]:
    """Each cleaned, without duplicates, in their order. The sentence of the first bad one names its line."""
    cleaned: dict[str, None] = {}
    for line, value in enumerate(values, 1):
        try:
            cleaned.setdefault(clean(value))
        except BadRecipient as bad:
            raise BadRecipient(f"Line {line}: {bad.sentence}" if len(values) > 1 else bad.sentence) from None
    if not cleaned:
        raise BadRecipient(f"Give at least one {what}.")
    if len(cleaned) > RECIPIENTS_MAX:
        raise BadRecipient(f"At most {RECIPIENTS_MAX} fit one channel; make a second channel for the others.")
    return list(cleaned)


_E164 = re.compile(r"\+\d{7,15}", re.ASCII)
_GAP = r"[\s()./-]{0,3}"


@lru_cache(maxsize=64)
def spellings_of_phone(number: str) -> re.Pattern[str] | None:
    """Finds the number as others may write it: without its + or its country, in groups. None for what is no number."""
    if not _E164.fullmatch(number):
        return None
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    country, own = _GAP.join(str(parsed.country_code)), _GAP.join(str(parsed.national_number))
    return re.compile(rf"(?<!\d)(?:(?:\+|00)?{country}{_GAP})?(?:0{_GAP})?{own}(?!\d)")


# ---------------------------------------------------------------- masked
def masked_email(address: str) -> str:
    """`***@example.com`."""
    return "***@" + address.rpartition("@")[2][:90]


def masked_phone(number: str) -> str:
    """`***1234`."""
    return "***" + number[-4:]


def masked_url(url: str) -> str:
    """Its host and its last 4 characters: a webhook's address is a secret."""
    host = urlsplit(url).hostname or ""
    return f"{host[:80]}/{masked_secret(url.rstrip('/'))}"


def masked_secret(secret: str) -> str:
    """`…` and the last 4 characters; those of a short one not even that (AC-2)."""
    return "…" + secret[-4:] if len(secret) >= 12 else "…"


def _one_line(text: str, what: str) -> str:
    """Without surrounding blanks; refused if it has control characters: a line break there would begin a new header."""
    value = text.strip(" \t\r\n")
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in value):
        raise BadRecipient(f"There is a line break or another invisible character in {what}; type it anew.")
    if any(c.isspace() for c in value) and "telephone" not in what:
        raise BadRecipient(f"There is a blank in {what}; leave it out.")
    return value
