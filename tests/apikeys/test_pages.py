"""The pages: what they show, what they never show."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apikeys import services, views
from apikeys.models import ApiKey
from apikeys.wire import KEY_FORM
from opsportal.accounts.models import UserSession
from opsportal.audit.models import Entry
from tests.apikeys.conftest import REASON, bearer, signed_in
from tests.desk import DESK
from tests.factories import UserFactory

LIST = "/admin/apikeys/"
ADD = "/admin/apikeys/add/"


def form(users: Any, **changes: Any) -> dict[str, Any]:
    return {
        "owner": users.operator.username,
        "name": "gateway",
        "scopes": ["read:circuit"],
        "expires_in_days": "365",
        "networks": "",
        **changes,
    }


def key_in(answer: Any) -> str:
    found = KEY_FORM.findall(answer.content.decode())
    assert len(found) == 1, "the key stands there once"
    return str(found[0])


def test_form__posted__answers_with_the_key_itself(users: Any) -> None:
    """AK-2: 200 and no redirect, not to be stored by anybody; the key works."""
    client = signed_in(users.admin)
    answer = client.post(ADD, form(users, networks="10.0.0.0/8, 2001:db8::/32\r\n127.0.0.1\n"))
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    assert answer["Referrer-Policy"] == "same-origin"
    text = key_in(answer)
    assert "I have stored it" in answer.content.decode() and "$OPSPORTAL_API_KEY" in answer.content.decode()
    assert client.get("/api/v1/apikeys/self", **bearer(text)).json()["name"] == "gateway"
    assert ApiKey.objects.get().networks == ["10.0.0.0/8", "2001:db8::/32", "127.0.0.1/32"]


def test_key__after_it_was_shown__is_nowhere(users: Any, caplog: pytest.LogCaptureFixture) -> None:
    """AK-2, AK-9: in no later page, reload, session, cookie, audit entry, log line or column."""
    caplog.set_level(logging.DEBUG)
    client = signed_in(users.admin)
    first = key_in(client.post(ADD, form(users)))
    key = ApiKey.objects.get()
    again = client.post(ADD, form(users))
    assert again.status_code == 422 and "has a key named “gateway” already" in again.content.decode()
    second = key_in(client.post(f"{LIST}{key.pk}/rotate/"))
    reload = client.post(f"{LIST}{key.pk}/rotate/")
    assert reload.status_code == 409 and "was rotated by" in reload.content.decode()
    pages = [
        again, reload,
        *(client.get(path) for path in (LIST, ADD, f"{LIST}{key.pk}/", f"{LIST}{key.pk}/rotate/", f"{LIST}{key.pk}/revoke/",
                                        "/admin/", f"{LIST}{ApiKey.objects.latest('id').pk}/")),
    ]  # fmt: skip
    text = "\n".join(page.content.decode() + repr(page.headers) for page in pages)
    text += repr([session.get_decoded() for session in UserSession.objects.all()]) + repr(client.cookies)
    text += repr(list(ApiKey.objects.values()))
    text += repr([[getattr(entry, f.attname) for f in Entry._meta.concrete_fields] for entry in Entry.objects.all()])
    text += "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    for secret in (first, second):
        assert secret[:16] in text and secret not in text and secret[16:] not in text
    shown = "\n".join(page.content.decode() for page in pages)
    for row in ApiKey.objects.all():
        assert row.salt not in shown and row.digest not in shown


def test_error_after_the_key_was_made__does_not_show_or_log_it(
    users: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """AK-2: the error page and the traceback in the log hold nothing of it."""
    drawn: list[str] = []
    real = views._page

    def fail(request: Any, template: str, *args: Any, **more: Any) -> Any:
        if template == "apikeys/once.html":
            drawn.append(more["key_text"])
            raise RuntimeError(f"cannot draw {more['key_text']}")
        return real(request, template, *args, **more)

    monkeypatch.setattr(views, "_page", fail)
    client = signed_in(users.admin, raise_request_exception=False)
    answer = client.post(ADD, form(users))
    assert answer.status_code == 500 and drawn
    stream = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert drawn[0] not in answer.content.decode() and drawn[0] not in stream


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"owner": ""}, "Say whose key it is"),
        ({"owner": "nobody-of-this-name"}, "There is no user of this name"),
        ({"owner": "a\x00b"}, "Null characters"),
        ({"owner": "x" * 1_000}, "at most 150"),
        ({"name": ""}, "Give the key a name"),
        ({"name": "a\x00b"}, "Null characters"),
        ({"name": "tp_live_abcdefgh" + "x" * 35}, "looks like a key"),
        ({"scopes": []}, "Choose at least one scope"),
        ({"scopes": ["read:everything"]}, "There is no such scope"),
        ({"expires_in_days": "1" * 500}, "1 to 3,650 whole days"),
        ({"networks": "10.0.0.1/8"}, "Did you mean the network"),
        ({"networks": "x" * 200_000}, "longer than 10,000 characters"),
        ({"networks": "\n".join(f"10.0.{n}.0/24" for n in range(60))}, "at most 50 are kept"),
    ],
)
def test_form__wrong__says_so_at_the_field(users: Any, changes: dict[str, Any], sentence: str) -> None:
    """AK-3, Q-5: 422, what was typed is kept, but for a key that was pasted."""
    answer = signed_in(users.admin).post(ADD, form(users, **changes))
    body = answer.content.decode()
    assert answer.status_code == 422 and sentence in body and "Nothing was changed" in body
    assert "x" * 35 not in body.replace("x" * 1_000, "").replace("x" * 200_000, "")
    assert not ApiKey.objects.exists()


def test_form__without_fields_or_in_broken_utf8__is_422(users: Any) -> None:
    """Q-5: never a 500."""
    client = signed_in(users.admin)
    assert client.post(ADD).status_code == 422
    broken = client.post(ADD, b"owner=%ff%fe&name=%c3%28&scopes=%80", content_type="application/x-www-form-urlencoded")
    assert broken.status_code == 422
    assert client.post(f"{LIST}1/revoke/", {"reason": "x"}).status_code == 404


def test_revocation__by_the_form__asks_for_a_reason_and_ends_the_key(made: Any, users: Any) -> None:
    """AK-5, AK-9: a pasted key in the reason is masked on the page that is shown again."""
    key, text = made()
    client = signed_in(users.admin)
    short = client.post(f"{LIST}{key.pk}/revoke/", {"reason": "too short"})
    assert short.status_code == 422 and "at least 20 are needed" in short.content.decode()
    pasted = client.post(f"{LIST}{key.pk}/revoke/", {"reason": text + "x" * 2_000})
    assert pasted.status_code == 422 and text[16:] not in pasted.content.decode()
    done = client.post(f"{LIST}{key.pk}/revoke/", {"reason": REASON}, follow=True)
    assert "it opens nothing any more" in done.content.decode() and REASON in done.content.decode()
    late = client.post(f"{LIST}{key.pk}/revoke/", {"reason": REASON})
    assert late.status_code == 409 and "was revoked by" in late.content.decode()
    assert client.get("/api/v1/apikeys/self", **bearer(text)).status_code == 401


@pytest.mark.parametrize("query", ["q=\x00", "q=%00", "state=x", "scope=%ff", "expiring=9", "page=0", "page=-1", "page=" + "9" * 400,
                                   "page=x", "q=" + "x" * 5_000, "expiring=14&expiring=1", "state=%00"])  # fmt: skip
def test_list__odd_query__is_a_page(made: Any, users: Any, query: str) -> None:
    """Q-5."""
    made()
    assert signed_in(users.admin).get(f"{LIST}?{query}").status_code == 200


@pytest.mark.parametrize("number", ["0", "999999", "9" * 30, "9" * 400, "9" * 5_000, "-1", "x"])
def test_key__that_does_not_exist__is_404(users: Any, number: str) -> None:
    """Q-5: huge numbers too."""
    client = signed_in(users.admin)
    for path in ("", "rotate/", "revoke/"):
        assert client.get(f"{LIST}{number}/{path}").status_code == 404


def names(answer: Any) -> list[str]:
    return [row.key.name for row in answer.context["listing"].rows]


def test_list__filters__find_what_they_say(made: Any, users: Any) -> None:
    """AK-6, AK-8: name, prefix, owner, state, scope, end."""
    now = timezone.now() + timedelta(seconds=1)
    one, _ = made("read:circuit", name="alpha", expires_in_days=2)
    two, _ = made("read:orders", name="beta", owner=users.viewer, expires_in_days=10)
    three, _ = made("write:orders", name="gamma")
    services.revoke_key(three, by=DESK, reason=REASON)
    services.rotate_key(two, by=DESK, now=now)
    client = signed_in(users.admin)
    rotated = f"beta_rotated_{now:%Y%m%d}"
    for query, found in {
        "": [rotated, "gamma", "beta", "alpha"],
        "q=ALPH": ["alpha"],
        f"q={one.prefix}": ["alpha"],
        f"q={users.viewer.username}": [rotated, "beta"],
        "state=active": [rotated, "alpha"],
        "state=pending": ["beta"],
        "state=revoked": ["gamma"],
        "state=expired": [],
        "scope=read:orders&state=active": [rotated],
        "expiring=14": [rotated, "beta", "alpha"],
        "expiring=3": ["alpha"],
        "expiring=1": [],
    }.items():
        assert names(client.get(f"{LIST}?{query}")) == found, query


def test_search__with_a_whole_key__leads_to_its_prefix(made: Any, users: Any) -> None:
    """AK-9: the key leaves the address at once, and its key is found."""
    _, text = made(name="alpha")
    client = signed_in(users.admin)
    answer = client.get(LIST, {"q": text, "state": "active"})
    assert answer.status_code == 302 and text not in answer["Location"] and "state=active" in answer["Location"]
    page = client.get(answer["Location"])
    assert names(page) == ["alpha"] and text not in page.content.decode()


def test_list__five_thousand_keys_of_one_user__two_queries_a_page(
    made: Any, users: Any, django_assert_max_num_queries: Any
) -> None:
    """AK-6: pages of 50; the number of queries does not grow with the keys."""
    now = timezone.now()
    rows = [
        ApiKey(owner=users.operator, name=f"key {n}", prefix=f"tp_live_{n:08d}", last4="abcd", salt="0" * 32, digest="0" * 64,
               scopes=["read:circuit"], created_by="desk", created_at=now - timedelta(seconds=n))
        for n in range(5_000)
    ]  # fmt: skip
    ApiKey.objects.bulk_create(rows)
    client = signed_in(users.admin)
    client.get(LIST)
    with django_assert_max_num_queries(2):
        page = client.get(LIST)
    assert names(page) == [f"key {n}" for n in range(50)] and "5000 keys, page 1 of 100" in page.content.decode()
    with django_assert_max_num_queries(2):
        last = client.get(f"{LIST}?page=100&state=active&q=key")
    assert names(last)[-1] == "key 4999"
    assert "salt" not in page.context["listing"].rows[0].key.__dict__


def test_owner_suggestions__of_thousands__are_few_and_need_two_queries(
    users: Any, django_assert_max_num_queries: Any
) -> None:
    """AK-2: the field copes with every number of users; disabled ones are not offered."""
    for number in range(30):
        UserFactory(username=f"trader{number:02d}", role="viewer", is_active=number > 0)  # type: ignore[no-untyped-call]
    client = signed_in(users.admin)
    client.get("/admin/apikeys/owners/fragment/")
    with django_assert_max_num_queries(2):
        answer = client.get("/admin/apikeys/owners/fragment/", {"owner": "trader"})
    body = answer.content.decode()
    assert body.count("<option") == 20 and "trader00" not in body and "trader01 · viewer" in body
    assert client.get("/admin/apikeys/owners/fragment/?owner=%00").status_code == 200


def test_detail__of_a_rotated_pair__each_names_the_other(made: Any, users: Any) -> None:
    """AK-6."""
    old, _ = made("read:circuit", name="gateway", networks=["10.0.0.0/8"])
    new, _ = services.rotate_key(old, by=DESK)
    client = signed_in(users.admin)
    page = client.get(f"{LIST}{old.pk}/").content.decode()
    assert new.name in page and "not used since the new one was made" in page and "10.0.0.0/8" in page
    assert "pending revocation" in page and "key-rotate" not in page and "key-revoke" in page
    page = client.get(f"{LIST}{new.pk}/").content.decode()
    assert "Replaces" in page and "not used since the new one was made" in page and "key-rotate" in page


@pytest.mark.parametrize("path", [ADD, f"{LIST}1/rotate/", f"{LIST}1/revoke/"])
def test_form__without_csrf_token__is_403(users: Any, path: str) -> None:
    """AUTH-4."""
    assert signed_in(users.admin, enforce_csrf_checks=True).post(path, form(users)).status_code == 403


def test_pages__operator__are_403_and_audited(users: Any, made: Any) -> None:
    """RBAC-1, AU-2."""
    key, _ = made()
    client = signed_in(users.operator)
    assert client.get(LIST).status_code == client.post(f"{LIST}{key.pk}/revoke/", {"reason": REASON}).status_code == 403
    assert Entry.objects.filter(event="api_key_action_denied", outcome="denied").count() == 2
    assert Client().get(LIST).status_code == 302
