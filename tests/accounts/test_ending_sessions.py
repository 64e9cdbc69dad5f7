"""Listing and ending sessions: an admin's view of others, and everybody's own."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from opsportal.accounts import people
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.changes import Change, Verb, change_one
from opsportal.accounts.models import User, UserSession
from opsportal.accounts.refusals import WrongState
from opsportal.accounts.roles import Role
from opsportal.accounts.selectors import sessions_of
from opsportal.accounts.session_ending import end_other_sessions, end_session, reference_of
from opsportal.accounts.sessions import SessionStore
from opsportal.accounts.wording import browser_words
from opsportal.audit.models import Entry

pytestmark = pytest.mark.django_db(transaction=True)  # copies in Redis are dropped when the transaction has committed
ROOT = Actor.system("test")
MINE = "/admin/my-sessions/"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.0 Mobile/15E148 Safari/604.1"
)


def browser(user: User, agent: str = FIREFOX) -> Client:
    client = Client(headers={"User-Agent": agent})
    client.post("/admin/login/", {"username": user.username, "password": "correct horse battery staple"})
    assert is_in(client)
    return client


def is_in(client: Client) -> bool:
    return client.get("/admin/").status_code == 200


def key_of(client: Client) -> str:
    return client.cookies["sessionid"].value


def end_at(user: User, client: Client) -> str:
    return reverse("admin:accounts_session_end", args=[user.pk, reference_of(key_of(client))])


# ---------------------------------------------------------------- by an admin
def test_one_session__ended_by_an_admin__ends_at_the_next_request(users: Any) -> None:
    """AUTH-3: that browser and no other."""
    here, there, desk = browser(users.viewer), browser(users.viewer, SAFARI), browser(users.admin)
    answer = desk.post(end_at(users.viewer, here))
    assert answer["Location"] == f"/admin/accounts/{users.viewer.pk}/"
    assert not is_in(here) and is_in(there) and is_in(desk)
    assert not here.cookies["sessionid"].value  # taken away, not only void
    (entry,) = Entry.objects.filter(event="sessions_end")
    assert (entry.actor_id, entry.resource_id) == (users.admin.pk, str(users.viewer.pk))
    assert entry.additional_data["browser"] == "Firefox 128 on Windows"
    assert desk.post(end_at(users.viewer, here)).status_code == 302  # twice is no error
    assert Entry.objects.filter(event="sessions_end").count() == 1


def test_one_session__ended_while_redis_is_stopped__ends_at_the_next_request(users: Any, redis_server: Any) -> None:
    """AUTH-3: PostgreSQL holds the truth."""
    here, desk = browser(users.viewer), browser(users.admin)
    with redis_server.stopped():
        assert desk.post(end_at(users.viewer, here)).status_code == 302
        assert not is_in(here)


@pytest.mark.parametrize("do", ["role:viewer", "disable", "sign-out"])
def test_every_session__ended_while_redis_is_stopped__ends_at_the_next_request(
    users: Any, redis_server: Any, do: str
) -> None:
    """AM-2: changing a role, disabling, signing out everywhere."""
    clients = [browser(users.operator), browser(users.operator, SAFARI)]
    change = Change(Verb.ROLE, role=Role.VIEWER) if do == "role:viewer" else Change(Verb(do))
    with redis_server.stopped():
        change_one(change, users.operator, by=ROOT, reason="test")
        assert not any(is_in(client) for client in clients)


def test_sign_out_everywhere__of_oneself__ends_this_session_too(users: Any) -> None:
    """AM-2: and the answer is the sign-in page, not an error."""
    desk, other = browser(users.admin), browser(users.admin, SAFARI)
    session = desk.session
    session["seen"] = time.time() - 61  # so that this request wants to write the session that it ends
    session.save()
    query = {"do": "sign-out", "user": users.admin.pk}
    version = re.search(r'name="version" value="(\w+)"', desk.get("/admin/accounts/change/", query).content.decode())
    assert version
    session = desk.session
    session["seen"] = time.time() - 61
    session.save()
    answer = desk.post("/admin/accounts/change/", {**query, "version": version.group(1), "reason": "lost phone"})
    assert answer.status_code == 302 and answer["Location"] == "/admin/login/"
    assert not is_in(desk) and not is_in(other)


def test_session_of_somebody_else__needs_the_permission(users: Any) -> None:
    """RBAC-1: an operator ends only their own."""
    here, operator = browser(users.viewer), browser(users.operator)
    assert operator.post(end_at(users.viewer, here)).status_code == 403
    assert (
        operator.post(f"{MINE}{reference_of(key_of(here))}/end/").status_code == 302
    )  # not one of their own: not found
    assert is_in(here)
    with pytest.raises(PermissionRefused):
        end_session(users.viewer, reference_of(key_of(here)), by=Actor.of(users.operator))


def test_session_key__is_in_no_page_address_or_entry(users: Any) -> None:
    """AUTH-3, AU-3: it is a credential."""
    here, desk = browser(users.viewer), browser(users.admin)
    pages = [desk.get(f"/admin/accounts/{users.viewer.pk}/"), desk.get("/admin/accounts/"), here.get(MINE)]
    desk.post(end_at(users.viewer, here))
    seen = "".join(page.content.decode() for page in pages)
    seen += str(list(Entry.objects.values_list("additional_data", "changes", "resource_id", "reason")))
    for client in (here, desk):
        assert key_of(client) not in seen
    assert reference_of("abc") != reference_of("abd") and "abc" not in reference_of("abc")


def test_list__leaves_out_what_has_run_into_a_limit(users: Any, settings: Any) -> None:
    """AUTH-3: idle or too old is not signed in, although the row is still there."""
    live, idle, old = browser(users.viewer), browser(users.viewer), browser(users.viewer)
    for client, name, seconds in ((idle, "seen", settings.SESSION_IDLE_SECONDS), (old, "started", settings.SESSION_ABSOLUTE_SECONDS)):  # fmt: skip
        session = client.session
        session[name] = time.time() - seconds - 1
        session.save()
    assert UserSession.objects.filter(user=users.viewer).count() == 3
    assert [session.reference for session in sessions_of(users.viewer)] == [reference_of(key_of(live))]


# ---------------------------------------------------------------- one's own
@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_my_sessions__everybody__lists_and_ends_their_own(users: Any, role: str) -> None:
    """AUTH-3: this browser is marked and cannot be ended there."""
    user = getattr(users, role)
    here, there = browser(user), browser(user, SAFARI)
    page = here.get(MINE).content.decode()
    assert "Firefox 128 on Windows" in page and "Safari 17 on iPhone" in page
    assert page.count("this browser") == 1
    assert reference_of(key_of(there)) in page and reference_of(key_of(here)) not in page
    answer = here.post(f"{MINE}{reference_of(key_of(there))}/end/", follow=True)
    assert "has to sign in again" in answer.content.decode()
    assert is_in(here) and not is_in(there)


def test_my_sessions__end_all_others__keeps_this_one(users: Any) -> None:
    """AUTH-3: audited with how many, and nobody else's are touched."""
    here, *others = [browser(users.viewer) for _ in range(3)]
    stranger = browser(users.operator)
    here.post(f"{MINE}end-others/")
    assert is_in(here) and is_in(stranger) and not any(is_in(client) for client in others)
    assert [entry.additional_data["ended"] for entry in Entry.objects.filter(event="sessions_end")] == [2]
    here.post(f"{MINE}end-others/")
    assert Entry.objects.filter(event="sessions_end").count() == 1


