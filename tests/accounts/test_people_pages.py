"""The list of people, one user's page, the confirmation of changes, new users and passwords: at the pages."""

from __future__ import annotations

import re
from itertools import product
from typing import Any, cast

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from opsportal.accounts import people, strategies
from opsportal.accounts.actors import Actor
from opsportal.accounts.models import StrategyGrant, User, UserSession
from opsportal.accounts.roles import Role
from opsportal.audit.models import Entry
from tests.factories import UserFactory

ROOT = Actor.system("test")
LIST, CHANGE, ADD = "/admin/accounts/", "/admin/accounts/change/", "/admin/accounts/add/"
HUGE = "9" * 400
NASTY = [
    "\x00",
    "%00",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    HUGE,
    "-1",
    "1e400",
    "<b>",
    "x" * 5_000,
]


@pytest.fixture
def desk(users: Any) -> Client:
    """An admin at a browser."""
    client = Client()
    client.force_login(users.admin, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


def make(role: str | None = "viewer", **values: Any) -> User:
    user: Any = UserFactory(role=role, **values)  # type: ignore[no-untyped-call]
    return cast(User, user)


def many(number: int) -> None:
    """Users as a large firm has them, without hashing a password for each."""
    made = User.objects.bulk_create(
        User(username=f"trader{n:05}", first_name="T", is_staff=True, last_active_at=timezone.now(), password="!")
        for n in range(number)
    )
    role = Group.objects.get(name="viewer")
    User.groups.through.objects.bulk_create(User.groups.through(user=user, group=role) for user in made)
    strategy = strategies.create_strategy("Momentum", by=ROOT)
    StrategyGrant.objects.bulk_create(StrategyGrant(user=user, strategy=strategy, granted_by="test") for user in made)


def words(answer: Any) -> str:
    """The text of a page, without markup."""
    main = re.sub(r"(?s)^.*?<main", "", answer.content.decode())
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", main))


def hidden(answer: Any, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.content.decode())
    assert found, name
    return found.group(1)


def confirm(client: Client, do: str, *users: User, reason: str = "as agreed with the desk") -> Any:
    """Open the confirmation and press the button."""
    query: dict[str, Any] = {"do": do, "user": [user.pk for user in users]}
    drawn = client.get(CHANGE, query)
    assert drawn.status_code == 200, words(drawn)
    return client.post(CHANGE, {**query, "version": hidden(drawn, "version"), "reason": reason})


# ---------------------------------------------------------------- the list
def test_list__shows_what_an_admin_needs(desk: Client, users: Any) -> None:
    """AM-1: role, strategies, last active time and address, sessions, state."""
    momentum = strategies.create_strategy("Momentum", by=ROOT)
    user = people.create_user("ada", "x", Role.OPERATOR, by=ROOT, first_name="Ada", strategies=[momentum])
    browser = Client()
    browser.force_login(user, backend="opsportal.accounts.backends.CachedUserBackend")
    browser.get("/admin/")
    people.disable_user(users.viewer, by=ROOT, reason="left")
    text = words(desk.get(LIST))
    assert re.search(r"ada Ada operator Momentum .{10,60}UTC 127\.0\.0\.1 1 enabled", text), text
    assert re.search(rf"{users.viewer.username} viewer – never 0 disabled", text), text


def test_list__5000_users__a_fixed_number_of_queries(desk: Client) -> None:
    """AM-1: 50 a page, however many there are."""
    desk.get(LIST)
    with CaptureQueriesContext(
        connection,
    ) as few:
        desk.get(LIST)
    many(5_000)
    with CaptureQueriesContext(connection) as crowd:
        answer = desk.get(LIST, {"page": 3})
    assert len(crowd) <= len(few) + 1 <= 12, [query["sql"] for query in crowd.captured_queries]
    assert answer.content.decode().count('name="user"') == 50
    assert "5001 users, page 3 of 101" in words(answer)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "LOVELACE"}, {"ada"}),
        ({"q": "ada love"}, {"ada"}),
        ({"role": "operator"}, {"grace"}),
        ({"role": "viewer"}, {"ada", "bob"}),
        ({"role": "superuser"}, {"root"}),
        ({"role": "none"}, {"nobody"}),
        ({"state": "disabled"}, {"bob"}),
        ({"role": "viewer", "state": "enabled"}, {"ada"}),
        ({"strategy": "Momentum"}, {"grace"}),
        ({"q": "zzz"}, set()),
    ],
    ids=str,
)
def test_list__filters__find(desk: Client, query: dict[str, str], found: set[str]) -> None:
    """AM-1: by name, role, strategy, state, and together."""
    make("viewer", username="ada", first_name="Ada", last_name="Lovelace")
    make("viewer", username="bob", is_active=False)
    grace = make("operator", username="grace")
    grace.groups.add(Group.objects.get(name="viewer"))  # the stronger role counts
    make(None, username="root", is_superuser=True)
    make(None, username="nobody")
    momentum = strategies.create_strategy("Momentum", by=ROOT)
    StrategyGrant.objects.create(user=grace, strategy=momentum, granted_by="test")
    if "strategy" in query:
        query = {"strategy": str(momentum.pk)}
    answer = desk.get(LIST, query)
    shown = set(re.findall(r'aria-label="Select ([^"]+)"', answer.content.decode()))
    assert shown & {"ada", "bob", "grace", "root", "nobody"} == found


