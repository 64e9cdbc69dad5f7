"""A mail server, as good or as bad as a test wants it (aiosmtpd)."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import threading
from collections import deque
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.alerting.providers.web import TLS

USER, PASSWORD = "portal", "right horse"


@dataclass(frozen=True)
class Mail:
    """One mail as it came in."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    #: Whether the connection was encrypted, and who had signed in.
    encrypted: bool
    user: str

    @property
    def message(self) -> EmailMessage:
        """Parsed."""
        parsed = email.message_from_bytes(self.content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    def text(self, subtype: str = "plain") -> str:
        """Its body of this kind."""
        part = self.message.get_body((subtype,))
        return str(part.get_content()) if part else ""


@dataclass
class MailServer:
    """`recipient` and `data`: what the next commands are answered with; a text, seconds to wait, or "reset"."""

    tls: bool = False
    demands_sign_in: bool = False
    received: list[Mail] = field(default_factory=list)
    recipient: deque[str | float] = field(default_factory=deque)
    data: deque[str | float] = field(default_factory=deque)
    port: int = 0

    def start(self) -> None:
        """Listen."""
        options: dict[str, Any] = {"authenticator": self._authenticate, "auth_require_tls": self.tls}
        if self.tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(TLS / "good.pem")
            options |= {"tls_context": context, "require_starttls": True}
        if self.demands_sign_in:
            options["auth_required"] = True
        begun = threading.Event()
        self._loop, self._stop = asyncio.new_event_loop(), asyncio.Event()

        async def serve() -> None:
            server = await self._loop.create_server(
                lambda: SMTP(self, loop=self._loop, hostname="mail.test", **options), "127.0.0.1", 0
            )
            self.port = int(server.sockets[0].getsockname()[1])
            begun.set()
            await self._stop.wait()
            server.close()
            for _ in range(5):  # what was accepted just now becomes a connection, which can be closed
                await asyncio.sleep(0)
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0)

        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(serve(),), daemon=True)
        self._thread.start()
        assert begun.wait(10)

    def stop(self) -> None:
        """Stop listening. Safe to call twice."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Takes the recipient, or what was planned."""
        answer = await self._planned(server, self.recipient)
        if answer is None:
            envelope.rcpt_tos.append(address)
            return "250 OK"
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Takes the mail, or what was planned."""
        answer = await self._planned(server, self.data)
        if answer is None or answer.startswith("2"):
            assert isinstance(envelope.content, bytes)
            login = session.auth_data.login.decode() if session.authenticated and session.auth_data else ""
            encrypted = session.ssl is not None
            sender, to = envelope.mail_from or "", tuple(envelope.rcpt_tos)
            self.received.append(Mail(sender, to, envelope.content, encrypted, login))
        return answer or "250 2.0.0 queued as 4XyZ12"

    @staticmethod
    async def _planned(server: SMTP, plan: deque[str | float]) -> str | None:
        if not plan:
            return None
        step = plan.popleft()
        if isinstance(step, float | int):
            await asyncio.sleep(step)
            return None
        if step == "reset":
            transport: Any = server.transport
            transport.abort()
            return "421 gone"
        return step

    @staticmethod
    def _authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
        fine = isinstance(given, LoginPassword) and given.login == USER.encode() and given.password == PASSWORD.encode()
        return AuthResult(success=fine, handled=False, auth_data=given)
