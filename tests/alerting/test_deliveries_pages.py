"""The pages of deliveries: list, one with its attempts, poison by cause, retry and resolve."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerting.models import Channel, Delivery, Notice, Outcome, Status
from tests.alerting.operating import ADDRESS, a_message, an_alert, an_attempt, mail_channel, poison, signed_in, text

LIST = "/admin/alerting/deliveries/"
POISON = f"{LIST}poison/"


def shown(html: str) -> list[int]:
    """The deliveries of the table, in its order."""
    return [int(number) for number in re.findall(r'<a id="delivery-(\d+)"', html)]


def some_deliveries() -> dict[str, Delivery]:
    """One of each kind."""
    now, event = timezone.now(), an_alert(1)
    mail, slack = mail_channel(), Channel.objects.create(name="Chat", kind="slack", sealed="")
    later = now + timedelta(minutes=10)
    old = now - timedelta(days=2)
    return {
        "due": a_message(event, mail, "a@example.com"),
        "sending": a_message(event, mail, "b@example.com", lease=event.pk, due_at=later),
        "lost": a_message(event, mail, "c@example.com", lease=event.pk, due_at=old, taken_over=1),
        "failed": a_message(event, mail, "d@example.com", status=Status.FAILED, attempts=1, due_at=later),
        "limited": a_message(event, mail, "e@example.com", waits_for="channel", waits=2, due_at=later),
        "done": a_message(event, slack, "f", status=Status.DELIVERED, finished_at=now, recipient_shown="***wxyz"),
        "over": a_message(event, mail, "g@example.com", notice=Notice.RESOLVED),
        "poison": poison(event, mail, "h@example.com"),
        "old": a_message(an_alert(2, ago=2 * 86_400, summary="long ago"), mail, "i@example.com"),
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["old", "poison", "over", "done", "limited", "failed", "lost", "sending", "due"]),
        ("?status=waiting", ["old", "over", "limited", "failed", "lost", "sending", "due"]),
        ("?status=failed", ["failed"]),
        ("?status=delivered", ["done"]),
        ("?status=poison", ["poison"]),
        ("?kind=slack", ["done"]),
        ("?kind=SLACK", ["done"]),
        ("?channel={slack}", ["done"]),
        ("?notice=resolved", ["over"]),
        ("?recipient=wxyz", ["done"]),
        ("?recipient={hash}", ["due"]),
        ("?waits_for=channel", ["limited"]),
        ("?event={event}&status=delivered", ["done"]),
        ("?until={yesterday}", ["old"]),
        ("?since={yesterday}&status=poison", ["poison"]),
        ("?channel=0", []),
        ("?waits_for=digest", []),
    ],
)
def test_list__filter__shows_what_matches_newest_first(users: Any, query: str, found: list[str]) -> None:
    """AD-4: each filter."""
    made = some_deliveries()
    asked = query.format(
        slack=made["done"].channel_id,
        hash=made["due"].recipient_hash,
        event=made["due"].event_id,
        yesterday=f"{timezone.now() - timedelta(hours=24):%Y-%m-%dT%H:%M}",
    )
    html = text(signed_in(users.viewer), LIST + asked)
    assert shown(html) == [made[name].pk for name in found]


def test_list__says_what_each_waits_for(users: Any) -> None:
    """AD-12: nothing stands there without a reason."""
    some_deliveries()
    html = text(signed_in(users.viewer), LIST)
    for words in (
        "Due: the next dispatcher", "Being sent at this moment", "did not come back", "Waits for its next attempt",
        "Waits for the limit of the channel; waiting is no attempt", "Chat (slack)", "number",
    ):  # fmt: skip
        assert words in html, words


def test_list__recovery_before_its_alarm__says_what_it_waits_for(users: Any) -> None:
    """AD-12: it has no attempt behind it that a next one could follow."""
    later = timezone.now() + timedelta(minutes=5)
    a_message(an_alert(), mail_channel(), notice="resolved", due_at=later)
    assert "Waits until the alarm is delivered." in text(signed_in(users.viewer), LIST)


def test_list__filters__are_told_without_what_was_pasted(users: Any) -> None:
    """AC-5, AK-9: the line above the folded filters holds words, and no address or key."""
    channel = mail_channel("Desk & floor")
    html = text(signed_in(users.viewer), f"{LIST}?channel={channel.pk}&status=waiting&kind={ADDRESS}")
    told = re.search(r"fold__told[^>]*>([^<]*)<", html)
    assert told and told[1].startswith(": Status: waiting, Channel: Desk &amp; floor, Kind: ")
    assert "anna" not in told[1]


@pytest.mark.parametrize("path", ["retry/", "resolve/"])
def test_poison__address_of_a_form_opened__leads_to_the_poison(users: Any, path: str) -> None:
    """AD-10: it stands in the address bar after a form was sent; opening it does nothing."""
    answer = signed_in(users.operator).get(LIST + path)
    assert answer.status_code == 302 and answer["Location"] == f"{LIST}poison/"
    assert signed_in(users.operator).put(LIST + path).status_code == 405


def test_list__address_typed__leaves_the_address_bar(users: Any) -> None:
    """AC-5: looked for by its masked form; the page that answers has a clean address."""
    made = some_deliveries()
    Delivery.objects.filter(pk=made["done"].pk).update(recipient_shown="***@else.example")
    client = signed_in(users.viewer)
    answer = client.get(LIST, {"recipient": ADDRESS, "status": "waiting"})
    assert answer.status_code == 302 and "anna" not in answer["Location"]
    html = text(client, answer["Location"])
    assert "anna" not in html and made["due"].pk in shown(html) and made["done"].pk not in shown(html)


def test_list__pages__meet_and_are_not_counted(users: Any) -> None:
    """AD-4: keyset pages."""
    event, channel = an_alert(), mail_channel()
    made = [a_message(event, channel, f"{number}@example.com").pk for number in range(120)]
    client, path, seen = signed_in(users.viewer), LIST, []
    with CaptureQueriesContext(connection) as queries:
        while path:
            html = text(client, path)
            seen += shown(html)
            older = re.search(r'id="deliveries-older"[^>]*href="([^"]+)"', html)
            path = older[1].replace("&amp;", "&") if older else ""
    assert seen == made[::-1]
    asked = [query["sql"] for query in queries if "alerting_delivery" in query["sql"]]
    assert asked and not any("OFFSET" in sql or "COUNT(*)" in sql.upper() for sql in asked)
    newer = re.search(r'id="deliveries-newer"[^>]*href="([^"]+)"', html)
    assert newer and shown(text(client, newer[1].replace("&amp;", "&"))) == made[::-1][50:100]


@pytest.mark.parametrize(
    "query",
    ["?status=x", "?channel=abc", "?notice=%00", "?event=abc", "?kind=a%20b", "?since=never", "?recipient=a%00b",
     "?waits_for=x", "?channel=99999999999999999999999", "?recipient=" + "x" * 3_000],
)  # fmt: skip
def test_list__filter_that_makes_no_sense__is_named(users: Any, query: str) -> None:
    """Q-5."""
    assert "Nothing was looked for. Correct what is marked" in text(signed_in(users.viewer), LIST + query)


def test_list__place_that_is_none__is_the_newest_page(users: Any) -> None:
    """Q-5."""
    delivery = a_message(an_alert(), mail_channel())
    for place in ("x", "-1", "9" * 40, "%00", "²"):
        for name in ("before", "after"):
            assert shown(text(signed_in(users.viewer), f"{LIST}?{name}={place}")) == [delivery.pk]


def test_delivery__page__tells_every_attempt(users: Any) -> None:
    """AD-4: when, how long, outcome, the provider's answer, next try; late ones say what that means."""
    event, channel = an_alert(summary="Broker down"), mail_channel()
    delivery = a_message(event, channel, attempts=2, taken_over=1, waits=3, provider_id="msg-17")
    member = a_message(an_alert(2, summary="Also told"), channel, merged_into=delivery.pk)
    now = timezone.now()
    an_attempt(delivery, outcome=Outcome.THROTTLED, answer="Slow down", status_code=429, next_at=now, duration_ms=90)
    an_attempt(delivery, outcome=Outcome.UNKNOWN, answer="", status_code=None, number=2, duration_ms=10_020, late=True)
    client = signed_in(users.viewer)
    html = text(client, f"{LIST}{delivery.pk}/")
    for words in (
        "Broker down", "the provider asks to wait", "Slow down", "code 429", "took 90 ms", "took 10.0 s", "no answer",
        "may have been a duplicate", "3 times", "msg-17", "Also told", delivery.dedup_key,
    ):  # fmt: skip
        assert words in html, words
    assert "Retry" not in html, "nothing to retry"
    assert "digest of <a" in text(client, f"{LIST}{member.pk}/")


