"""The pages of channels: write-only secrets, masked facts (AC-2, AC-5)."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from alerting.channels.opening import open_row
from alerting.models import Channel, Delivery
from alerting.services import channels as services
from tests.alerting.operating import signed_in
from tests.alerting.providers.web import ACCOUNT
from tests.alerting.providers.web import TOKEN as TOKEN_OF_TWILIO
from tests.alerting.test_channels_service import MAIL, TOKEN, URL, hook, rule
from tests.conftest import Users
from tests.desk import DESK

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_rules")]
SECRETS = (
    b"verysecretpart", b"nobody-may-see", b"anna.secret", b"Anna.Secret", b"bert@", b"portal@", b"a-password-of", b"mailer-",
)  # fmt: skip


@pytest.fixture
def admin(users: Users) -> Client:
    return signed_in(users.admin)


@pytest.fixture
def operator(users: Users) -> Client:
    return signed_in(users.operator)


def mail() -> Channel:
    return services.create_channel(by=DESK, kind="email", name="Desk by mail", settings=MAIL)


def assert_silent(answer: Any) -> str:
    """The page says nothing secret or personal."""
    for secret in SECRETS:
        assert secret not in answer.content, secret
    return str(answer.content.decode())


def test_every_page__of_a_channel__has_no_secret_in_its_bytes(admin: Client, operator: Client) -> None:
    """AC-2, AC-5: lists, facts, forms; for the one who set it up as for everybody."""
    for channel in (mail(), hook()):
        rule(f"rule of {channel.pk}", channel)
        number = channel.pk
        for path in ("", f"{number}/", f"{number}/edit/", f"{number}/disable/", f"{number}/delete/"):
            assert_silent(admin.get(f"/admin/alerting/channels/{path}"))
        assert_silent(operator.get("/admin/alerting/channels/"))
        assert "***@example.com" in assert_silent(operator.get(f"/admin/alerting/channels/{number}/")) or number
        assert operator.get(f"/admin/alerting/channels/{number}/edit/").status_code == 403
    page = admin.get("/admin/alerting/channels/").content.decode()
    assert "***@example.com" in page and "hooks.example.com/…part" in page


def test_add__kind__is_chosen_first(admin: Client) -> None:
    """AD-1: every kind that people can set up; not the breaker."""
    page = admin.get("/admin/alerting/channels/add/").content.decode()
    for kind in ("email", "slack", "sms", "webhook", "pagerduty", "apprise"):
        assert f"?kind={kind}" in page
    assert "?kind=breaker" not in page
    assert admin.get("/admin/alerting/channels/add/?kind=pigeon").status_code == 200


@pytest.mark.parametrize("kind", ["email", "slack", "sms", "webhook", "pagerduty", "apprise"])
def test_add__form__is_made_of_the_kind(admin: Client, kind: str) -> None:
    """AC-2: a field for each setting; secrets as passwords that browsers do not fill in."""
    answer = admin.get(f"/admin/alerting/channels/add/?kind={kind}")
    page, form = answer.content.decode(), answer.context["settings"]
    assert form.kind.name == kind and all(f'name="set-{name}"' in page for name in form.kind.Settings.model_fields)
    assert 'type="password"' in page and 'autocomplete="new-password"' in page


def test_add__filled_in__sets_it_up(admin: Client) -> None:
    """AC-2: recipients one a line, options as a choice."""
    answer = admin.post(
        "/admin/alerting/channels/add/",
        {
            "kind": "email", "name": "Desk by mail", "enabled": "on", "set-recipients": "anna@example.com\nbert@example.org, ",
            "set-sender": "portal@example.com", "set-transport": "smtp", "set-fallback": "none",
            "set-smtp_host": "smtp.example.com", "set-smtp_port": "465", "set-smtp_security": "tls",
            "set-smtp_user": "mailer", "set-smtp_password": " a password with blanks ", "set-sendgrid_url": "",
            "set-sendgrid_api_key": "",
        },
    )  # fmt: skip
    channel = Channel.objects.get()
    assert answer.status_code == 302 and answer["Location"] == f"/admin/alerting/channels/{channel.pk}/"
    settings = open_row(channel).settings
    assert settings.recipients == ["anna@example.com", "bert@example.org"]
    assert (settings.smtp_port, settings.smtp_security) == (465, "tls")
    assert settings.smtp_password.get_secret_value() == " a password with blanks "


def test_add__with_errors__shows_them_and_sends_no_secret_back(admin: Client) -> None:
    """AC-2: what was typed as a secret must be typed again, and the page says so; the rest is there still."""
    answer = admin.post(
        "/admin/alerting/channels/add/",
        {"kind": "webhook", "name": "", "set-url": f"ftp://{TOKEN}", "set-token": TOKEN, "enabled": "on"},
    )
    page = assert_silent(answer)
    assert answer.status_code == 422 and not Channel.objects.exists()
    assert "must be typed again" in page and "Give the channel a name" in page
    assert answer.context["settings"].errors["url"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("set-smtp_port", "9" * 400), ("set-smtp_port", "x"), ("set-recipients", "x\x00@example.com"),
        ("set-transport", "pigeon"), ("set-recipients", "x" * 30_000), ("set-sender", "a@b\r\nBcc: c@d"),
        ("name", "a\x00b"), ("set-smtp_host", "127.0.0.1"),
    ],
)  # fmt: skip
def test_add__hostile_value__is_a_sentence_not_an_error(admin: Client, field: str, value: str) -> None:
    """Q-5: bad input of any kind."""
    typed = {
        "kind": "email", "name": "Desk", "set-recipients": "a@example.com", "set-sender": "p@example.com",
        "set-transport": "smtp", "set-fallback": "none", "set-smtp_host": "smtp.example.com", "set-smtp_port": "25",
        "set-smtp_security": "none",
    }  # fmt: skip
    answer = admin.post("/admin/alerting/channels/add/", {**typed, field: value})
    assert answer.status_code == 422 and not Channel.objects.exists()
    assert answer.context["form"].errors or answer.context["settings"].errors or answer.context["problem"]


def test_add__several_errors__are_shown_at_once(admin: Client) -> None:
    """AC-2: of the form, of the settings, and what only the kind can judge."""
    answer = admin.post(
        "/admin/alerting/channels/add/",
        {"kind": "email", "name": "", "set-smtp_port": "x", "set-recipients": "nobody", "set-transport": "smtp"},
    )
    settings = answer.context["settings"]
    assert "name" in answer.context["form"].errors
    assert {"smtp_port", "recipients", "sender", "smtp_host"} <= set(settings.errors)


def test_add__rules_without_a_channel__can_be_given_it_at_once(admin: Client) -> None:
    """AC-2: the tick names how many; without such rules there is none."""
    path = "/admin/alerting/channels/add/"
    assert "for_unreached" not in admin.get(f"{path}?kind=webhook").content.decode()
    alone = rule("alone")
    assert "the rule that has no channel yet" in admin.get(f"{path}?kind=webhook").content.decode()
    admin.post(path, {"kind": "webhook", "name": "desk", "set-url": URL, "enabled": "on", "for_unreached": "on"})
    assert [one.name for one in alone.channels.all()] == ["desk"]


def edited(channel: Channel, **typed: Any) -> dict[str, Any]:
    """What the form sends when nothing is touched but these."""
    plain = {
        "set-transport": "smtp", "set-fallback": "none", "set-smtp_host": "smtp.example.com", "set-smtp_port": "587",
        "set-smtp_security": "starttls", "set-smtp_user": "mailer",
    }  # fmt: skip
    return {"name": channel.name, "expected_version": str(channel.version), **plain, **typed}


def test_edit__empty_secret_and_recipients__are_kept(admin: Client) -> None:
    """AC-2: only what is typed changes."""
    channel = mail()
    page = assert_silent(admin.get(f"/admin/alerting/channels/{channel.pk}/edit/"))
    assert "ends in …iler" in page and "2 set" in page and "1. ***@example.com" in page
    answer = admin.post(f"/admin/alerting/channels/{channel.pk}/edit/", edited(channel, **{"set-smtp_port": "2525"}))
    assert answer.status_code == 302
    channel.refresh_from_db()
    settings = open_row(channel).settings
    assert settings.smtp_port == 2525 and settings.smtp_password.get_secret_value() == "a-password-of-the-mailer"
    assert len(settings.recipients) == 2 and settings.sender == "portal@example.com"


def test_edit__recipients__are_added_and_removed_by_their_masked_rows(admin: Client) -> None:
    """AC-2, AC-5: the others stay, unseen."""
    channel = mail()
    typed = edited(channel, **{"set-recipients": "cleo@example.net", "set-recipients_remove": ["0"]})
    admin.post(f"/admin/alerting/channels/{channel.pk}/edit/", typed)
    channel.refresh_from_db()
    assert set(open_row(channel).settings.recipients) == {"cleo@example.net", "bert@example.org"}


def test_edit__secret_removed__is_gone(admin: Client) -> None:
    """AC-2: an optional secret can be taken away."""
    channel = hook()
    typed = {"name": "desk", "expected_version": "1", "set-token_remove": "on"}
    admin.post(f"/admin/alerting/channels/{channel.pk}/edit/", typed)
    channel.refresh_from_db()
    settings = open_row(channel).settings
    assert settings.token.get_secret_value() == "" and settings.url.get_secret_value() == URL


def test_edit__with_errors__sends_nothing_that_is_kept(admin: Client) -> None:
    """AC-2, AC-5: the bytes of the form that comes back."""
    channel = mail()
    typed = edited(channel, **{"name": "", "set-smtp_port": "x", "set-smtp_password": "nobody-may-see-this"})
    answer = admin.post(f"/admin/alerting/channels/{channel.pk}/edit/", typed)
    assert answer.status_code == 422
    assert_silent(answer)


def test_edit__others_saved_meanwhile__asks_to_look_again(admin: Client) -> None:
    """AC-2: the masked rows that were ticked may be others by now."""
    channel = mail()
    services.set_enabled(channel, False, by=DESK)
    answer = admin.post(
        f"/admin/alerting/channels/{channel.pk}/edit/", edited(channel, **{"set-recipients_remove": "0"})
    )
    assert answer.status_code == 409 and "Somebody else has changed" in assert_silent(answer)
    channel.refresh_from_db()
    assert len(open_row(channel).settings.recipients) == 2


def stale_answer(admin: Client, channel: Channel, settings: dict[str, Any], **typed: Any) -> tuple[Any, dict[str, Any]]:
    """What a form drawn before `settings` were saved gets, and what the browser sends when it is saved again."""
    form = edited(channel, **typed)
    services.update_channel(channel, by=DESK, name="Desk by mail", settings=settings, expected_version=channel.version)
    answer = admin.post(f"/admin/alerting/channels/{channel.pk}/edit/", form)
    assert answer.status_code == 409
    settings_form = answer.context["settings"]
    again = {name: value for name, value in form.items() if not name.endswith("_remove")}
    again |= {
        settings_form[name].html_name: settings_form[name].value()
        for name in settings_form.fields
        if name.endswith("_remove") and settings_form[name].value()
    }
    return answer, again | {"expected_version": answer.context["form"]["expected_version"].value()}


def test_edit__stale_and_saved_again__removes_nobody_who_was_not_ticked(admin: Client) -> None:
    """AC-2: ticks are of rows that are others by now, so they are gone, and the page says so."""
    channel = services.create_channel(
        by=DESK, kind="email", name="Desk by mail", settings={**MAIL, "recipients": ["a@x.example", "b@x.example", "c@x.example"]}
    )  # fmt: skip
    fewer = {**MAIL, "recipients": ["b@x.example", "c@x.example"]}
    answer, again = stale_answer(admin, channel, fewer, **{"set-recipients_remove": ["1"]})
    page = assert_silent(answer)
    assert "was unticked" in page and "2. ***@x.example" in page and "3. ***" not in page
    admin.post(f"/admin/alerting/channels/{channel.pk}/edit/", again)
    channel.refresh_from_db()
    assert set(open_row(channel).settings.recipients) == {"b@x.example", "c@x.example"}


def test_edit__stale__shows_masked_what_others_saved(admin: Client) -> None:
    """AC-2, AC-5: whoever saves again sees what would be undone; what is the same is not repeated."""
    channel = mail()
    saved = {
        **MAIL, "smtp_host": "relay.example.net", "smtp_port": 2525, "smtp_security": "tls",
        "sender": "portal.nobody-may-see@example.org", "recipients": ["anna.secret@example.com"],
    }  # fmt: skip
    answer, again = stale_answer(admin, channel, saved, name="Night desk")
    assert dict(answer.context["now_is"]) == {
        "Name": "Desk by mail", "Mail server": "relay.example.net", "Port": "2525", "Encryption": "TLS",
    }  # fmt: skip
    assert "relay.example.net" in assert_silent(answer)
    again |= {"set-smtp_host": "relay.example.net", "set-smtp_port": "2525", "set-smtp_security": "tls"}
    admin.post(f"/admin/alerting/channels/{channel.pk}/edit/", again)
    channel.refresh_from_db()
    settings = open_row(channel).settings
    assert (channel.name, settings.smtp_host, settings.smtp_port) == ("Night desk", "relay.example.net", 2525)
    assert settings.sender == saved["sender"] and settings.recipients == saved["recipients"]


def test_edit__stale__shows_secrets_of_others_by_their_ends(admin: Client) -> None:
    """AC-2: where both typed one, the form says that another is there now."""
    channel = hook()
    form = {
        "name": "desk",
        "expected_version": "1",
        "set-token": "token-typed-by-the-second-1111",
        "set-url_remove": "on",
    }
    services.update_channel(
        channel, by=DESK, name="desk", settings={"url": URL, "token": "nobody-may-see-9999"}, expected_version=1
    )
    answer = admin.post(f"/admin/alerting/channels/{channel.pk}/edit/", form)
    assert dict(answer.context["now_is"]) == {"Bearer token": "…9999"}
    assert b"typed-by-the-second" not in answer.content and b"9999" in answer.content
    assert_silent(answer)


def test_edit__address_with_a_token_in_its_path__is_not_sent_back(admin: Client) -> None:
    """AC-2: an API behind a relay; one without a path is no secret, and can be seen."""
    sms = {
        "numbers": ["+442079460958"],
        "account_sid": ACCOUNT,
        "auth_token": TOKEN_OF_TWILIO,
        "sender": "+442079460958",
    }
    url = "https://relay.example.com/t/nobody-may-see-relay"
    channel = services.create_channel(by=DESK, kind="sms", name="sms", settings={**sms, "api_url": url})
    page = assert_silent(admin.get(f"/admin/alerting/channels/{channel.pk}/edit/"))
    assert "Now relay.example.com/…elay." in page
    admin.post(f"/admin/alerting/channels/{channel.pk}/edit/", {"name": "sms", "expected_version": "1"})
    channel.refresh_from_db()
    assert open_row(channel).settings.api_url == url
    services.update_channel(
        channel,
        by=DESK,
        name="sms",
        settings={**sms, "api_url": "https://api.eu.example"},
        expected_version=channel.version,
    )
    assert b'value="https://api.eu.example/"' in admin.get(f"/admin/alerting/channels/{channel.pk}/edit/").content


def test_edit__key_lost__asks_for_everything_anew(admin: Client, settings: Any) -> None:
    """SX-4: no error page."""
    channel = mail()
    settings.FIELD_ENCRYPTION_KEYS = ["another-key-of-the-ring-0123456789abcdef"]
    assert "Type all of them again" in assert_silent(admin.get(f"/admin/alerting/channels/{channel.pk}/edit/"))
    assert "cannot be decrypted" in assert_silent(admin.get(f"/admin/alerting/channels/{channel.pk}/"))


def test_disable__rules_left_alone__are_named_before(admin: Client) -> None:
    """AC-2: confirmed by a second step."""
    channel = hook()
    rule("Orders are slow", channel)
    page = admin.get(f"/admin/alerting/channels/{channel.pk}/disable/").content.decode()
    assert "would tell nobody" in page and "Orders are slow" in page
    admin.post(f"/admin/alerting/channels/{channel.pk}/disable/")
    assert not Channel.objects.get().enabled
    admin.post(f"/admin/alerting/channels/{channel.pk}/enable/")
    assert Channel.objects.get().enabled


def test_delete__in_use__is_409_with_the_rules(admin: Client) -> None:
    """AC-2: and 302 when no rule uses it."""
    channel = hook()
    used = rule("Orders are slow", channel)
    answer = admin.post(f"/admin/alerting/channels/{channel.pk}/delete/")
    assert answer.status_code == 409 and b"Orders are slow" in answer.content
    used.channels.clear()
    admin.post(f"/admin/alerting/channels/{channel.pk}/delete/")
    assert not Channel.objects.exists()


def test_channel__of_an_unknown_kind__has_a_page(admin: Client) -> None:
    """Q-5: a row of a newer portal is no error."""
    channel = Channel.objects.create(name="pigeons", kind="pigeon", sealed="x")
    assert b"not known here" in admin.get(f"/admin/alerting/channels/{channel.pk}/").content
    assert admin.get(f"/admin/alerting/channels/{channel.pk}/edit/").status_code == 302
    assert admin.get("/admin/alerting/channels/").status_code == 200
    assert not Delivery.objects.exists()


@pytest.mark.parametrize("path", ["", "edit/", "disable/", "delete/"])
@pytest.mark.parametrize("number", ["999999", "9" * 30])
def test_channel__that_is_none__is_not_found(admin: Client, path: str, number: str) -> None:
    """Q-5: also for a number that no database holds."""
    assert admin.get(f"/admin/alerting/channels/{number}/{path}").status_code == 404
