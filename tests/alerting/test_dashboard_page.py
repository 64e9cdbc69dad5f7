"""The dashboard of the alerts: what fires, whether alerting itself works, and the same on the overview."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerting.models import EventState, Gate, Notice, Rule, Status
from alerting.selectors.dashboard import dashboard, forget_dashboard
from opsportal.observability import probes
from tests.alerting.operating import a_message, an_alert, mail_channel, poison, signed_in, text

PAGE, FRAGMENT = "/admin/alerting/", "/admin/alerting/fragment/"


def read(client: Any, path: str = PAGE) -> str:
    """The page of now, not of a second ago."""
    forget_dashboard()
    return text(client, path)


def a_rule(name: str, **fields: Any) -> Rule:
    return Rule.objects.create(name=name, metric="drawdown", comparison="gt", threshold=0.1, **fields)


def test_dashboard__firing__comes_first_worst_and_oldest_first(users: Any) -> None:
    """AL-3: what needs somebody stands on top, with its messages; what never fired does not stand there."""
    channel = mail_channel()
    an_alert(1, severity=1, ago=50, summary="warning")
    worst = an_alert(2, severity=0, ago=30, summary="critical young")
    an_alert(3, severity=0, ago=90, summary="critical old")
    an_alert(4, severity=0, summary="taken", state=EventState.ACKNOWLEDGED, acknowledged_by="anna",
             acknowledged_at=timezone.now(), acknowledgment_note="looking")  # fmt: skip
    an_alert(5, summary="not yet", state=EventState.PENDING, triggered_at=None)
    a_message(worst, channel, status=Status.DELIVERED, finished_at=timezone.now())
    poison(worst, channel, "b@example.com")
    a_message(worst, channel, "c@example.com", notice=Notice.RESOLVED)
    html = read(signed_in(users.viewer))
    places = [html.index(f">{name}</a>") for name in ("critical old", "critical young", "warning", "taken")]
    assert places == sorted(places) and "not yet</a>" not in html
    assert "1 told, 1 poisoned" in html and "taken up by anna" in html and "looking" in html
    assert "Acknowledge…" not in html and "Acknowledge…" in read(signed_in(users.operator))


def test_dashboard__nothing__says_whether_anything_watches(users: Any) -> None:
    """AL-1: quiet because all is well is not quiet because nobody looks."""
    Rule.objects.all().delete()
    assert "no rule is switched on" in read(signed_in(users.viewer))
    a_rule("one").channels.add(mail_channel())
    html = read(signed_in(users.viewer))
    assert (
        "Nothing fires. 1 rule watches." in html
        and "tell" not in html.split("alert-counts")[0].split("data-announce")[1]
    )


def test_dashboard__rules_that_tell_nobody__are_named(users: Any) -> None:
    """AL-1: switched on, and no channel of theirs is; a rule that trips the breaker does something."""
    Rule.objects.all().delete()
    off = mail_channel("off")
    off.enabled = False
    off.save(update_fields=["enabled"])
    a_rule("none")
    a_rule("only one that is off").channels.add(off)
    a_rule("the same again").channels.add(off)
    a_rule("asleep", enabled=False)
    a_rule("trips", trips_breaker=True)
    heard = a_rule("heard")
    heard.channels.add(off, mail_channel("on"))
    assert "3 rules tell nobody" in read(signed_in(users.viewer))


def test_dashboard__gate_closed__is_loud(users: Any) -> None:
    """AD-8."""
    client = signed_in(users.viewer)
    assert "New alerts are refused" not in read(client)
    Gate.objects.filter(pk=1).update(closed=True, since=timezone.now())
    assert "New alerts are refused" in read(client) and "New alerts are refused" in read(client, "/admin/")


@pytest.mark.parametrize(
    ("fields", "loud"),
    [
        ({"due_at": timedelta(seconds=-20)}, True),
        ({"due_at": timedelta(seconds=-20), "status": Status.FAILED}, True),
        ({"due_at": timedelta(seconds=-10)}, False),
        ({"due_at": timedelta(seconds=60), "waits_for": "recipient"}, False),
        ({"due_at": timedelta(seconds=-20), "merged_into": 1}, False),
        ({"due_at": timedelta(seconds=-20), "status": Status.DELIVERED}, False),
    ],
    ids=["due", "retry due", "just due", "limited", "told in a digest", "done"],
)
def test_dashboard__nobody_sends__is_loud(users: Any, fields: Any, loud: bool) -> None:
    """AD-2, AD-11: 15 s late means that no dispatcher runs; what waits rightly is not late."""
    due_at = timezone.now() + fields.pop("due_at")
    a_message(an_alert(severity=2), mail_channel(), due_at=due_at, **fields)
    client = signed_in(users.viewer)
    assert ("Deliveries are not being sent" in read(client)) == loud
    assert ("Alerts are not being sent" in read(client, "/admin/")) == loud


def test_dashboard__recovery_that_waits_for_its_alarm__is_not_late(users: Any) -> None:
    """AD-7: the alarm waits for a limit, so its recovery waits too: nobody stands still."""
    event, channel = an_alert(), mail_channel()
    past = timezone.now() - timedelta(minutes=5)
    a_message(event, channel, waits_for="recipient", due_at=timezone.now() + timedelta(minutes=20))
    a_message(event, channel, notice=Notice.RESOLVED, due_at=past)
    assert dashboard().counts.oldest_due is None
    alone = an_alert(2)
    a_message(alone, channel, notice=Notice.RESOLVED, due_at=past)
    forget_dashboard()
    assert dashboard().counts.oldest_due == past


def test_dashboard__counts__are_those_of_the_rows(users: Any) -> None:
    """AD-10, AL-7."""
    channel = mail_channel()
    event = an_alert(1, severity=0)
    an_alert(2, muted_by="silence:1", notified_at=None)
    an_alert(3, state=EventState.ACKNOWLEDGED)
    an_alert(4, state=EventState.RESOLVED, resolved_at=timezone.now(), muted_by="silence:1")
    a_message(event, channel)
    a_message(event, channel, "b@example.com", status=Status.FAILED)
    poison(event, channel, "c@example.com")
    poison(event, channel, "d@example.com", settled_at=timezone.now())
    counts = dashboard().counts
    assert (counts.firing, counts.critical, counts.acknowledged, counts.muted) == (2, 1, 1, 1)
    assert (counts.waiting, counts.poison, counts.active) == (2, 1, 3)


def test_dashboard__resolved_last__are_listed_by_their_end(users: Any) -> None:
    """AL-3: also one that began long before the others; what never fired is not told."""
    now = timezone.now()
    for number in range(12):
        an_alert(number, ago=100, state=EventState.RESOLVED, resolved_at=now - timedelta(seconds=60 + number),
                 summary=f"n{number}")  # fmt: skip
    an_alert(50, ago=80_000, state=EventState.RESOLVED, resolved_at=now, summary="began yesterday", resolved_by="bert")
    an_alert(51, state=EventState.RESOLVED, resolved_at=now, triggered_at=None, summary="never fired")
    assert [event.summary for event in dashboard().resolved] == ["began yesterday", *(f"n{n}" for n in range(9))]
    assert "began yesterday" in read(signed_in(users.viewer))


def test_fragment__unchanged__is_304_with_its_age(users: Any) -> None:
    """Q-3: a poll that finds nothing new costs nothing; another right is another page."""
    an_alert()
    client = signed_in(users.viewer)
    first = client.get(FRAGMENT)
    assert (
        first.status_code == 200
        and float(first["X-Reading-Age"]) >= 0
        and first["Cache-Control"] == "private, no-cache"
    )
    forget_dashboard()
    again = client.get(FRAGMENT, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"") and "X-Reading-At" in again
    operator = signed_in(users.operator).get(FRAGMENT, headers={"If-None-Match": first["ETag"]})
    assert operator.status_code == 200
    an_alert(2)
    forget_dashboard()
    assert client.get(FRAGMENT, headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_dashboard__many_readers__share_a_reading(users: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Q-3: while a reading serves, the database is asked once. A busy machine may need more than its second."""
    monkeypatch.setattr("alerting.pages.dashboard.SHARED_SECONDS", 60.0)
    an_alert()
    client = signed_in(users.viewer)
    client.get(FRAGMENT)
    with CaptureQueriesContext(connection) as queries:
        client.get(FRAGMENT)
    assert not [query for query in queries if "alerting_" in query["sql"]]


