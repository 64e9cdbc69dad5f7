"""What may be done to users, and by whom: the rules in the services, also when two admins act at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from django.db import OperationalError, connection, connections

from opsportal.accounts import people, strategies
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.changes import Change, Verb, carry_out, plan_change, users_to_change
from opsportal.accounts.models import StrategyGrant, User
from opsportal.accounts.records import one_at_a_time
from opsportal.accounts.refusals import InvalidInput, Refused, StaleForm, WrongState
from opsportal.accounts.roles import Role
from opsportal.audit.models import Entry
from tests.factories import UserFactory
from tests.waiting import until

ROOT = Actor.system("test")
TO_VIEWER = Change(Verb.ROLE, role=Role.VIEWER)
TO_ADMIN = Change(Verb.ROLE, role=Role.ADMIN)
DISABLE = Change(Verb.DISABLE)


def make(role: str | None = None, **values: Any) -> User:
    user: Any = UserFactory(role=role, **values)  # type: ignore[no-untyped-call]
    return cast(User, user)


def entries(event: str) -> list[Any]:
    return list(Entry.objects.filter(event=event).order_by("id"))


def confirmed(change: Change, users: list[User], *, by: Actor, reason: str = "as agreed") -> list[str]:
    """Do what a fresh plan shows; the user names that were changed."""
    ids = [user.pk for user in users]
    plan = plan_change(change, users_to_change(ids), by=by)
    done = carry_out(change, ids, by=by, reason=reason, expected_version=plan.version)
    return [step.user.username for step in done.doing]


# ---------------------------------------------------------------- oneself, and the last admin
def test_own_role_and_own_account__are_out_of_reach(users: Any) -> None:
    """AM-2: nobody demotes or disables oneself, also not where other admins remain."""
    make("admin")
    by = Actor.of(users.admin)
    with pytest.raises(WrongState, match="own role"):
        people.set_role(users.admin, Role.VIEWER, by=by)
    with pytest.raises(WrongState, match="own account"):
        people.disable_user(users.admin, by=by, reason="a holiday")
    users.admin.refresh_from_db()
    assert users.admin.is_active and users.admin.role == Role.ADMIN
    assert entries("role_change") == entries("user_disable") == []


@pytest.mark.parametrize("change", [TO_VIEWER, DISABLE], ids=["demoted", "disabled"])
def test_last_enabled_admin__stays(users: Any, change: Change) -> None:
    """AM-2: also against the command line; a disabled admin and one who is no staff do not count."""
    make("admin", is_active=False)
    make("admin", is_staff=False)
    plan = plan_change(change, users_to_change([users.admin.pk, users.viewer.pk]), by=ROOT)
    assert ["last enabled admin" in step.refusal for step in plan.steps if step.user == users.admin] == [True]
    with pytest.raises(WrongState):
        carry_out(change, [users.admin.pk], by=ROOT, reason="x", expected_version=plan_change(
            change, users_to_change([users.admin.pk]), by=ROOT).version)  # fmt: skip


def test_superuser_without_a_role__counts_as_an_admin(users: Any) -> None:
    """AM-2: with one the last admin of the role may go; the superuser then stays."""
    chief = make(None, is_superuser=True)
    assert confirmed(TO_VIEWER, [users.admin], by=ROOT) == [users.admin.username]
    with pytest.raises(WrongState, match="last enabled admin"):
        people.disable_user(chief, by=ROOT, reason="left")


def test_superuser__given_a_role__has_only_that_role(users: Any) -> None:
    """AM-2, RBAC-1: a role is exactly what it says."""
    make("admin")
    chief = make(None, is_superuser=True)
    people.set_role(chief, Role.VIEWER, by=ROOT)
    chief = User.objects.get(pk=chief.pk)
    assert not chief.is_superuser and chief.role == Role.VIEWER and not chief.has_perm("accounts.change_user")
    assert entries("role_change")[0].additional_data["before"] == "superuser"


def test_bulk__all_admins_selected__one_is_left(users: Any) -> None:
    """AM-1, AM-2: the rule holds over the whole selection, not for each user alone."""
    admins = [users.admin, make("admin"), make("admin")]
    assert len(confirmed(DISABLE, admins, by=ROOT)) == 2
    assert User.objects.filter(groups__name="admin", is_active=True).count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [TO_VIEWER, DISABLE], ids=["demote", "disable"])
def test_two_admins__each_against_the_other_at_once__one_stays(change: Change) -> None:
    """AM-2: whoever comes second has lost the right, and the last admin stays."""
    pair = [make("admin"), make("admin")]
    actors = [Actor.of(User.objects.get(pk=user.pk)) for user in pair]
    assert all(actor.may("accounts.change_user") for actor in actors)  # what a request remembers of its user
    together = threading.Barrier(2)

    def attack(one: int) -> str:
        try:
            together.wait(10)
            confirmed(change, [pair[1 - one]], by=actors[one])
            return "done"
        except (PermissionRefused, Refused) as refusal:
            return type(refusal).__name__
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(attack, (0, 1)))
    assert answers[1] == "done" and answers[0] in ("PermissionRefused", "StaleForm", "WrongState")
    assert User.objects.filter(groups__name="admin", is_active=True).count() == 1


@pytest.mark.django_db(transaction=True)
def test_actor_demoted_while_waiting__is_refused() -> None:
    """RBAC-1: the right counts at the moment of the change, not when the request began."""
    chief, other, victim = make("admin"), make("admin"), make("viewer")
    by = Actor.of(User.objects.get(pk=other.pk))
    assert by.may("accounts.change_user")
    answers: list[str] = []

    def late() -> None:
        try:
            people.disable_user(victim, by=by, reason="too late")
            answers.append("done")
        except PermissionRefused as refusal:
            answers.append(refusal.missing)
        finally:
            connections.close_all()

    waiting = threading.Thread(target=late)
    with one_at_a_time(Actor.of(chief), "accounts.change_user"):
        waiting.start()
        until(_somebody_waits, what="the other transaction waits for the lock")
        other.groups.clear()
    waiting.join(10)
    assert answers == ["accounts.change_user"]
    assert User.objects.get(pk=victim.pk).is_active


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return bool(cursor.fetchone()[0])


# ---------------------------------------------------------------- many at once
def test_bulk__role__changes_all_with_an_entry_each(users: Any) -> None:
    """AM-1, AU-3: old and new, the reason, one entry a user; who has the role already is left alone."""
    chosen = [users.viewer, users.operator, make("operator")]
    by = Actor.of(users.admin)
    assert len(confirmed(TO_VIEWER, chosen, by=by, reason="desk closed")) == 2
    written = entries("role_change")
    assert {entry.resource_id for entry in written} == {str(user.pk) for user in chosen[1:]}
    assert all(entry.reason == "desk closed" and entry.actor_id == users.admin.pk for entry in written)
    assert all(entry.additional_data["before"] == "operator" for entry in written)
    assert all(entry.additional_data["after"] == "viewer" for entry in written)


def test_bulk__changed_since_it_was_drawn__nothing_is_done(users: Any) -> None:
    """AM-1: not even for those who are as they were."""
    chosen = [users.operator.pk, make("operator").pk]
    drawn = plan_change(TO_ADMIN, users_to_change(chosen), by=ROOT).version
    people.set_role(users.operator, Role.VIEWER, by=ROOT)
    with pytest.raises(StaleForm):
        carry_out(TO_ADMIN, chosen, by=ROOT, reason="promotion", expected_version=drawn)
    assert User.objects.get(pk=chosen[1]).role == Role.OPERATOR
    assert len(entries("role_change")) == 1


@pytest.mark.django_db(transaction=True)
def test_bulk__one_write_fails__all_is_undone() -> None:
    """AM-1, AU-3: one transaction. Somebody else holds the row of the second user for too long."""
    chosen = [make("viewer", username="first"), make("viewer", username="second")]
    elsewhere = connection.copy()
    try:
        elsewhere.set_autocommit(False)
        with elsewhere.cursor() as cursor:
            cursor.execute("SELECT 1 FROM accounts_user WHERE id = %s FOR UPDATE", [chosen[1].pk])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '200ms'")
        with pytest.raises(OperationalError):
            confirmed(DISABLE, chosen, by=ROOT)
    finally:
        elsewhere.close()
        connection.close()
    assert User.objects.filter(is_active=True).count() == 2
    assert entries("user_disable") == []


def test_bulk__without_a_reason__is_refused(users: Any) -> None:
    """AM-1."""
    with pytest.raises(InvalidInput) as refused:
        confirmed(DISABLE, [users.viewer], by=ROOT, reason="  ")
    assert refused.value.field == "reason"


def test_bulk__too_many_or_nobody__is_refused(users: Any) -> None:
    """AM-1: a confirmation that nobody can read is none."""
    with pytest.raises(InvalidInput, match="at most 500"):
        users_to_change(range(1, 502))
    with pytest.raises(InvalidInput, match="Nobody"):
        users_to_change([])


def test_disable_and_enable__keep_the_reason_and_take_it_back(users: Any) -> None:
    """AM-1, AU-2: the reason is kept without what must not be in it."""
    people.disable_user(users.viewer, by=ROOT, reason="left, forward to eve@example.com")
    assert not users.viewer.is_active and users.viewer.disabled_reason == "left, forward to ***@example.com"
    with pytest.raises(WrongState, match="disabled already"):
        people.disable_user(users.viewer, by=ROOT, reason="again")
    people.enable_user(users.viewer, by=ROOT, reason="is back")
    assert users.viewer.is_active and users.viewer.disabled_reason == ""
    events = Entry.objects.filter(event__startswith="user_").order_by("id").values_list("event", flat=True)
    assert list(events) == ["user_disable", "user_enable"]


def test_disable__without_a_reason__is_refused(users: Any) -> None:
    """AM-1."""
    with pytest.raises(InvalidInput):
        people.disable_user(users.viewer, by=ROOT, reason=" \n ")
    assert User.objects.get(pk=users.viewer.pk).is_active


# ---------------------------------------------------------------- new users, names, passwords
@pytest.mark.parametrize("name", ["ADA", "ada", "Ａda", " ada "])
def test_user_name__taken_in_other_letters__is_refused(users: Any, name: str) -> None:
    """AM-1: one form of every letter (NFKC), whatever the capitals."""
    people.create_user("Ada", "x", Role.VIEWER, by=ROOT)
    with pytest.raises(InvalidInput, match="already") as refused:
        people.create_user(name, "x", Role.VIEWER, by=ROOT)
    assert refused.value.field == "username"


@pytest.mark.parametrize("name", ["", "   ", "a b", "a\x00b", "a/b", "<script>", "x" * 151, "é\u202e", "😀"])
def test_user_name__that_cannot_be_one__is_refused(users: Any, name: str) -> None:
    """AM-1: Django's own rule, with a sentence."""
    with pytest.raises(InvalidInput) as refused:
        people.create_user(name, "x", Role.VIEWER, by=ROOT)
    assert refused.value.field == "username" and refused.value.sentence