def test_list__bad_filter__is_answered_in_words(desk: Client) -> None:
    """Q-5: never an error page."""
    for name, value in product(("q", "role", "strategy", "state", "page"), NASTY):
        assert desk.get(LIST, {name: value}).status_code == 200, (name, value)


def test_filter__that_makes_no_sense__is_named(desk: Client) -> None:
    """Q-5: and shows nobody rather than everybody."""
    answer = desk.get(LIST, {"role": "emperor"})
    assert "emperor" in words(answer) and 'name="user"' not in answer.content.decode()


# ---------------------------------------------------------------- the confirmation
def test_confirmation__shows_old_new_and_refusals_and_does_it(desk: Client, users: Any) -> None:
    """AM-1, AM-2: what was shown is what happens."""
    same = make("viewer", username="same")
    query = {"do": "role:viewer", "user": [users.operator.pk, same.pk, users.admin.pk]}
    drawn = desk.get(CHANGE, query)
    text = words(drawn)
    assert "1 of 3 selected users. Nothing is done yet." in text
    assert f"{users.operator.username} operator viewer 0" in text
    assert "same viewer no change" in text
    assert f"{users.admin.username} admin refused Nobody changes the own role." in text
    assert User.objects.get(pk=users.operator.pk).role == Role.OPERATOR
    answer = desk.post(
        CHANGE, {**query, "version": hidden(drawn, "version"), "reason": "moves to research"}, follow=True
    )
    assert f"done for {users.operator.username}" in answer.content.decode()
    assert User.objects.get(pk=users.operator.pk).role == Role.VIEWER
    (entry,) = Entry.objects.filter(event="role_change")
    assert entry.reason == "moves to research" and entry.remote_addr == "127.0.0.1"


def test_confirmation__overtaken__is_drawn_again(desk: Client, users: Any) -> None:
    """AM-1: 409, a fresh table, what was typed stays, nothing is done; the fresh one then works."""
    other = make("viewer")
    query: dict[str, Any] = {"do": "disable", "user": [users.viewer.pk, other.pk]}
    drawn = desk.get(CHANGE, query)
    people.disable_user(other, by=ROOT, reason="faster")
    query |= {"version": hidden(drawn, "version"), "reason": "both have left"}
    answer = desk.post(CHANGE, query)
    assert answer.status_code == 409 and "Nothing was done" in words(answer)
    assert "both have left" in answer.content.decode()
    assert "disabled no change" in words(answer)
    assert User.objects.get(pk=users.viewer.pk).is_active
    assert desk.post(CHANGE, {**query, "version": hidden(answer, "version")}).status_code == 302
    assert not User.objects.get(pk=users.viewer.pk).is_active


@pytest.mark.parametrize(
    "do", ["role:viewer", "role:operator", "role:admin", "grant", "revoke", "sign-out", "disable", "enable"]
)
def test_bulk__each_action__from_list_to_done(desk: Client, do: str) -> None:
    """AM-1, AM-2, AM-4: one entry a user, and the list or the user's page afterwards."""
    strategy = strategies.create_strategy("Momentum", by=ROOT)
    pair = [make(None, is_active=do != "enable"), make(None, is_active=do != "enable")]
    if do == "revoke":
        for user in pair:
            StrategyGrant.objects.create(user=user, strategy=strategy, granted_by="test")
    event = {"role": "role_change", "grant": "strategy_grant", "revoke": "strategy_revoke", "sign-out": "sessions_end",
             "disable": "user_disable", "enable": "user_enable"}[do.split(":")[0]]  # fmt: skip
    value = f"{do}:{strategy.pk}" if do in ("grant", "revoke") else do
    answer = confirm(desk, value, *pair)
    assert answer.status_code == 302 and answer["Location"] == LIST
    assert {entry.resource_id for entry in Entry.objects.filter(event=event)} == {str(user.pk) for user in pair}


