"""Types that the settings of several kinds share. What does not fit is one plain sentence at its field."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from alerting.channels.connecting import host_refusal
from alerting.recipients import (
    BadRecipient,
    clean_email,
    clean_host,
    clean_lines,
    clean_phone,
    clean_url,
)
from opsportal.observability.addresses import literal

T = TypeVar("T")
SECRET_MAX = 1_000


def _fits(clean: Callable[[Any], T]) -> Callable[[Any], T]:
    """`clean` as a validator whose sentence stands alone."""

    def check(value: Any) -> T:
        try:
            return clean(value)
        except BadRecipient as bad:
            raise refused(bad.sentence) from None

    return check


def refused(sentence: str) -> PydanticCustomError:
    """What a validator raises: the sentence and nothing else."""
    return PydanticCustomError("refused", sentence.replace("{", "(").replace("}", ")"))  # type: ignore[arg-type]


def allowed_host(text: str) -> str:
    """A host that messages may go to. Raises `BadRecipient`."""
    host = clean_host(text)
    if why := host_refusal(host):
        raise BadRecipient(why)
    return host


def allowed_url(text: str) -> str:
    """A web address that messages may go to. Raises `BadRecipient`."""
    url = clean_url(text)
    if why := host_refusal(_host_of(url)):
        raise BadRecipient(why)
    return url


def allowed_https_url(text: str) -> str:
    """The same with encryption; without it only to a private address that the settings allow (a test, a proxy)."""
    url = allowed_url(text)
    if url.startswith("http://"):
        host = _host_of(url)
        address = literal(host) or (ip_address("127.0.0.1") if host == "localhost" else None)
        if address is None or address.is_global:
            raise BadRecipient("The address must begin with https://: it is a secret, and would travel readable.")
    return url


def _host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def _secret_https_url(secret: SecretStr) -> SecretStr:
    return SecretStr(allowed_https_url(secret.get_secret_value()))


def _secret_url(secret: SecretStr) -> SecretStr:
    return SecretStr(allowed_url(secret.get_secret_value()))


def _optional_url(text: str) -> str:
    return allowed_https_url(text) if text.strip() else ""


def _secret(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value().strip()
    if len(value) > SECRET_MAX:
        raise BadRecipient(f"It is too long: at most {SECRET_MAX} characters.")
    if any(c.isspace() or not c.isprintable() for c in value):
        raise BadRecipient("It has a blank, a line break or an invisible character in it; copy it anew.")
    if not value.isascii():
        raise BadRecipient("It has letters that such a secret never has; copy it anew.")
    return SecretStr(value)


def _needed(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value():
        raise BadRecipient("This is needed.")
    return secret


def _password(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if len(value) > SECRET_MAX or any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise BadRecipient(f"A password has at most {SECRET_MAX} characters and no line break.")
    return secret


def _texts(value: Any) -> Any:
    """Lines of a list that are no text are refused before they are looked at."""
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        raise refused("Every line must be text.")
    return value


def _emails(values: list[str]) -> list[str]:
    return clean_lines(values, clean_email, "e-mail address")


def _phones(values: list[str]) -> list[str]:
    return clean_lines(values, clean_phone, "telephone number")


EmailAddress = Annotated[str, AfterValidator(_fits(clean_email))]
EmailAddresses = Annotated[list[str], BeforeValidator(_texts), AfterValidator(_fits(_emails))]
PhoneNumbers = Annotated[list[str], BeforeValidator(_texts), AfterValidator(_fits(_phones))]
#: A provider's own API at another address than the usual one; empty for the usual one.
ApiUrl = Annotated[str, AfterValidator(_fits(_optional_url))]
#: An address that lets whoever knows it send.
SecretUrl = Annotated[SecretStr, AfterValidator(_fits(_secret_url))]
SecretHttpsUrl = Annotated[SecretStr, AfterValidator(_fits(_secret_https_url))]
Secret = Annotated[SecretStr, AfterValidator(_fits(_secret))]
NeededSecret = Annotated[SecretStr, AfterValidator(_fits(_secret)), AfterValidator(_fits(_needed))]
Password = Annotated[SecretStr, AfterValidator(_fits(_password))]

__all__ = [
    "ApiUrl",
    "EmailAddress",
    "EmailAddresses",
    "NeededSecret",
    "Password",
    "PhoneNumbers",
    "Secret",
    "SecretHttpsUrl",
    "SecretUrl",
    "allowed_host",
    "allowed_url",
    "refused",
]