@pytest.mark.django_db(transaction=True)
def test_user_name__made_twice_at_once__is_made_once() -> None:
    """AM-1: the database would let "Ada" and "ada" both in."""
    together = threading.Barrier(2)

    def create(name: str) -> str:
        try:
            together.wait(10)
            people.create_user(name, "x", Role.VIEWER, by=ROOT)
            return "done"
        except InvalidInput:
            return "taken"
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(create, ("Ada", "ada"))) == ["done", "taken"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"first_name": "a\x00b"}, "first_name"),
        ({"last_name": "x" * 151}, "last_name"),
        ({"email": "not an address"}, "email"),
        ({"email": "a@b.c\x00"}, "email"),
        ({"email": "a" * 300 + "@example.com"}, "email"),
    ],
)
def test_facts_of_a_user__wrong__are_named(users: Any, values: dict[str, str], field: str) -> None:
    """AM-1, Q-5."""
    with pytest.raises(InvalidInput) as refused:
        people.create_user("new", "x", Role.VIEWER, by=ROOT, **values)  # type: ignore[arg-type]
    assert refused.value.field == field


def test_new_user__has_role_strategies_and_one_entry(users: Any) -> None:
    """AM-1, AM-4, AU-3: and no password or address in the log."""
    momentum = strategies.create_strategy("Momentum", by=ROOT)
    by = Actor.of(users.admin)
    user = people.create_user(
        "Ada", "Only-Shown-Once-1234", Role.OPERATOR, by=by, first_name="Ada", email="ada@example.com",
        strategies=[momentum], one_time=True,
    )  # fmt: skip
    assert user.role == Role.OPERATOR and user.is_staff and user.must_change_password
    assert StrategyGrant.objects.get(user=user).granted_by == users.admin.username
    (entry,) = entries("user_create")
    assert entry.additional_data == {"username": "Ada", "role": "operator", "strategies": ["Momentum"]}
    everything = str(list(Entry.objects.values_list("additional_data", "changes", "reason", "object_repr")))
    assert "Only-Shown" not in everything and "ada@example.com" not in everything