def test_my_sessions__the_present_one__leads_to_the_sign_in_page(users: Any) -> None:
    """AUTH-3: whoever sends its reference all the same."""
    here = browser(users.viewer)
    session = here.session
    session["seen"] = time.time() - 61  # so that this request wants to write the session that it ends
    session.save()
    answer = here.post(f"{MINE}{reference_of(key_of(here))}/end/")
    assert answer["Location"] == "/admin/login/" and not is_in(here)


@pytest.mark.parametrize("reference", ["x", "0" * 32, "ü", "%00", "a" * 3_000])
def test_reference__of_nothing__is_answered_in_words(users: Any, reference: str) -> None:
    """Q-5."""
    here = browser(users.viewer)
    answer = here.post(f"{MINE}{reference}/end/", follow=True)
    assert answer.status_code == 200 and "has ended already" in answer.content.decode()
    with pytest.raises(WrongState):
        end_session(users.viewer, reference, by=ROOT)


def test_my_sessions__not_signed_in__leads_to_the_sign_in_page(db: None) -> None:
    """AUTH-3."""
    for answer in (Client().get(MINE), Client().post(f"{MINE}end-others/"), Client().post(f"{MINE}x/end/")):
        assert answer.status_code == 302 and answer["Location"].startswith("/admin/login/")


def test_key_of_a_machine__ends_no_sessions(users: Any) -> None:
    """AK-3: an API key acts for its owner, but it is not at their browser."""
    with pytest.raises(PermissionRefused):
        end_other_sessions(by=Actor.of_key(users.admin, "tp_live_AAAAAAAA", frozenset({"read:circuit"})), keep=None)


def test_own_password__changed__other_sessions_are_listed_no_more(users: Any) -> None:
    """AUTH-3: they had ended already, and their rows go too."""
    here, there = browser(users.viewer), browser(users.viewer, SAFARI)
    values = {"old_password": users.password, "new_password1": "another long one", "new_password2": "another long one"}
    assert here.post("/admin/password_change/", values).status_code == 302
    assert [session.browser for session in sessions_of(users.viewer)] == ["Firefox 128 on Windows"]
    assert is_in(here) and not is_in(there)


