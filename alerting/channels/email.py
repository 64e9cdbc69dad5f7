"""E-mail: by SMTP or SendGrid, each taking over from the other where both are set (AD-1)."""

from __future__ import annotations

from typing import Literal

from django.core.mail import EmailMultiAlternatives
from pydantic import Field, SecretStr, ValidationInfo, field_validator

from alerting.channels.base import SEND_SECONDS, Answer, ChannelKind, ChannelSettings, Message, Recipient
from alerting.channels.connecting import Failed, attempt
from alerting.channels.fields import ApiUrl, EmailAddress, EmailAddresses, Password, Secret, allowed_host, refused
from alerting.channels.mail import mail_of
from alerting.channels.sendgrid import send_by_sendgrid
from alerting.channels.smtp import MailServer, send_by_smtp
from alerting.models import Outcome
from alerting.recipients import BadRecipient, masked_email, masked_secret, masked_url

#: What the first way may take of an attempt's time when there is a second one.
FIRST_SHARE = 0.6
_NAMES = {"smtp": "SMTP", "sendgrid": "SendGrid"}
_SECURITIES = {"starttls": "STARTTLS", "tls": "TLS", "none": "not encrypted"}


class EmailSettings(ChannelSettings):
    """Who gets mail, and how it is sent."""

    recipients: EmailAddresses = Field(title="Recipients", description="E-mail addresses, one a line.")
    sender: EmailAddress = Field(title="Sender", description="The address that the mail comes from.")
    transport: Literal["smtp", "sendgrid"] = Field(
        default="smtp", title="Sent by", description="What is tried first.", json_schema_extra={"words": {**_NAMES}}
    )
    fallback: Literal["none", "smtp", "sendgrid"] = Field(
        default="none",
        title="If that fails",
        description="Takes over at once when the first is down or refuses.",
        json_schema_extra={"words": {**_NAMES, "none": "nothing"}},
    )
    smtp_host: str = Field(
        default="", validate_default=True, title="Mail server", description="Its host, for example smtp.example.com."
    )
    smtp_port: int = Field(
        default=587, ge=1, le=65535, title="Port", description="587 for STARTTLS, 465 for TLS, 25 without encryption."
    )
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        title="Encryption",
        description="STARTTLS and TLS check the server's certificate.",
        json_schema_extra={"words": {**_SECURITIES}},
    )
    smtp_user: str = Field(default="", max_length=200, title="User", description="Empty: the server asks for none.")
    smtp_password: Password = Field(default="", validate_default=True, title="Password", description="Of that user.")
    sendgrid_api_key: Secret = Field(
        default="", validate_default=True, title="SendGrid API key", description="It needs “Mail Send”."
    )
    sendgrid_url: ApiUrl = Field(
        default="", title="SendGrid address", description="Empty: the usual one. For another region or a proxy."
    )

    @property
    def ways(self) -> tuple[str, ...]:
        """What is tried, in this order."""
        return (self.transport,) if self.fallback == "none" else (self.transport, self.fallback)

    @field_validator("fallback")
    @classmethod
    def _another_way(cls, value: str, info: ValidationInfo) -> str:
        if value == info.data.get("transport"):
            raise refused("This is what is tried first already. Choose the other one, or none.")
        return value

    @field_validator("smtp_host")
    @classmethod
    def _host(cls, value: str, info: ValidationInfo) -> str:
        if not value.strip():
            if _used("smtp", info):
                raise refused("Give the mail server's host name: mail is to be sent by SMTP.")
            return ""
        try:
            return allowed_host(value)
        except BadRecipient as bad:
            raise refused(bad.sentence) from None

    @field_validator("smtp_user")
    @classmethod
    def _user(cls, value: str, info: ValidationInfo) -> str:
        if any(ord(c) < 32 or ord(c) == 127 for c in value):
            raise refused("There is a line break or another invisible character in the user name.")
        if value and info.data.get("smtp_security") == "none":
            raise refused("Choose STARTTLS or TLS: without encryption the password could be read on its way.")
        return value

    @field_validator("smtp_password")
    @classmethod
    def _password(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        user = info.data.get("smtp_user")
        if user and not value.get_secret_value():
            raise refused("Give the user's password.")
        if user == "" and value.get_secret_value():
            raise refused("Give the user that the password belongs to.")
        return value

    @field_validator("sendgrid_api_key")
    @classmethod
    def _api_key(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if not value.get_secret_value() and _used("sendgrid", info):
            raise refused("Give SendGrid's API key: mail is to be sent by SendGrid.")
        return value


def _used(way: str, info: ValidationInfo) -> bool:
    return way in (info.data.get("transport"), info.data.get("fallback"))


class Email(ChannelKind):
    """Sends mail."""

    name = "email"
    title = "E-mail"
    Settings = EmailSettings
    recipient_limit = "email"

    def recipients(self, settings: EmailSettings) -> tuple[Recipient, ...]:
        """Each address."""
        return tuple(Recipient(address, masked_email(address)) for address in settings.recipients)

    def shown(self, settings: EmailSettings) -> dict[str, str]:
        """Masked addresses, the way, and the ends of the secrets."""
        shown = {
            "Recipients": ", ".join(recipient.shown for recipient in self.recipients(settings)),
            "Sender": masked_email(settings.sender),
            "Sent by": ", else ".join(_NAMES[way] for way in settings.ways),
        }
        if "smtp" in settings.ways:
            shown["Mail server"] = f"{settings.smtp_host}:{settings.smtp_port}, {_SECURITIES[settings.smtp_security]}"
            if password := settings.smtp_password.get_secret_value():
                shown["Password"] = masked_secret(password)
        if "sendgrid" in settings.ways:
            shown["SendGrid API key"] = masked_secret(settings.sendgrid_api_key.get_secret_value())
            if settings.sendgrid_url:
                shown["SendGrid address"] = masked_url(settings.sendgrid_url)
        return shown

    def send(self, settings: EmailSettings, recipient: str, message: Message) -> Answer:
        """One mail to one address, by the first way that takes it."""
        mail = mail_of(message, settings.sender, recipient)
        failures: list[tuple[str, Failed]] = []
        with attempt():
            for way in settings.ways:
                alone = len(failures) + 1 == len(settings.ways)
                try:
                    with attempt(SEND_SECONDS if alone else SEND_SECONDS * FIRST_SHARE):
                        answer = self._send_by(way, settings, mail, message.secrets)
                except Failed as failed:
                    failures.append((_NAMES[way], failed))
                    if not failed.elsewhere or failed.outcome == Outcome.UNKNOWN:
                        break  # nobody would do better, or it may have arrived
                else:
                    return _told(answer, _NAMES[way], failures)
        return _failed(failures)

    @staticmethod
    def _send_by(way: str, settings: EmailSettings, mail: EmailMultiAlternatives, secrets: tuple[str, ...]) -> Answer:
        if way == "sendgrid":
            return send_by_sendgrid(settings.sendgrid_api_key.get_secret_value(), settings.sendgrid_url, mail, secrets)
        server = MailServer(
            settings.smtp_host,
            settings.smtp_port,
            settings.smtp_security,
            settings.smtp_user,
            settings.smtp_password.get_secret_value(),
        )
        return send_by_smtp(server, mail, secrets)


def _told(answer: Answer, way: str, failures: list[tuple[str, Failed]]) -> Answer:
    """The answer, which says where the first way failed that another one took over."""
    if not failures:
        return answer
    before = " ".join(f"{name} failed: {failed.sentence}" for name, failed in failures)
    sentence = f"{way} took over. {answer.sentence} {before}"
    return Answer(answer.outcome, sentence[:300], answer.status_code, None, answer.provider_id)


#: Of several failures the first of these decides: an unknown one may have arrived; who asks to wait works, and says
#: when it takes mail again; who is down may be back soon.
_DECIDES = (Outcome.UNKNOWN, Outcome.THROTTLED, Outcome.TRANSIENT, Outcome.PERMANENT)


def _failed(failures: list[tuple[str, Failed]]) -> Answer:
    if len(failures) == 1:
        return failures[0][1].answer
    last = failures[-1][1]
    deciding = min((failed for _, failed in failures), key=lambda failed: _DECIDES.index(failed.outcome))
    if not last.elsewhere:  # what the second way says of the recipient holds for the first as well
        deciding = last
    share = 300 // len(failures) - 12
    sentence = " ".join(f"{name}: {failed.sentence[:share]}" for name, failed in failures)
    return Answer(deciding.outcome, sentence[:300], deciding.status_code, deciding.retry_after)