def test_dashboard__reading__is_few_queries_whatever_there_is(users: Any, django_assert_num_queries: Any) -> None:
    """Q-3: no query a row."""
    channel = mail_channel()
    for number in range(30):
        a_message(an_alert(number), channel)
    with django_assert_num_queries(9):
        dashboard()


def test_overview__critical_alerts__five_and_how_many_more(users: Any) -> None:
    """AL-3: under “What is wrong”; those taken up are not there."""
    for number in range(7):
        an_alert(number, severity=0, summary=f"critical {number}", ago=100 - number)
    an_alert(8, severity=0, summary="taken", state=EventState.ACKNOWLEDGED)
    an_alert(9, severity=1, summary="a warning")
    html = read(signed_in(users.viewer), "/admin/")
    wrong = html.split('id="wrong-title"')[1].split("</section>")[0]
    assert all(f"critical {number}" in wrong for number in range(5)) and "critical 5" not in wrong
    assert "and 2 more" in wrong and "a warning" not in wrong and "taken" not in wrong
    needs = html.split('id="needs-me-title"')[1].split("</section>")[0]
    assert "8 alerts are not acknowledged" in needs


def test_overview__poison__needs_somebody(users: Any) -> None:
    """AD-10."""
    poison(an_alert(severity=2), mail_channel())
    html = read(signed_in(users.viewer), "/admin/")
    assert "1 message reached nobody, as far as the portal knows" in html and 'id="overview-poison"' in html
    assert "<span>reached nobody, as far as the portal knows</span>" in html  # the tile says it, too


