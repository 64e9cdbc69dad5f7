"""The demo's outside world: a mail server and providers that answer as the real ones, and keep what they receive."""

from __future__ import annotations

import base64
import json
import smtplib
import socket
import urllib.error
import urllib.request
from email.message import EmailMessage
from random import Random
from typing import Any
from urllib.parse import urlencode

import pytest
import redis as redis_client

from alerting.models import Channel
from opsportal.demo import providers
from opsportal.demo.inbox import KEPT, KEY, Letter, Letterbox, newest
from opsportal.demo.roster import MAIL, PROVIDERS
from opsportal.demo.seeding import DESK_MAIL
from tests.demo.conftest import OPENER, Demo
from tests.waiting import until

SLACK = providers.SLACK_PATHS["#platform"]


def post(demo: Demo, path: str, body: Any, **headers: str) -> tuple[int, str]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{demo.ports[PROVIDERS]}{path}", raw, headers)
    try:
        with OPENER.open(request, timeout=10) as reply:
            return int(reply.status), reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def mail(to: str, subject: str = "Drawdown", text: str = "Acknowledge: http://127.0.0.1:8000/a/x") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "portal@demo.example", to, subject
    message["Message-ID"] = "<one@demo.example>"
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p>", subtype="html")
    return message


def test_mail__arrives__subject_and_text_are_kept(quiet_demo: Demo, redis: redis_client.Redis) -> None:
    """RUN-3: what a person would read, with its link, also where it is not ASCII."""
    with smtplib.SMTP("127.0.0.1", quiet_demo.ports[MAIL], timeout=10) as server:
        server.send_message(mail("desk@demo.example", subject="Rückgang 6,2 %"))
    [letter] = until(lambda: newest(redis, "email"))
    assert (letter.to, letter.subject, letter.accepted) == ("desk@demo.example", "Rückgang 6,2 %", True)
    assert letter.text == "Acknowledge: http://127.0.0.1:8000/a/x" and letter.key == "<one@demo.example>"


def test_mail__to_who_bounces__is_refused_for_good(quiet_demo: Demo) -> None:
    """RUN-3, AD-5: so that poison can be seen."""
    with smtplib.SMTP("127.0.0.1", quiet_demo.ports[MAIL], timeout=10) as server:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            server.send_message(mail("bounce@demo.example"))
    assert refused.value.recipients["bounce@demo.example"][0] == 550


