"""The pages of events: history, one event, and its two actions; no address but masked ones anywhere."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerting.models import Event, EventState, Outcome, Rule, Severity, Status
from opsportal.audit.models import Entry
from tests.alerting.operating import ADDRESS, a_message, an_alert, an_attempt, mail_channel, poison, signed_in, text

EVENTS = "/admin/alerting/events/"


def summaries(html: str) -> list[str]:
    """The alerts of the table, in its order."""
    return re.findall(r'<a id="event-[^"]+"[^>]*>([^<]+)</a>', html)


def some_events() -> None:
    """One of each kind."""
    rule = Rule.objects.create(name="Drawdown", metric="drawdown", comparison="gt", threshold=0.05)
    now = timezone.now()
    an_alert(1, ago=100, rule_id=rule.pk, rule_name="Drawdown", severity=0, summary="critical one", labels={"a": "1"})
    an_alert(2, ago=200, rule_id=None, summary="taken up", state=EventState.ACKNOWLEDGED, acknowledged_at=now,
             acknowledged_by="anna", origin="prometheus", labels={"a": "1", "b": "2"})  # fmt: skip
    an_alert(3, ago=300, summary="held back", muted_by="silence:7", notified_at=None)
    an_alert(4, ago=400, summary="waits", state=EventState.PENDING, triggered_at=None)
    an_alert(5, ago=500, summary="over", state=EventState.RESOLVED, resolved_at=now, acknowledged_at=now,
             acknowledged_by="anna")  # fmt: skip
    an_alert(6, ago=90_000, summary="yesterday", severity=2)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["critical one", "taken up", "held back", "waits", "over", "yesterday"]),
        ("?severity=critical", ["critical one"]),
        ("?state=open", ["critical one", "taken up", "held back", "yesterday"]),
        ("?state=firing", ["critical one", "held back", "yesterday"]),
        ("?state=pending", ["waits"]),
        ("?state=acknowledged", ["taken up"]),
        ("?state=resolved", ["over"]),
        ("?acknowledged=yes", ["taken up", "over"]),
        ("?acknowledged=no&state=open", ["critical one", "held back", "yesterday"]),
        ("?muted=yes", ["held back"]),
        ("?origin=prometheus", ["taken up"]),
        ("?rule=none", ["taken up"]),
        ("?rule={rule}", ["critical one"]),
        ("?label=a%3D1", ["critical one", "taken up"]),
        ("?label=b%20%3D%202", ["taken up"]),
        ("?until={day_ago}", ["yesterday"]),
        ("?since={day_ago}&severity=info", []),
    ],
)
def test_history__filter__shows_what_matches_newest_first(users: Any, query: str, found: list[str]) -> None:
    """AL-9: each filter; what it finds in the order of time."""
    some_events()
    day_ago = f"{timezone.now() - timedelta(hours=24):%Y-%m-%dT%H:%M}"
    rule = Rule.objects.get(name="Drawdown").pk
    html = text(signed_in(users.viewer), EVENTS + query.format(day_ago=day_ago, rule=rule))
    assert summaries(html) == found
    assert ("No event matches" in html) == (not found)


def test_history__pages__meet_without_gap_or_overlap(users: Any) -> None:
    """AL-9: 50 a page by place, never by count; equal times do not hide anything."""
    at = timezone.now() - timedelta(minutes=5)
    for number in range(120):
        an_alert(number, started_at=at + timedelta(seconds=number // 40), summary=f"n{number}")
    client = signed_in(users.viewer)
    seen: list[str] = []
    path = f"{EVENTS}?state=firing"
    with CaptureQueriesContext(connection) as queries:
        for _ in range(3):
            html = text(client, path)
            seen += summaries(html)
            older = re.search(r'id="events-older"[^>]*href="([^"]+)"', html)
            path = older[1].replace("&amp;", "&") if older else ""
    assert len(seen) == len(set(seen)) == 120 and not path
    newest_first = [event.summary for event in Event.objects.order_by("-started_at", "-id")]
    assert seen == newest_first
    asked = [query["sql"] for query in queries if "alerting_event" in query["sql"]]
    assert asked and not any("OFFSET" in sql or "COUNT(*)" in sql.upper() for sql in asked)
    newer = re.search(r'id="events-newer"[^>]*href="([^"]+)"', html)
    assert newer and summaries(text(client, newer[1].replace("&amp;", "&"))) == newest_first[50:100]


def test_history__newer_reaches_the_front__shows_a_full_page(users: Any) -> None:
    """AL-9: the newest page is never a few rows that came in since."""
    for number in range(60):
        an_alert(number, ago=100 - number, summary=f"n{number}")
    event = Event.objects.order_by("-started_at")[3]
    place = f"{int(event.started_at.timestamp() * 1_000_000)}-{event.pk.hex}"
    assert len(summaries(text(signed_in(users.viewer), f"{EVENTS}?after={place}"))) == 50


@pytest.mark.parametrize(
    "query",
    [
        "?severity=dreadful", "?state=x", "?rule=abc", "?rule=99999999999999999999999", "?label=nosign", "?label==x",
        "?since=never", "?since=0001-01-01T00:00", "?until=99999-01-01T00:00", "?label=a%00%3Db", "?origin=%ff%fe",
        "?since=2026-02-01T00:00&until=2026-01-01T00:00", "?acknowledged=maybe", "?label=" + "x" * 5000 + "=1",
    ],
)  # fmt: skip
def test_history__filter_that_makes_no_sense__is_named(users: Any, query: str) -> None:
    """Q-5: a plain sentence at the field, nothing looked for."""
    html = text(signed_in(users.viewer), EVENTS + query)
    assert "Nothing was looked for. Correct what is marked" in html and 'aria-invalid="true"' in html


@pytest.mark.parametrize("place", ["x", "1-2", "9" * 18 + "-" + "f" * 32, "%00", "-1-" + "0" * 32, "²-" + "0" * 32])
def test_history__place_that_is_none__is_the_newest_page(users: Any, place: str) -> None:
    """Q-5: an address that was typed by hand is no failure."""
    an_alert(summary="here")
    client = signed_in(users.viewer)
    for name in ("before", "after"):
        assert summaries(text(client, f"{EVENTS}?{name}={place}")) == ["here"]


def test_history__deleted_rule__can_still_be_asked_for(users: Any) -> None:
    """AL-9: events outlive their rules."""
    an_alert(rule_id=987_654, summary="orphan")
    html = text(signed_in(users.viewer), f"{EVENTS}?rule=987654")
    assert summaries(html) == ["orphan"] and "rule 987654, deleted" in html


def test_event__page__tells_what_held_and_what_came_of_it(users: Any) -> None:
    """AL-3, AL-9, AD-4: condition, value, labels, life, each delivery with its attempts."""
    channel = mail_channel()
    event = an_alert(1, severity=0, value=0.072, labels={"strategy": "momentum"}, owner="risk desk",
                     annotations={"description": "since noon"})  # fmt: skip
    done = a_message(event, channel, status=Status.DELIVERED, finished_at=timezone.now(), outcome="Accepted.")
    an_attempt(done, outcome=Outcome.TRANSIENT, answer="Greylisted", status_code=451, next_at=timezone.now())
    an_attempt(done, outcome=Outcome.DELIVERED, answer="Accepted.", status_code=250, number=2)
    a_message(event, channel, "b@example.com", waits_for="recipient", due_at=timezone.now() + timedelta(hours=1))
    a_message(event, channel, "c@example.com", merged_into=done.pk)
    html = text(signed_in(users.viewer), f"{EVENTS}{event.pk}/")
    for words in (
        "critical", "firing", "Drawdown above 5 %", "7.2 %", "direct trigger", "risk desk", "strategy=momentum",
        "since noon", "***@example.com", "Desk by mail (email)", "2 attempts", "Greylisted", "code 451",
        "The recipient has had all messages of this hour", f"Told in the digest of delivery {done.pk}",
    ):  # fmt: skip
        assert words in html, words
    assert "event-acknowledge" not in html and "event-resolve" not in html, "a viewer is offered nothing"
    operators = text(signed_in(users.operator), f"{EVENTS}{event.pk}/")
    assert "event-acknowledge" in operators and "event-resolve" in operators


def test_event__addresses_in_it__are_links_only_if_they_are_of_the_web(users: Any) -> None:
    """Q-1, AUTH-4: what a sender writes cannot run anything."""
    event = an_alert(
        annotations={"a": "javascript:alert(1)", "b": "https://wiki.example.com/b", "c": "<script>alert(1)</script>",
                     "d": "javascript://evil.example/%0aalert(1)", "e": "https://[broken"},
        runbook_url="javascript:alert(2)", generator_url="data:text/html,x", labels={"<b>": "\"'><i>"},
    )  # fmt: skip
    html = text(signed_in(users.viewer), f"{EVENTS}{event.pk}/")
    links = re.findall(r'href="([^"]+)"[^>]*rel="noopener', html)
    assert links == ["https://wiki.example.com/b"]
    assert 'href="javascript' not in html and 'href="data' not in html and "<script>alert" not in html


@pytest.mark.parametrize(
    ("fields", "says", "says_not"),
    [
        ({"metric": "drawdown", "value": 0.0723456789}, ["Drawdown above 5 %", "7.2346 %"], ["0.0723"]),
        ({"metric": "external_alert", "value": 1.0}, ["Alert from outside"], ["Value then", "above"]),
        ({"metric": "forgotten", "value": 3.0}, ["forgotten above 0.05", "Value then"], []),
        ({"metric": "drawdown", "value": None}, ["Drawdown above 5 %"], ["Value then"]),
        ({"metric": "drawdown", "value": float("inf")}, ["Infinity"], []),
    ],
    ids=["fraction", "so or not", "metric gone", "no value", "infinite"],
)
def test_event__condition_and_value__are_in_words(
    users: Any, fields: Any, says: list[str], says_not: list[str]
) -> None:
    """AL-9: what held then, as people read it, also when the metric is gone."""
    html = text(signed_in(users.viewer), f"{EVENTS}{an_alert(**fields).pk}/")
    assert all(words in html for words in says) and not any(words in html for words in says_not)


@pytest.mark.parametrize("muted_by", ["silence:7", "maintenance:3", "cause:orders", "queue:full", "x", "silence:x'\"<"])
def test_event__held_back__says_by_what(users: Any, muted_by: str) -> None:
    """AL-7, HM-11, HM-12: never hidden."""
    event = an_alert(muted_by=muted_by, notified_at=None)
    html = text(signed_in(users.viewer), f"{EVENTS}{event.pk}/")
    assert "Held back:" in html and "Nobody was told" in html


def test_event__unknown__is_not_found(users: Any) -> None:
    """Q-5."""
    client = signed_in(users.operator)
    for path in ("", "acknowledge/", "resolve/"):
        assert client.get(f"{EVENTS}{uuid.uuid4()}/{path}").status_code == 404
    assert client.get(f"{EVENTS}nonsense/").status_code == 404


def test_acknowledge__form__takes_it_up(users: Any) -> None:
    """AL-6, AC-4: plain form, works without JavaScript; who, when and why stand on the page."""
    event, client = an_alert(), signed_in(users.operator)
    assert "<form" in text(client, f"{EVENTS}{event.pk}/acknowledge/")
    answer = client.post(f"{EVENTS}{event.pk}/acknowledge/", {"note": "On it"}, follow=True)
    html = answer.content.decode()
    assert answer.redirect_chain[-1][0] == f"{EVENTS}{event.pk}/"
    assert f"by {users.operator.username}" in html and "On it" in html and "Acknowledged." in html
    again = client.post(f"{EVENTS}{event.pk}/acknowledge/", {"note": "again"})
    assert again.status_code == 409 and f"Already acknowledged by {users.operator.username}" in again.content.decode()


def test_history__chosen__are_taken_up_after_a_note(users: Any) -> None:
    """AL-6: only what fires can be ticked; two steps, like every other acknowledgement."""
    some_events()
    client = signed_in(users.operator)
    html = text(client, EVENTS)
    ticks = re.findall(r'name="event" value="([^"]+)"', html)
    assert len(ticks) == 3 and 'name="event"' not in text(signed_in(users.viewer), EVENTS)
    asked = client.post(f"{EVENTS}acknowledge/", {"event": ticks}).content.decode()
    assert all(f'name="event" value="{tick}"' in asked for tick in ticks) and "critical one" in asked
    done = client.post(f"{EVENTS}acknowledge/", {"event": ticks, "note": "all of it"}, follow=True).content.decode()
    assert "3 alerts acknowledged" in done and Event.objects.filter(acknowledgment_note="all of it").count() == 3
    again = client.post(f"{EVENTS}acknowledge/", {"event": ticks, "note": "again"})
    assert again.status_code == 409 and "None of these fires any more" in again.content.decode()


@pytest.mark.parametrize(
    "data",
    [{}, {"note": "x"}, {"event": ["x", "", "1" * 500]}, {"event": str(uuid.uuid4()), "note": "a\x00b"},
     {"event": [str(uuid.uuid4()) for _ in range(150)], "note": "x"}, {"event": str(uuid.uuid4()), "note": "x"}],
    ids=["nothing", "no event", "no ids", "note", "too many", "unknown"],
)  # fmt: skip
def test_history__chosen_nonsense__is_refused_in_words(users: Any, data: Any) -> None:
    """Q-5."""
    answer = signed_in(users.operator).post(f"{EVENTS}acknowledge/", data)
    assert answer.status_code in (409, 422) and "banner--bad" in answer.content.decode()


def test_history__chosen__comes_back_to_the_list_as_it_was_filtered(users: Any) -> None:
    """AL-6, AL-9: after the note, on Cancel, and where nothing was ticked; only what the list knows is carried."""
    event, client = an_alert(1, severity=0), signed_in(users.operator)
    query = "severity=critical&state=firing"
    assert f'name="back" value="{query.replace("&", "&amp;")}"' in text(client, f"{EVENTS}?{query}&x=1")
    carried = {"back": f"{query}&next=//evil.example&before=x&label=%00a%3Db"}
    kept = f"{EVENTS}?severity=critical&state=firing&label=%00a%3Db&before=x"
    for posted in ({"event": str(event.pk)}, {}):
        answer = client.post(f"{EVENTS}acknowledge/", {**posted, **carried})
        assert f'href="{kept.replace("&", "&amp;")}"' in answer.content.decode()
        assert "evil" not in answer.content.decode()
    done = client.post(f"{EVENTS}acknowledge/", {"event": str(event.pk), "note": "", **carried})
    assert done.status_code == 302 and done["Location"] == kept
    assert client.get(kept).status_code == 200


@pytest.mark.parametrize("back", ["", "\x00", "&" * 5_000, "severity", "%ff=%", "//evil.example/?severity=critical"])
def test_history__chosen_with_nonsense_to_come_back_to__comes_back_to_the_list(users: Any, back: str) -> None:
    """Q-5."""
    event = an_alert(1)
    answer = signed_in(users.operator).post(f"{EVENTS}acknowledge/", {"event": str(event.pk), "note": "", "back": back})
    assert answer.status_code == 302 and answer["Location"] == EVENTS


def test_acknowledge_chosen__address_opened__leads_to_the_history(users: Any) -> None:
    """AL-6: it stands in the address bar after the form was sent; opening it does nothing."""
    answer = signed_in(users.operator).get(f"{EVENTS}acknowledge/")
    assert answer.status_code == 302 and answer["Location"] == EVENTS


def test_resolve__form__asks_why_then_ends_it(users: Any) -> None:
    """AL-3: without a note nothing happens; with one it is over."""
    event, client = an_alert(rule_id=None), signed_in(users.operator)
    refused = client.post(f"{EVENTS}{event.pk}/resolve/", {"note": ""})
    assert refused.status_code == 422 and "Give a reason" in refused.content.decode()
    assert Event.objects.get(pk=event.pk).state == EventState.FIRING
    answer = client.post(f"{EVENTS}{event.pk}/resolve/", {"note": "False alarm"}, follow=True)
    html = answer.content.decode()
    assert "False alarm" in html and "resolved" in html and "event-resolve" not in html


@pytest.mark.parametrize("note", ["a\x00b", "x" * 2_000, "ÿ" * 400_000])
def test_forms__note_that_cannot_be_kept__is_refused_in_words(users: Any, note: str) -> None:
    """Q-5."""
    event, client = an_alert(), signed_in(users.operator)
    for path in ("acknowledge/", "resolve/"):
        answer = client.post(f"{EVENTS}{event.pk}/{path}", {"note": note})
        assert answer.status_code in (400, 422), path
    assert Event.objects.get(pk=event.pk).state == EventState.FIRING


def test_actions__viewer__are_refused_and_audited(users: Any) -> None:
    """RBAC-1."""
    event, client = an_alert(), signed_in(users.viewer)
    for path in ("acknowledge/", "resolve/"):
        assert client.post(f"{EVENTS}{event.pk}/{path}", {"note": "x"}).status_code == 403
    assert Entry.objects.filter(event="admin_page_access_denied").count() == 2


def test_pages__any__hold_no_address(users: Any) -> None:
    """AC-5, AD-9: not one page's bytes hold the recipient's address, nor what is sealed; nor what a sender wrote."""
    channel = mail_channel()
    over: dict[str, Any] = {"state": EventState.RESOLVED, "resolved_at": timezone.now()}
    an_alert(2, severity=0, summary=f"{ADDRESS} again", **over)
    event = an_alert(severity=0, summary=f"Tell {ADDRESS}", labels={"owner": ADDRESS, ADDRESS: "x"},
                     annotations={"note": f"or +44 20 7946 0958, {ADDRESS}"},
                     generator_url=f"https://bob:{ADDRESS}@x.example.com/")  # fmt: skip
    delivery = poison(event, channel)
    done = a_message(event, channel, ADDRESS.upper(), status=Status.DELIVERED, finished_at=timezone.now())
    client = signed_in(users.admin)
    for path in (
        "/admin/", "/admin/alerting/", "/admin/alerting/fragment/", EVENTS, f"{EVENTS}{event.pk}/",
        f"{EVENTS}{event.pk}/acknowledge/", "/admin/alerting/deliveries/", "/admin/alerting/deliveries/poison/",
        f"/admin/alerting/deliveries/{delivery.pk}/", f"/admin/alerting/deliveries/{done.pk}/",
    ):  # fmt: skip
        html = text(client, path)
        assert "7946 0958" not in html, path
        assert ADDRESS.split("@")[0] not in html.lower() and delivery.recipient_sealed not in html, path


def test_severity__every_one__has_a_word_and_a_mark(users: Any) -> None:
    """Q-1: never by colour alone."""
    for severity in Severity:
        an_alert(severity.value, severity=severity)
    html = text(signed_in(users.viewer), EVENTS)
    for tone, word in (("bad", "critical"), ("warn", "warning"), ("info", "info")):
        assert f'<span class="badge badge--{tone}">{word}</span>' in html