def test_overview__without_alerting__is_silent(users: Any, settings: Any) -> None:
    """RUN-9."""
    an_alert(severity=0, summary="critical one")
    client = signed_in(users.viewer)
    assert "critical one" in read(client, "/admin/")  # which also loads the addresses, with alerting's among them
    settings.FEATURES = {**settings.FEATURES, "alerting": False}
    assert "critical one" not in (html := read(client, "/admin/")) and "overview-alerts" not in html


def test_pages__postgresql_stopped__say_so_and_the_overview_stays(users: Any, postgres_server: Any) -> None:
    """AC-6, Q-4: the overview is there; alerting's own pages say what is missing; nothing is a failure page."""
    client = signed_in(users.viewer)
    read(client)
    with postgres_server.stopped():
        forget_dashboard()
        probes.probe_postgresql.forget()
        overview = client.get("/admin/")
        assert overview.status_code == 200 and "PostgreSQL does not answer" in overview.content.decode()
        assert "Nothing is evaluated or sent until PostgreSQL answers." in overview.content.decode()
        for path in (PAGE, FRAGMENT, "/admin/alerting/events/", "/admin/alerting/deliveries/"):
            forget_dashboard()
            assert client.get(path).status_code == 503, path
    probes.probe_postgresql.forget()


def test_dashboard__redis_stopped__is_there(users: Any, redis_server: Any) -> None:
    """Q-4: rows are the truth."""
    an_alert(summary="still told")
    client = signed_in(users.viewer)
    with redis_server.stopped():
        assert "still told" in read(client)


def test_poison__seen_by_who_may_see_alerts_but_no_deliveries__leads_nowhere(users: Any) -> None:
    """AD-10, RBAC-1: the number is theirs to know; a link would only be refused."""
    poison(an_alert(severity=2), mail_channel())
    Gate.objects.update(closed=True, since=timezone.now())
    group = Group.objects.create(name="desk heads")
    group.permissions.set(Permission.objects.filter(codename="view_event", content_type__app_label="alerting"))
    users.viewer.groups.set([group])
    client = signed_in(users.viewer)
    for path in ("/admin/", PAGE, FRAGMENT):
        html = read(client, path)
        assert "/alerting/deliveries/" not in html, path
    assert "1 message reached nobody" in read(client, "/admin/")