@pytest.mark.parametrize("number", ["0", "999999", "9" * 30])
def test_delivery__unknown__is_not_found(users: Any, number: str) -> None:
    """Q-5."""
    assert signed_in(users.viewer).get(f"{LIST}{number}/").status_code == 404


def test_poison__page__groups_by_cause_the_newest_first(users: Any) -> None:
    """AD-10: headings with counts; at most twenty of each are listed, the rest is counted."""
    channel = mail_channel()
    poison(an_alert(), channel, outcome="Refused: wrong password.")
    many = [poison(an_alert(number), channel) for number in range(23)]
    poison(an_alert(), channel, settled_at=timezone.now(), outcome="Dealt with.")
    html = text(signed_in(users.operator), POISON)
    headings = [
        (re.sub(r"<[^>]+>", " ", heading).split()[0], "mailbox" in heading)
        for heading in re.findall(r'<h2 class="card__title poison__cause".*?</h2>', html, re.DOTALL)
    ]
    assert headings == [("23", True), ("1", False)]
    assert "Dealt with." not in html and "and 3 more of the same cause" in html and "Retry all 23" in html
    assert shown(html)[:20] == [row.pk for row in many[::-1]][:20]


def test_poison__viewer__sees_it_and_is_offered_nothing(users: Any) -> None:
    """RBAC-1."""
    delivery = poison(an_alert(), mail_channel())
    client = signed_in(users.viewer)
    html = text(client, POISON)
    assert "The mailbox does not exist." in html and '<button class="btn' not in html.split("</nav>")[-1]
    for path in ("retry/", "resolve/"):
        assert client.post(LIST + path, {"delivery": delivery.pk, "note": "x"}).status_code == 403


