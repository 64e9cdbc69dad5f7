"""Mail by SendGrid: anymail's backend over guarded, timed connections."""

from __future__ import annotations

from typing import Any

import requests
from anymail.backends.base_requests import AnymailRequestsBackend
from anymail.backends.sendgrid import EmailBackend
from anymail.exceptions import AnymailError, AnymailRequestsAPIError
from django.core.mail import EmailMultiAlternatives
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from alerting.channels.answering import judge
from alerting.channels.base import SEND_SECONDS, Answer
from alerting.channels.connecting import Failed, attempt
from alerting.channels.http import Reply, exchange
from alerting.models import Outcome

API_URL = "https://api.sendgrid.com/v3/"


class _Adapter(BaseAdapter):
    """What requests sends goes out as everything else does."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        body = request.body if isinstance(request.body, str | bytes) else b""
        headers = {name: _text(value) for name, value in request.headers.items()}
        reply = exchange(
            request.url or "",
            body.encode() if isinstance(body, str) else body,
            headers | {"Accept-Encoding": "identity"},
            method=request.method or "POST",
        )
        response = requests.Response()
        response.status_code, response.url, response.request = reply.status, request.url or "", request
        response.headers = CaseInsensitiveDict(reply.headers)
        response._content = reply.body
        return response

    def close(self) -> None:
        """The connections belong to all."""


class _Session(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.mount("https://", _Adapter())
        self.mount("http://", _Adapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None is followed."""


class _Backend(EmailBackend):
    def __init__(self, api_key: str, api_url: str) -> None:
        # Not the parent's own: it only reads Django's settings, and warns that SendGrid is little tested by anymail.
        self.api_key, self.generate_message_id, self.merge_field_format = api_key, True, None
        AnymailRequestsBackend.__init__(self, api_url if api_url.endswith("/") else f"{api_url}/", timeout=SEND_SECONDS)

    def create_session(self) -> requests.Session:
        return _Session()


def send_by_sendgrid(api_key: str, api_url: str, mail: EmailMultiAlternatives, secrets: tuple[str, ...] = ()) -> Answer:
    """Hand the mail to SendGrid. `secrets`: what of the mail nobody may read in its answer. Raises `Failed`."""
    secrets = (api_key, *mail.to, *secrets)
    with attempt():
        try:
            _Backend(api_key, api_url or API_URL).send_messages([mail])
        except AnymailRequestsAPIError as error:
            if error.response is None:
                raise Failed(Outcome.PERMANENT, "SendGrid cannot be asked at this address.") from None
            raise _failure(_reply(error.response), secrets) from None
        except (AnymailError, requests.RequestException, ValueError):
            raise Failed(Outcome.PERMANENT, "The mail cannot be given to SendGrid in its form.") from None
    status: Any = mail.anymail_status  # type: ignore[attr-defined]
    return judge(_reply(status.esp_response), "SendGrid", provider_id=_message_id(status.esp_response))


def _failure(reply: Reply, secrets: tuple[str, ...]) -> Failed:
    answer = judge(reply, "SendGrid", secrets=secrets)
    # A fault of the recipient lies in the personalizations; any other may not be there on another way.
    about_address = reply.status == 400 and b"personalizations" in reply.body
    return Failed(
        answer.outcome,
        answer.sentence,
        status_code=answer.status_code,
        retry_after=answer.retry_after,
        elsewhere=not about_address,
    )


def _reply(response: requests.Response) -> Reply:
    return Reply(response.status_code, response.headers, response.content)


def _message_id(response: requests.Response) -> str:
    return str(response.headers.get("X-Message-Id", ""))[:200]


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
