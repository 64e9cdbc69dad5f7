"""The registry's pages in the admin as a browser without JavaScript sees them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from health import services
from health.models import Service
from opsportal.audit.models import Entry
from tests.desk import DESK

BACKEND = "opsportal.accounts.backends.CachedUserBackend"
LIST = "/admin/health/service/"
ADD = "/admin/health/service/add/"


def make(name: str = "orders", **values: Any) -> Service:
    return services.create_service(by=DESK, **{"name": name, "base_url": f"http://{name}:8080", **values})


def as_role(users: Any, role: str) -> Client:
    client = Client()
    client.force_login(getattr(users, role), backend=BACKEND)
    return client


def typed(**values: Any) -> dict[str, Any]:
    """What a browser sends with the form."""
    form = {
        "name": "orders",
        "base_url": "http://orders:8080",
        "owner": "Execution",
        "runbook_url": "",
        "interval": "5",
        "timeout": "5.0",
        "enabled": "on",
        "_save": "Save",
    }
    return {**form, **values}


def test_pages__operator__adds_changes_and_removes(db: None, users: Any) -> None:
    """HM-1: the whole life of a service through the admin, recorded once each."""
    client = as_role(users, "operator")
    assert client.post(ADD, typed(base_url="http://orders:8080/health")).status_code == 302
    orders = Service.objects.get()
    assert (orders.base_url, orders.owner) == ("http://orders:8080", "Execution")
    risk = make("risk")

    change = f"{LIST}{orders.pk}/change/"
    version = client.get(change).context["adminform"].form.initial["version"]
    answer = client.post(change, typed(interval="30", depends_on=[risk.pk], enabled="", version=version), follow=True)
    assert "was changed successfully" in answer.content.decode()
    orders.refresh_from_db()
    assert (orders.interval, orders.enabled, list(orders.depends_on.all())) == (30, False, [risk])

    question = client.get(f"{LIST}{risk.pk}/delete/").content.decode()
    assert "orders will no longer depend on it" in question and "90 days" in question
    assert client.post(f"{LIST}{risk.pk}/delete/", {"post": "yes"}).status_code == 302
    assert list(Service.objects.all()) == [orders]
    events = Entry.objects.filter(actor=users.operator, event__startswith="service_").order_by("id")
    assert [entry.event for entry in events] == ["service_create", "service_update", "service_delete"]


def test_form__several_faults__names_each_beside_its_field(db: None, users: Any) -> None:
    """HM-1: all at once, in plain words, and nothing is kept."""
    client = as_role(users, "operator")
    make("risk")
    sent = typed(name="risk", base_url="http://me:pw@orders", owner="a@example.com", interval="0", timeout="x")
    errors = client.post(ADD, sent).context["adminform"].form.errors
    assert set(errors) == {"name", "base_url", "owner", "interval", "timeout"}
    assert "already a service" in errors["name"][0] and "Leave user name" in errors["base_url"][0]
    assert Service.objects.count() == 1


def test_form__somebody_else_saved_meanwhile__keeps_what_was_typed(db: None, users: Any) -> None:
    """HM-1: the second of two is told, and nothing is overwritten."""
    orders, client = make(), as_role(users, "operator")
    change = f"{LIST}{orders.pk}/change/"
    version = client.get(change).context["adminform"].form.initial["version"]
    services.update_service(orders, by=DESK, owner="Risk")
    page = client.post(change, typed(owner="Typed by hand", version=version)).content.decode()
    assert "Somebody changed this" in page and "Typed by hand" in page
    assert Service.objects.get().owner == "Risk"
    assert "Somebody changed this" in client.post(change, typed()).content.decode()  # a form without a version


def test_form__circle__is_an_error_of_the_field(db: None, users: Any) -> None:
    """HM-12: seen where it was chosen."""
    client, risk = as_role(users, "operator"), make("risk")
    orders = make("orders", depends_on=[risk])
    change = f"{LIST}{risk.pk}/change/"
    version = client.get(change).context["adminform"].form.initial["version"]
    sent = typed(name="risk", base_url="http://risk:8080", owner="", depends_on=[orders.pk], version=version)
    errors = client.post(change, sent).context["adminform"].form.errors
    assert "risk → orders → risk" in errors["depends_on"][0]


def test_pages__viewer__reads_and_is_refused_the_rest(db: None, users: Any) -> None:
    """RBAC-1: read-only, and a refusal that says what is missing and is audited."""
    orders, client = make(owner="Execution"), as_role(users, "viewer")
    page = client.get(LIST).content.decode()
    assert "orders" in page and "Add service" not in page
    form = client.get(f"{LIST}{orders.pk}/change/").content.decode()
    assert "Execution" in form and 'name="_save"' not in form and '<input type="text"' not in form
    for answer in (
        client.get(ADD),
        client.post(ADD, typed()),
        client.post(f"{LIST}{orders.pk}/change/", typed(interval="9")),
        client.get(f"{LIST}{orders.pk}/delete/"),
        client.post(f"{LIST}{orders.pk}/delete/", {"post": "yes"}),
    ):
        assert answer.status_code == 403
        assert "operator" in answer.content.decode()
    assert Entry.objects.filter(event="admin_page_access_denied", actor=users.viewer).count() == 5
    assert Service.objects.get().interval == 5


@pytest.mark.parametrize(
    "path",
    [
        LIST + "?q=%00",
        LIST + "?owner=%00",
        LIST + "?enabled__exact=perhaps",
        LIST + "?o=99&p=99999",
        LIST + "?nothing=1",
        LIST + "99999999999999999999/change/",
        LIST + "%00/change/",
        LIST + "x/delete/",
        ADD + "?interval=x&depends_on=%00&_to_field=nothing",
        LIST + "1/history/",
    ],
)
def test_pages__nonsense_in_the_address__is_never_a_failure(db: None, users: Any, path: str) -> None:
    """Q-5: bad input of any kind is answered."""
    make()
    assert as_role(users, "operator").get(path, follow=True).status_code < 500


@pytest.mark.parametrize(
    "sent",
    [
        {"depends_on": ["99999999999999999999"]},
        {"depends_on": ["x", "\x00"]},
        {"name": "a\x00b"},
        {"interval": "9" * 400},
        {"timeout": "nan"},
        {"owner": "\x00"},
        {"runbook_url": "http://[::1"},
    ],
)
def test_form__nonsense__is_refused_beside_the_field(db: None, users: Any, sent: dict[str, Any]) -> None:
    """Q-5: never a 500."""
    answer = as_role(users, "operator").post(ADD, typed(**sent))
    assert answer.context["adminform"].form.errors.keys() == sent.keys()
    assert not Service.objects.exists()


def test_list__five_hundred__needs_no_query_a_row(db: None, users: Any, django_assert_max_num_queries: Any) -> None:
    """HM-9: the registry of a large platform opens at once."""
    rows = Service.objects.bulk_create(
        Service(name=f"service-{n:03}", base_url=f"http://service-{n}:8080") for n in range(500)
    )
    for child, parent in zip(rows[1:], rows, strict=False):
        child.depends_on.add(parent)
    client = as_role(users, "operator")
    client.get(LIST)
    with django_assert_max_num_queries(12):
        assert client.get(LIST).status_code == 200
