"""Mail by SMTP: Django's backend over guarded, timed connections, and what a mail server's answers mean."""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend

from alerting.channels.answering import SAID_MAX, own_words, unescaped
from alerting.channels.base import Answer
from alerting.channels.connecting import Failed, attempt, connect, mark_sent, tls_context, was_sent
from alerting.models import Outcome
from opsportal.observability.sanitise import MASK

#: How long the goodbye of a server that has taken the mail is waited for.
GOODBYE_SECONDS = 0.5
#: Enhanced codes (RFC 3463) that are about the recipient's address: 5.1 but for those about the sender's, and 5.2.
#: Anything else, and what has no such code, may be policy, which another way may not have.
_ABOUT_ADDRESS = re.compile(r"5\.(?:1\.(?![78]\b)|2\.)")


@dataclass(frozen=True)
class MailServer:
    """Where mail goes out. `security`: "starttls", "tls" or "none"."""

    host: str
    port: int
    security: str
    user: str
    password: str


class _Guarded(smtplib.SMTP):
    """Connects to allowed addresses only, and knows whether the mail itself went out."""

    said = ""

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        return connect(host, port)

    def send(self, s: Any) -> None:
        super().send(s)
        if isinstance(s, bytes):  # commands are text, only the mail itself is bytes
            mark_sent()

    def data(self, msg: Any) -> tuple[int, bytes]:
        code, text = super().data(msg)
        self.said = text.decode("utf-8", "replace")
        return code, text


class _GuardedTls(smtplib.SMTP_SSL, _Guarded):
    """The same, encrypted from the first byte: `SMTP_SSL` asks the next class for its socket."""


class _Backend(EmailBackend):
    said = ""

    @property
    def connection_class(self) -> Any:
        return _GuardedTls if self.use_ssl else _Guarded

    @property
    def ssl_context(self) -> ssl.SSLContext:  # type: ignore[override]
        return tls_context()

    def _send(self, email_message: Any) -> bool:
        done = bool(super()._send(email_message))  # type: ignore[misc]
        self.said = getattr(self.connection, "said", "")
        return done

    def _close_connection(self, connection: Any) -> None:
        with suppress(OSError, smtplib.SMTPException):
            with attempt(GOODBYE_SECONDS):
                connection.quit()
        connection.close()


@dataclass(frozen=True)
class _Unsaid:
    """What nobody may read in the server's words: whom the mail is about, and secrets in it."""

    people: Collection[str]
    secrets: Collection[str] = ()


def send_by_smtp(server: MailServer, mail: EmailMultiAlternatives, secrets: Collection[str] = ()) -> Answer:
    """Hand the mail to the server. `secrets`: what of the mail nobody may read in its answer. Raises `Failed`."""
    unsaid = _Unsaid((*mail.to, mail.from_email, server.user), secrets)
    backend = _Backend(
        host=server.host,
        port=server.port,
        username=server.user,
        password=server.password,
        use_tls=server.security == "starttls",
        use_ssl=server.security == "tls",
        timeout=None,
    )
    with attempt():
        try:
            backend.send_messages([mail])
        except Failed:
            raise
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise _failure(error, unsaid) from None
        finally:
            backend.close()  # what refused to let us in is still open
    said = _words(backend.said, unsaid, limit=120)
    return Answer(Outcome.DELIVERED, f"The mail server took it{f': {said}' if said else '.'}", 250, None, said[:200])


def _words(said: bytes | str, unsaid: _Unsaid, limit: int = SAID_MAX) -> str:
    """What the server says, without the addresses of these people, the part before the @, user names and secrets."""
    text = unescaped(said if isinstance(said, str) else said.decode("utf-8", "replace"))
    names = {name for person in unsaid.people for name in (person, person.partition("@")[0]) if len(name) > 1}
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", MASK, text, flags=re.IGNORECASE)
    return own_words(text, unsaid.secrets, limit)


def _failure(error: Exception, unsaid: _Unsaid) -> Failed:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()), (550, b""))
        return _refused("refused the recipient", code, said, unsaid)
    if isinstance(error, smtplib.SMTPSenderRefused):
        return _refused("refused the sender", error.smtp_code, error.smtp_error, unsaid)
    if isinstance(error, smtplib.SMTPDataError):
        return _refused("refused the mail", error.smtp_code, error.smtp_error, unsaid)
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return _refused("refused user name or password", error.smtp_code, error.smtp_error, unsaid)
    if isinstance(error, smtplib.SMTPResponseException):
        return _refused("refused the connection", error.smtp_code, error.smtp_error, unsaid)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        words = "The mail server does not offer what is set: STARTTLS, or signing in."
        return Failed(Outcome.PERMANENT, words)
    if type(error) is smtplib.SMTPException:  # what smtplib says when it knows none of the ways that are offered
        return Failed(Outcome.PERMANENT, "The mail server offers no way to sign in that the portal knows.")
    if isinstance(error, ssl.SSLCertVerificationError):
        words = "The mail server's certificate is not accepted: expired, for another name, or of an unknown authority."
        return Failed(Outcome.PERMANENT, words)
    if isinstance(error, ssl.SSLError):
        return Failed(Outcome.TRANSIENT, "No encrypted connection to the mail server could be agreed on.")
    if was_sent():
        words = "The mail went out, but the mail server did not say that it took it. It may have arrived all the same."
        return Failed(Outcome.UNKNOWN, words, elsewhere=False)
    if isinstance(error, TimeoutError):
        return Failed(Outcome.TRANSIENT, "The mail server did not answer in time.")
    if isinstance(error, ValueError | UnicodeError):
        return Failed(Outcome.PERMANENT, "The mail has characters that no mail server takes.", elsewhere=False)
    return Failed(Outcome.TRANSIENT, "The mail server broke the connection.")


def _refused(what: str, code: int, said: bytes | str, unsaid: _Unsaid) -> Failed:
    words = _words(said, unsaid)
    sentence = f"The mail server {what} ({code}){f': {words}' if words else '.'}"
    if not 500 <= code < 600:
        return Failed(Outcome.TRANSIENT, sentence, status_code=code)
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    about_address = _ABOUT_ADDRESS.match(text) is not None
    return Failed(Outcome.PERMANENT, sentence, status_code=code, elsewhere=not about_address)