def test_poison__chosen__are_retried(users: Any) -> None:
    """AD-10."""
    event, channel = an_alert(), mail_channel()
    chosen, other = poison(event, channel), poison(event, channel, "b@example.com")
    answer = signed_in(users.operator).post(f"{LIST}retry/", {"delivery": [chosen.pk]}, follow=True)
    assert "1 delivery will be tried again" in answer.content.decode()
    assert [Delivery.objects.get(pk=row.pk).status for row in (chosen, other)] == ["pending", "poison"]


def test_poison__all_of_a_cause__is_retried_as_the_page_offers(users: Any) -> None:
    """AD-10: by the page's own hidden fields."""
    channel = mail_channel()
    rows = [poison(an_alert(number), channel, outcome='He said "no" & left') for number in range(3)]
    client = signed_in(users.operator)
    html = text(client, POISON)
    fields = dict(re.findall(r'name="(kind|outcome|newest)" value="([^"]*)"', html))
    fields["outcome"] = fields["outcome"].replace("&quot;", '"').replace("&amp;", "&")
    answer = client.post(f"{LIST}retry/", fields, follow=True)
    assert "3 deliveries will be tried again" in answer.content.decode()
    assert {Delivery.objects.get(pk=row.pk).status for row in rows} == {"pending"}


def test_poison__resolve__asks_how_first(users: Any) -> None:
    """AD-10: two steps; without a note nothing happens."""
    event, channel = an_alert(), mail_channel()
    rows = [poison(event, channel, f"{number}@example.com") for number in range(2)]
    numbers, client = [row.pk for row in rows], signed_in(users.operator)
    asked = client.post(f"{LIST}resolve/", {"delivery": numbers})
    html = asked.content.decode()
    assert asked.status_code == 200 and all(f'name="delivery" value="{number}"' in html for number in numbers)
    refused = client.post(f"{LIST}resolve/", {"delivery": numbers, "note": " "})
    assert refused.status_code == 422 and "Give a reason" in refused.content.decode()
    assert not Delivery.objects.filter(settled_at__isnull=False).exists()
    done = client.post(f"{LIST}resolve/", {"delivery": numbers, "note": "told by phone"}, follow=True)
    assert "2 deliveries resolved" in done.content.decode() and "No delivery needs a person" in done.content.decode()