def test_providers__each__takes_what_is_right_and_keeps_it(quiet_demo: Demo, redis: redis_client.Redis) -> None:
    """RUN-3: Slack, Twilio, SendGrid, PagerDuty and a webhook, with the answers that their clients look at."""
    blocks = [
        {"type": "section", "text": {"type": "mrkdwn", "text": "Open <http://127.0.0.1:8000/e|the event> &amp; go"}}
    ]
    assert post(quiet_demo, SLACK, {"text": "Drawdown", "blocks": blocks}) == (200, "ok")
    form = urlencode({"To": "+4915112345678", "From": "+15005550006", "Body": "Drawdown"}).encode()
    status, told = post(quiet_demo, _twilio_path(), form, Authorization=_basic(providers.TWILIO_TOKEN))
    assert status == 201 and json.loads(told)["sid"].startswith("SM")
    sendgrid = {"personalizations": [{"to": [{"email": "desk@demo.example"}], "subject": "Drawdown"}]}
    sendgrid["content"] = [{"type": "text/plain", "value": "6.2 %"}]  # type: ignore[list-item]
    key = f"Bearer {providers.SENDGRID_KEY}"
    assert post(quiet_demo, "/sendgrid/v3/mail/send", sendgrid, Authorization=key)[0] == 202
    event = {"routing_key": providers.PAGERDUTY_KEY, "event_action": "trigger", "dedup_key": "a1"}
    status, told = post(quiet_demo, "/pagerduty/v2/enqueue", {**event, "payload": {"summary": "6.2 %"}})
    assert status == 202 and json.loads(told)["dedup_key"] == "a1"
    assert post(quiet_demo, providers.HOOK_PATH, {"alert": 1}, **{"X-Opsportal-Signature": "v1=00"})[0] == 200
    until(lambda: len(newest(redis)) == 5)
    found = {letter.kind: letter for letter in newest(redis)}
    assert found["slack"].to == "#platform"
    assert found["slack"].text == "Open the event http://127.0.0.1:8000/e & go"
    assert found["sms"].to == "+4915112345678" and found["sms"].text == "Drawdown"
    assert found["email"].text == "6.2 %" and found["pagerduty"].subject == "trigger: a1"
    assert found["webhook"].subject == "JSON, signed" and '"alert": 1' in found["webhook"].text


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "said"),
    [
        (SLACK, b"{", {}, 400, "invalid_payload"),
        (SLACK, b"{}", {}, 400, "no_text"),
        ("/twilio/2010-04-01/Accounts/AC1/Messages.json", b"To=%2B1", {}, 401, "20003"),
        ("/sendgrid/v3/mail/send", b"{}", {"authorization": f"Bearer {providers.SENDGRID_KEY}"}, 400, "Bad Request"),
        ("/sendgrid/v3/mail/send", b"{}", {}, 401, "authorization"),
        ("/pagerduty/v2/enqueue", b'{"event_action": "shout"}', {}, 400, "invalid event"),
        (providers.HOOK_PATH, b"[1]", {}, 400, "not a JSON object"),
        ("/nobody", b"{}", {}, 404, "nothing lives"),
    ],
)
def test_provider__what_is_wrong__is_refused_as_the_real_one_does(
    path: str, body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    """RUN-3, AD-5: and nothing arrives."""
    reply, arrived = providers.answer(path, headers, body, Random(1))
    assert (reply.status, arrived) == (status, None) and said in reply.body


def test_twilio__number_that_is_none__is_21211() -> None:
    """AD-5: what the sender takes for a bad recipient."""
    form = urlencode({"To": providers.UNKNOWN_NUMBER, "Body": "x"}).encode()
    headers = {"authorization": _basic(providers.TWILIO_TOKEN)}
    reply, arrived = providers.answer(_twilio_path(), headers, form, Random(1))
    assert reply.status == 400 and json.loads(reply.body)["code"] == 21211 and arrived is None


def test_trouble__many__some_of_each_and_mostly_none() -> None:
    """RUN-3: a 429, a 500 or a late answer now and then."""
    chance = Random(2)
    drawn = [providers.trouble(chance) for _ in range(3000)]
    for kind, of_hundred in providers.TROUBLE.items():
        assert drawn.count(kind) == pytest.approx(30 * of_hundred, rel=0.5)
    throttled = providers.in_trouble("throttled")
    assert throttled is not None and throttled.headers["Retry-After"] == "3"
    assert providers.in_trouble("slow") is None


def test_inbox__many__the_newest_are_kept_and_nonsense_is_passed_over(redis: redis_client.Redis) -> None:
    """RUN-3: newest first, bounded."""
    box = Letterbox(redis)
    for number in range(KEPT + 20):
        box.put(Letter(str(number), "sms", "", "", "x" * 9000, ""))
        if number % 50 == 0:
            assert box.flush()
    box.flush()
    found = newest(redis)
    assert [letter.at for letter in found[:2]] == ["219", "218"] and len(found) == KEPT == redis.llen(KEY)
    assert len(found[0].text) == 4000
    redis.lpush(KEY, "{", '{"at": 1}')
    assert len(newest(redis)) == KEPT - 2


def test_inbox__redis_away__what_arrives_waits(redis_server: Any, redis: redis_client.Redis) -> None:
    """RUN-3: nothing that was taken is forgotten."""
    box = Letterbox(redis)
    box.put(Letter("1", "sms", "", "", "first", ""))
    with redis_server.stopped():
        assert not box.flush()
    box.put(Letter("2", "sms", "", "", "second", ""))
    until(box.flush)
    assert box.flush()
    assert [letter.text for letter in newest(redis)] == ["second", "first"]


def test_outside__killed__returns_by_itself_and_the_inbox_is_as_it_was(
    quiet_demo: Demo, redis: redis_client.Redis
) -> None:
    """RUN-3: what was received survives the process that received it."""
    post(quiet_demo, providers.HOOK_PATH, {"alert": 1})
    until(lambda: newest(redis))
    [outside] = [process for process in quiet_demo.family if "opsportal.demo.outside" in process.cmdline()]
    outside.kill()
    until(lambda: _answers(quiet_demo), what="it is back")
    post(quiet_demo, providers.HOOK_PATH, {"alert": 2})
    until(lambda: len(newest(redis)) == 2)


def test_outside__kill_and_start__by_the_command(quiet_demo: Demo) -> None:
    """RUN-3: an operator of the demo can make every provider fail, and end that."""
    assert "stay dead until `start outside`" in quiet_demo.ask("kill", "outside").lines[0]
    assert not _answers(quiet_demo)
    assert quiet_demo.ask("start", "outside").lines == ("The mail server and the providers run again.",)
    until(lambda: _answers(quiet_demo))
    assert quiet_demo.ask("start", "outside").lines == ("They run already.",)


def test_outside__port_taken__moves_and_the_portal_is_told(transactional_db: None, demo: Demo) -> None:
    """RUN-3: a stranger on a port; the file and the portal know where it is now."""
    demo.start("--pace=0")
    before = demo.ports[MAIL]
    demo.ask("kill", "outside")
    with socket.create_server(("127.0.0.1", before)):
        demo.ask("start", "outside")
        until(lambda: demo.ports[MAIL] != before and _answers(demo))
        until(lambda: Channel.objects.filter(name=DESK_MAIL, shown__icontains=str(demo.ports[MAIL])).exists())


def _answers(demo: Demo) -> bool:
    try:
        return post(demo, "/nobody", {})[0] == 404
    except OSError:
        return False


def _twilio_path() -> str:
    return f"/twilio/2010-04-01/Accounts/{providers.TWILIO_SID}/Messages.json"


def _basic(token: str) -> str:
    return "Basic " + base64.b64encode(f"{providers.TWILIO_SID}:{token}".encode()).decode()