@pytest.mark.parametrize(
    "value",
    ["", "delete", "role:emperor", "role:", "grant", "grant:0", f"grant:{HUGE}", "grant:x", "disable:1", "\x00"],
)
def test_confirmation__of_nonsense__is_refused_in_words(desk: Client, users: Any, value: str) -> None:
    """Q-5."""
    for ask in (desk.get, desk.post):
        answer = ask(CHANGE, {"do": value, "user": users.viewer.pk})
        assert answer.status_code == 422 and 'role="alert"' in answer.content.decode()


def test_confirmation__of_nobody__is_refused_in_words(desk: Client) -> None:
    """Q-5: ids that cannot be ids, names that nobody has."""
    for value in [*NASTY, ""]:
        assert desk.get(CHANGE, {"do": "disable", "user": value}).status_code == 422, value
        assert desk.get(CHANGE, {"do": "disable", "name": value}).status_code == 422, value
        answer = desk.post(CHANGE, {"do": "disable", "user": value, "reason": value, "version": value})
        assert answer.status_code == 422, value


@pytest.mark.parametrize("reason", ["", "  ", "\x00", "x" * 1_001])
def test_confirmation__reason_missing_or_wrong__says_so_and_does_nothing(desk: Client, users: Any, reason: str) -> None:
    """AM-1, Q-5."""
    answer = confirm(desk, "disable", users.viewer, reason=reason)
    assert answer.status_code == 422 and "errorlist" in answer.content.decode()
    assert User.objects.get(pk=users.viewer.pk).is_active


def test_confirmation__with_a_forged_version__does_nothing(desk: Client, users: Any) -> None:
    """AM-1: a POST without the page before it."""
    answer = desk.post(CHANGE, {"do": "disable", "user": users.viewer.pk, "reason": "quick"})
    assert answer.status_code == 409 and User.objects.get(pk=users.viewer.pk).is_active


# ---------------------------------------------------------------- new users
def test_new_user__password_is_shown_once_and_kept_nowhere(desk: Client, users: Any, caplog: Any) -> None:
    """AM-1, AU-3: on the answer alone, which nobody may store."""
    values = {"username": "ada", "first_name": "Ada", "last_name": "", "email": "ada@example.com", "role": "operator"}
    answer = desk.post(ADD, values)
    assert answer.status_code == 200 and answer["Cache-Control"] == "no-store"
    found = re.search(r'id="once-text" type="text" value="([^"]+)"', answer.content.decode())
    assert found
    password = found.group(1)
    user = User.objects.get(username="ada")
    assert user.check_password(password) and user.must_change_password and user.role == Role.OPERATOR
    elsewhere = str([
        *Entry.objects.values_list("additional_data", "changes", "reason", "object_repr"),
        *UserSession.objects.values_list("session_data"),
        caplog.text, dict(answer.headers), answer.cookies.output(), desk.session.items(),
        desk.get(reverse("admin:accounts_person", args=[user.pk])).content.decode(),
    ])  # fmt: skip
    assert password not in elsewhere and "ada@example.com" not in elsewhere


@pytest.mark.parametrize("name", ["username", "first_name", "last_name", "email", "role", "strategies"])
def test_new_user__bad_value__is_refused_in_words(desk: Client, name: str) -> None:
    """Q-5: or taken, where it is only odd."""
    for number, value in enumerate(NASTY):
        before = User.objects.count()
        answer = desk.post(ADD, {"username": f"ada{number}", "role": "viewer", name: value})
        assert answer.status_code in (200, 422), value
        assert User.objects.count() == before + (answer.status_code == 200), value


def test_new_user__nothing_at_all__says_what_is_missing(desk: Client) -> None:
    """Q-5."""
    answer = desk.post(ADD, {})
    assert answer.status_code == 422 and "This field is required" in words(answer)
    answer = desk.post(ADD, {"role": "viewer"})
    assert answer.status_code == 422 and "Give a user name." in words(answer)


# ---------------------------------------------------------------- one user
def test_page_of_a_user__shows_facts_without_the_address(desk: Client, users: Any) -> None:
    """AM-1, AC-5: and what was done to them."""
    user = people.create_user("ada", "x", Role.VIEWER, by=ROOT, email="ada@example.com")
    people.disable_user(user, by=ROOT, reason="left in spring")
    text = words(desk.get(reverse("admin:accounts_person", args=[user.pk])))
    assert "Disabled: left in spring" in text
    assert "***@example.com" in text and "ada@example.com" not in text
    assert "User disable" in text and "User create" in text


