"""Recipients made uniform, refused in plain words, and masked."""

from __future__ import annotations

import pytest
from django.test import override_settings

from alerting import keys
from alerting.recipients import (
    BadRecipient,
    clean_email,
    clean_lines,
    clean_phone,
    clean_url,
    masked_email,
    masked_phone,
    masked_secret,
    masked_url,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Ops@Example.COM", "ops@example.com"),
        ("  ops@example.com\t", "ops@example.com"),
        ("ops+desk@example.co.uk", "ops+desk@example.co.uk"),
        ("o.p_s-1@sub.example.com", "o.p_s-1@sub.example.com"),
        ("ops@müller.example", "ops@xn--mller-kva.example"),
        ("ops@xn--mller-kva.example", "ops@xn--mller-kva.example"),
        ("ops@desk.test", "ops@desk.test"),
    ],
)
def test_email__any_spelling__becomes_one(text: str, address: str) -> None:
    """AD-3: one person, one key; domains in ASCII."""
    assert clean_email(text) == address


@override_settings(ALERT_RECIPIENT_HASH_SECRET="secret")
def test_email__cleaned__has_the_hash_of_the_specification() -> None:
    """AD-9: the example."""
    assert keys.recipient_hash("email", clean_email("OPS@example.com")) == "e6276c486755af55"


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "ops", "@example.com", "ops@", "ops@@example.com", "ops@example", "ops@exa mple.com", "ops@-example.com",
        "ops@example.com\nBcc: evil@example.org", "ops@example.com\r\n\r\nbody", "ops@example.com\x00", "a\u2028@example.com",
        "ops\u202e@example.com", "ops@example.com,other@example.com", "Ops <ops@example.com>", '"a b"@example.com',
        "ops(desk)@example.com", "ops@[127.0.0.1]", "опс@example.com", "x" * 65 + "@example.com", "ops@" + "a" * 250 + ".com",
        "\ud800@example.com", "ops@example..com", "o" * 1_000_000,
    ],
)  # fmt: skip
def test_email__bad__is_a_sentence_without_it(text: str) -> None:
    """AD-1: bad recipients and header injection are refused in plain words, which repeat nothing personal."""
    with pytest.raises(BadRecipient) as caught:
        clean_email(text)
    assert caught.value.sentence.endswith(".") and len(caught.value.sentence) < 200
    assert len(text.strip()) < 14 or text not in caught.value.sentence


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+44 20 7946 0958", "+442079460958"),
        ("+1 (212) 555-2368", "+12125552368"),
        ("+49-30-901820", "+4930901820"),
        ("+442079460958 ", "+442079460958"),
    ],
)
def test_phone__any_spelling__becomes_one(text: str, number: str) -> None:
    """AD-3: E.164."""
    assert clean_phone(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "5551234", "0207 946 0958", "+", "+1", "+1 555", "+999123456789", "+1 555 000 0000 0000", "+44 20 7946 0958 ext. 5",
     "+44207946\n0958", "+44207946\x000958", "abc", "+abc", "9" * 100_000, "+" + "9" * 400],
)  # fmt: skip
def test_phone__bad__is_a_sentence_without_it(text: str) -> None:
    """AD-1: a bad telephone number is refused in plain words."""
    with pytest.raises(BadRecipient) as caught:
        clean_phone(text)
    assert caught.value.sentence.endswith(".") and (len(text) < 4 or text not in caught.value.sentence)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("HTTPS://Hooks.Example.COM/AbC?x=Y", "https://hooks.example.com/AbC?x=Y"),
        ("https://example.com", "https://example.com/"),
        ("https://example.com:8443/a?", "https://example.com:8443/a?"),
        ("http://[2606:4700::1111]:80/", "http://[2606:4700::1111]:80/"),
        ("https://müller.example/x", "https://xn--mller-kva.example/x"),
        ("https://STRAßE.example/x", "https://xn--strae-oqa.example/x"),
    ],
)
def test_url__any_spelling__becomes_one(text: str, url: str) -> None:
    """AD-3: scheme and host; the rest is the receiver's."""
    assert clean_url(text) == url


@pytest.mark.parametrize(
    "text",
    ["", "example.com", "ftp://example.com/", "file:///etc/passwd", "https://", "https:///x", "https://user:pw@example.com/",
     "https://user@example.com/", "https://example.com/#x", "https://exa mple.com/", "https://example.com/a b",
     "https://example.com/\r\nHost: x", "https://example.com/\x00", "https://example.com:99999/", "https://example.com:x/",
     "https://[::1/", "https://ex_ample!.com/", "https://example.com/é", "https://example.com/" + "x" * 2_000, "javascript:alert(1)",
     "https://\ud800.com/", "https://a..b/"],
)  # fmt: skip
def test_url__bad__is_a_sentence_without_it(text: str) -> None:
    """AD-1: bad addresses are refused in plain words; an address may be a secret, so none is repeated."""
    with pytest.raises(BadRecipient) as caught:
        clean_url(text)
    assert caught.value.sentence.endswith(".") and (len(text) < 9 or text not in caught.value.sentence)


def test_lines__one_is_bad__names_its_line() -> None:
    """AD-1: among fifty, the line that is wrong."""
    with pytest.raises(BadRecipient, match=r"^Line 2: This is no e-mail address: it has no @\.$"):
        clean_lines(["ops@example.com", "nobody"], clean_email, "e-mail address")


def test_lines__same_twice__is_one() -> None:
    """AD-3: one person gets one message."""
    assert clean_lines(["Ops@example.com", "ops@EXAMPLE.com"], clean_email, "e-mail address") == ["ops@example.com"]


def test_lines__too_many__is_a_sentence() -> None:
    """AD-1: a bound on one channel."""
    with pytest.raises(BadRecipient, match="At most 100"):
        clean_lines([f"a{n}@example.com" for n in range(101)], clean_email, "e-mail address")


def test_masked__everything__shows_what_it_may() -> None:
    """AC-2, AC-5: `***@domain.com`, `***1234`, the last 4 characters of a secret and of a webhook."""
    assert masked_email("ops@example.com") == "***@example.com"
    assert masked_phone("+442079460958") == "***0958"
    assert masked_secret("0123456789abcdef") == "…cdef" and masked_secret("short") == "…"
    assert masked_url("https://hooks.slack.com/services/T0/B0/abcdefgh") == "hooks.slack.com/…efgh"
    assert len(masked_url("https://" + "a" * 60 + "." + "b" * 60 + ".com/x")) <= 100