def test_delivery__retried_from_its_page__leads_back_to_it(users: Any) -> None:
    """AD-10."""
    delivery = poison(an_alert(), mail_channel())
    client = signed_in(users.operator)
    assert "Retry" in text(client, f"{LIST}{delivery.pk}/")
    answer = client.post(f"{LIST}retry/", {"delivery": delivery.pk, "from": "delivery"})
    assert answer["Location"] == f"{LIST}{delivery.pk}/"
    again = client.post(f"{LIST}retry/", {"delivery": delivery.pk, "from": "delivery"})
    assert again.status_code == 409 and "None of these is poisoned any more" in again.content.decode()


def test_poison__trip_of_the_breaker__says_what_retrying_does(users: Any) -> None:
    """AL-5: nobody halts trading by a word they did not read."""
    delivery = poison(an_alert(), mail_channel(), kind="breaker", recipient_shown="circuit breaker")
    client = signed_in(users.operator)
    for path in (POISON, f"{LIST}{delivery.pk}/"):
        html = text(client, path)
        assert "trips the circuit breaker: trading is halted" in html and "Trip the breaker" in html


@pytest.mark.parametrize(
    "data",
    [
        {}, {"delivery": ["x", "-1", "1.5", "", "9" * 50]}, {"kind": "email", "outcome": "x", "newest": "no"},
        {"kind": "e\x00", "outcome": "\x00", "newest": "5"}, {"kind": "email", "outcome": "\x00" * 400, "newest": "5"},
        {"delivery": [str(number) for number in range(1, 1000)]}, {"delivery": "5", "note": "a\x00b"},
    ],
    ids=["nothing", "no numbers", "no number", "nul", "long", "unknown", "note"],
)  # fmt: skip
def test_actions__nonsense__is_refused_in_words(users: Any, data: Any) -> None:
    """Q-5."""
    client = signed_in(users.operator)
    for path in ("retry/", "resolve/"):
        answer = client.post(
            LIST + path, {**data, **({"note": "why"} if path == "resolve/" and "note" not in data else {})}
        )
        assert answer.status_code in (409, 422), path


def test_delivery__waits_for_its_recipients_hour__says_that_critical_ones_wait_too(users: Any) -> None:
    """AD-6: whoever waits for a critical message must learn why it does not come."""
    later = timezone.now() + timedelta(minutes=20)
    row = a_message(an_alert(severity=0), mail_channel(), waits=1, waits_for="recipient", due_at=later)
    for path in (LIST, f"{LIST}{row.pk}/"):
        assert "critical ones are held, too" in text(signed_in(users.viewer), path)


@pytest.mark.parametrize(("waits_for", "offered"), [("provider", True), ("channel", False), ("key", False)])
def test_delivery__waits_for_its_provider__can_be_tried_now(users: Any, waits_for: str, offered: bool) -> None:
    """AD-5, AD-10: whoever knows better than the provider need not wait for it; a limit is nobody's to end."""
    later = timezone.now() + timedelta(hours=5)
    row = a_message(an_alert(), mail_channel(), waits=1, waits_for=waits_for, due_at=later)
    client = signed_in(users.operator)
    html = text(client, f"{LIST}{row.pk}/")
    assert ("Try now all that waits for this provider" in html) is offered
    assert ("FIELD_ENCRYPTION_KEYS" in html) is (waits_for == "key")
    answer = client.post(f"{LIST}retry/", {"delivery": str(row.pk), "from": "delivery"})
    assert answer.status_code == (302 if offered else 409)
    row.refresh_from_db()
    assert (row.due_at <= timezone.now()) is offered
    assert "Try now" not in text(signed_in(users.viewer), f"{LIST}{row.pk}/")