def test_session__copied_to_redis_after_its_end__stays_ended(users: Any, redis: Any) -> None:
    """AUTH-3: by a request that had read the row a moment before."""
    here = browser(users.viewer)
    key = key_of(here)
    late = SessionStore(key)
    values = late.load()
    assert values
    end_session(users.viewer, reference_of(key), by=ROOT)
    late._copy(values)
    assert not is_in(here)


# ---------------------------------------------------------------- one-time passwords
def test_one_time_password__by_an_admin__ends_sessions_and_is_shown_once(users: Any) -> None:
    """AM-1: in no log, and the old password is void."""
    here, desk = browser(users.viewer), browser(users.admin)
    answer = desk.post(f"/admin/accounts/{users.viewer.pk}/password/")
    assert answer["Cache-Control"] == "no-store"
    found = re.search(r'id="once-text" type="text" value="([^"]+)"', answer.content.decode())
    assert found and not is_in(here)
    user = User.objects.get(pk=users.viewer.pk)
    assert user.check_password(found.group(1)) and not user.check_password(users.password)
    log = str(list(Entry.objects.values_list("additional_data", "changes", "reason")))
    assert found.group(1) not in log and user.password not in log
    assert Entry.objects.get(event="password_set").additional_data["signed_out"] == 1


def test_one_time_password__opens_only_the_page_that_changes_it(users: Any) -> None:
    """AM-1: pages, fragments and the API wait until there is one of the user's own."""
    password = people.set_one_time_password(users.admin, by=ROOT)
    client = Client()
    client.post("/admin/login/", {"username": users.admin.username, "password": password})
    change = "/admin/password_change/"
    for path in ("/admin/", "/admin/circuit/", "/admin/accounts/", MINE, "/admin/password_change/done/"):
        assert client.get(path)["Location"] == change, path
    fragment = client.get("/admin/overview/fragment/", headers={"HX-Request": "true"})
    assert fragment.status_code == 204 and fragment["HX-Redirect"] == change
    api = client.get("/api/v1/circuit")
    assert api.status_code == 403 and "one-time password" in api.json()["detail"]
    assert "one-time password" in client.get(change).content.decode()
    same = client.post(change, {"old_password": password, "new_password1": password, "new_password2": password})
    assert same.status_code == 200 and "present password" in same.content.decode()
    own = {"old_password": password, "new_password1": "a longer own one", "new_password2": "a longer own one"}
    assert client.post(change, own).status_code == 302
    assert is_in(client) and not User.objects.get(pk=users.admin.pk).must_change_password


def test_one_time_password__log_out_still_works(users: Any) -> None:
    """AM-1."""
    password = people.set_one_time_password(users.viewer, by=ROOT)
    client = Client()
    client.post("/admin/login/", {"username": users.viewer.username, "password": password})
    client.post("/admin/logout/")
    assert client.get("/admin/")["Location"].startswith("/admin/login/")


def test_one_time_password__for_somebody_locked_out__lets_them_in(users: Any) -> None:
    """AM-1, AUTH-1: who asks for a new password has often tried the old one five times."""
    for _ in range(5):
        answer = Client().post("/admin/login/", {"username": users.viewer.username, "password": "wrong"})
    assert answer.status_code == 429
    password = people.set_one_time_password(users.viewer, by=ROOT)
    assert Client().post("/admin/login/", {"username": users.viewer.username, "password": password}).status_code == 302


def test_one_time_password__for_oneself__is_refused(users: Any) -> None:
    """AM-1: one's own is changed with the old one."""
    desk = browser(users.admin)
    answer = desk.post(f"/admin/accounts/{users.admin.pk}/password/")
    assert answer.status_code == 409 and is_in(desk)


# ---------------------------------------------------------------- words
@pytest.mark.parametrize(
    ("agent", "said"),
    [
        (FIREFOX, "Firefox 128 on Windows"),
        (SAFARI, "Safari 17 on iPhone"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36", "Chrome 126 on Linux"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36 Edg/126.0.1", "Edge 126 on macOS"),
        ("curl/8.5.0", "curl 8"),
        ("python-requests/2.32", "a Python program 2"),
        ("Something (Android 14)", "an unknown browser on Android"),
        ("", "an unknown browser"),
        ("<script>alert(1)</script>", "an unknown browser"),
    ],
)  # fmt: skip
def test_browser__is_said_in_words(agent: str, said: str) -> None:
    """AUTH-3: for people who must recognise it; nothing of what was sent is repeated."""
    assert browser_words(agent) == said