def test_new_user__with_a_retired_strategy__is_refused(users: Any) -> None:
    """AM-4: and the user is not half made."""
    old = strategies.create_strategy("Old", by=ROOT)
    strategies.update_strategy(old, by=ROOT, name="Old", description="", retired=True)
    with pytest.raises(InvalidInput, match="retired"):
        people.create_user("ada", "x", Role.VIEWER, by=ROOT, strategies=[old])
    assert not User.objects.filter(username="ada").exists()


def test_names__changed__say_from_what_to_what_but_not_the_address(users: Any) -> None:
    """AM-1, AC-5."""
    kept = people.update_user(users.viewer, by=ROOT, first_name="Vera", last_name="", email="vera@example.com")
    assert kept
    (entry,) = entries("user_update")
    assert entry.additional_data["first_name"] == {"before": "", "after": "Vera"}
    assert entry.additional_data["email"] == "changed"
    assert not people.update_user(users.viewer, by=ROOT, first_name="Vera", last_name="")
    assert User.objects.get(pk=users.viewer.pk).email == "vera@example.com"
    with pytest.raises(StaleForm):
        people.update_user(users.viewer, by=ROOT, first_name="X", last_name="", expected=("", ""))


def test_passwords__are_long_and_differ() -> None:
    """AM-1: more than 100 bits, in letters that are not mistaken for each other."""
    made = {people.new_password() for _ in range(200)}
    assert len(made) == 200
    assert all(len(one.replace("-", "")) == 20 and not set(one) & set("0O1lI") for one in made)


def test_services__refuse_whoever_may_not(users: Any) -> None:
    """RBAC-1: each of them, before anything is done."""
    momentum = strategies.create_strategy("Momentum", by=ROOT)
    operator = Actor.of(users.operator)
    attempts = [
        lambda: people.create_user("new", "x", Role.VIEWER, by=operator),
        lambda: people.update_user(users.viewer, by=operator, first_name="X", last_name="Y"),
        lambda: people.set_one_time_password(users.viewer, by=operator),
        lambda: people.sign_out(users.viewer, by=operator),
        lambda: people.enable_user(users.viewer, by=operator),
        lambda: confirmed(Change(Verb.GRANT, strategy=momentum), [users.viewer], by=operator),
        lambda: confirmed(Change(Verb.REVOKE, strategy=momentum), [users.viewer], by=operator),
        lambda: strategies.create_strategy("New", by=operator),
        lambda: strategies.update_strategy(momentum, by=operator, name="X", description="", retired=False),
    ]
    for attempt in attempts:
        with pytest.raises(PermissionRefused):
            attempt()
    assert not Entry.objects.exclude(event__startswith="object_").exclude(event="strategy_create").exists()