def test_page_of_a_user__without_the_log_permission__has_no_entries(users: Any) -> None:
    """RBAC-1: a custom group may see people and not the log."""
    group = Group.objects.create(name="front desk")
    from django.contrib.auth.models import Permission

    group.permissions.add(Permission.objects.get(codename="view_user"))
    users.viewer.groups.add(group)
    client = Client()
    client.force_login(users.viewer, backend="opsportal.accounts.backends.CachedUserBackend")
    answer = client.get(reverse("admin:accounts_person", args=[users.admin.pk]))
    text = words(answer)
    assert answer.status_code == 200 and "audit log" not in text
    for button in ("Edit name", "New password", "Disable", "Sign out everywhere", "Change role", "Grant"):
        assert button not in text
    assert client.get(CHANGE, {"do": "disable", "user": users.operator.pk}).status_code == 403


def test_page_of_nobody__is_not_found(desk: Client) -> None:
    """Q-5: also for numbers that no database holds."""
    for pk, where in product(("0", "999999999", HUGE, "9" * 5_000), ("", "edit/", "password/")):
        assert desk.get(f"{LIST}{pk}/{where}").status_code == 404
        assert desk.get(f"{LIST}strategies/{pk}/").status_code == 404


def test_edit__changes_names_and_keeps_the_address(desk: Client, users: Any) -> None:
    """AM-1, AC-5: the address goes neither to the browser nor away."""
    user = people.create_user("ada", "x", Role.VIEWER, by=ROOT, first_name="Ada", email="ada@example.com")
    where = reverse("admin:accounts_edit", args=[user.pk])
    drawn = desk.get(where)
    assert "ada@example.com" not in drawn.content.decode() and "***@example.com" in words(drawn)
    values = {"expected_first_name": "Ada", "expected_last_name": "", "first_name": "Ada", "last_name": "King"}
    assert desk.post(where, values).status_code == 302
    user.refresh_from_db()
    assert user.get_full_name() == "Ada King" and user.email == "ada@example.com"
    stale = desk.post(where, {**values, "last_name": "Byron"})
    assert stale.status_code == 409 and "Ada King" in words(stale)
    assert desk.post(where, {**values, "expected_last_name": "King", "remove_email": "on"}).status_code == 302
    user.refresh_from_db()
    assert user.email == ""


def test_edit__overtaken__the_form_shown_again_can_be_sent(desk: Client, users: Any) -> None:
    """AM-1: with what was typed, over what is there now."""
    where = reverse("admin:accounts_edit", args=[users.viewer.pk])
    people.update_user(users.viewer, by=ROOT, first_name="Faster", last_name="")
    answer = desk.post(where, {"expected_first_name": "", "first_name": "Slower"})
    assert answer.status_code == 409 and 'value="Slower"' in answer.content.decode()
    again = {"expected_first_name": hidden(answer, "expected_first_name"), "first_name": "Slower"}
    assert desk.post(where, again).status_code == 302
    assert User.objects.get(pk=users.viewer.pk).first_name == "Slower"


def test_roles_page__is_the_matrix_of_the_code(desk: Client, users: Any) -> None:
    """AM-2, RBAC-2: with the number of users, and groups beside the roles."""
    group = Group.objects.create(name="night shift")
    make("viewer", is_active=False)
    users.viewer.groups.add(group)
    text = words(desk.get(reverse("admin:accounts_roles")))
    assert "Trip the circuit breaker no ✓ yes ✓ yes" in text
    assert "Read the audit log no no ✓ yes" in text
    assert "viewer 1 user" in text and "admin 1 user" in text
    assert "night shift 1 user no permission" in text


# ---------------------------------------------------------------- who may not
PAGES = [
    "",
    "add/",
    "change/?do=disable&user=1",
    "roles/",
    "strategies/",
    "strategies/add/",
    "{pk}/",
    "{pk}/edit/",
    "{pk}/password/",
]


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_pages__viewer_or_operator__are_refused_and_each_is_audited(users: Any, role: str) -> None:
    """RBAC-1, AU-2: the refusal says what is missing and who has it."""
    user = getattr(users, role)
    client = Client()
    client.force_login(user, backend="opsportal.accounts.backends.CachedUserBackend")
    for page in PAGES:
        answer = client.get(LIST + page.format(pk=users.admin.pk))
        assert answer.status_code == 403 and "role <strong>admin</strong> can" in answer.content.decode(), page
    denied = Entry.objects.filter(event="admin_page_access_denied", outcome="denied", actor_id=user.pk)
    missing = [str(details["missing"]) for details in denied.values_list("additional_data", flat=True) if details]
    assert len(missing) == len(PAGES) and all(name.startswith("accounts.") for name in missing)
