"""The form of a channel's settings, made from its kind's class (AC-2). Nothing here knows any particular kind.

What is secret or personal is write-only: the page says that it is set, masked, and an empty field keeps it.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from django import forms
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from alerting.channels.base import ChannelKind
from alerting.forms.fields import NO_CHOICE
from alerting.recipients import masked_email, masked_phone, masked_secret, masked_url
from alerting.services.channels import default_values
from opsportal.observability.sanitise import mask_text

PREFIX = "set"
REMOVE = "_remove"
_LONGEST = 20_000
#: A long word without a break is an account's number or a key rather than anything that people made up.
_LIKE_A_CREDENTIAL = re.compile(r"[A-Za-z0-9_-]{24,}", re.ASCII)
_WITH_A_PATH = re.compile(r"[^:/?]++://[^/?]*+(?:/++.|\?)")
_SECRETS = {"autocomplete": "new-password", "spellcheck": "false", "autocapitalize": "none"}
_PLAIN = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}


class SettingsForm(forms.Form):
    """The settings of one kind. `present`: those that the channel has now, decrypted; None for a new channel."""

    def __init__(self, kind: ChannelKind, *args: Any, present: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_%s")
        kwargs["prefix"] = PREFIX
        super().__init__(*args, **kwargs)
        self.kind, self.present = kind, present
        for name, info in kind.Settings.model_fields.items():
            self._add(name, info)

    def _add(self, name: str, info: FieldInfo) -> None:
        sort = sort_of(info.annotation)
        present = None if self.present is None else self.present.get(name)
        help_text = info.description or ""
        if sort == "secret":
            self.fields[name] = _secret(info, help_text, present)
        elif sort == "lines":
            self.fields[name] = _lines(info, help_text, present)
            if present:
                self.fields[name + REMOVE] = _removals(info, present)
            return
        elif sort == "text" and present and is_private(str(present)):
            self.fields[name] = _private(info, help_text, str(present))
        else:
            self.fields[name] = _plain(sort, info, help_text)
            self.initial[name] = present if self.present is not None else default_values(self.kind).get(name)
            return
        if present and not info.is_required():
            self.fields[name + REMOVE] = forms.BooleanField(required=False, label=f"Remove: {info.title or name}")

    def values(self) -> dict[str, Any]:
        """All settings as JSON values: what was typed, and what is kept. Of a valid form."""
        found = {}
        for name, info in self.kind.Settings.model_fields.items():
            value = self._value(name, info)
            if value is not None:
                found[name] = value
        return found

    def _value(self, name: str, info: FieldInfo) -> Any:
        sort, typed = sort_of(info.annotation), self.cleaned_data.get(name)
        present = None if self.present is None else self.present.get(name)
        if sort == "lines":
            gone = {int(index) for index in self.cleaned_data.get(name + REMOVE, ())}
            kept = [one for index, one in enumerate(present or ()) if index not in gone]
            return [*(typed or ()), *kept]  # in this order, so that an objection names the line that was typed
        if sort == "secret" or (sort == "text" and present and is_private(str(present))):
            if typed:
                return typed
            if self.cleaned_data.get(name + REMOVE):
                return None
            return present if present else ("" if info.is_required() else None)
        if sort == "switch":
            return bool(typed)
        if typed not in (None, "") or info.is_required():
            return typed
        # An emptied text is empty; anything else that is emptied is as if nobody had given it.
        return "" if sort == "text" and isinstance(default_values(self.kind).get(name), str) else None

    def follow(self, present: Mapping[str, Any] | None) -> SettingsForm:
        """The form, shown again with what was typed, over the settings that are there now. Nothing is ticked to be
        removed in it: the entries may be others."""
        data: Any = self.data.copy()  # type: ignore[attr-defined]
        for name in self._ticked():
            del data[self.add_prefix(name)]
        found = SettingsForm(self.kind, data, present=present)
        found.full_clean()
        return found

    @property
    def removes(self) -> bool:
        """Whether something was ticked to be removed."""
        return bool(self._ticked())

    def _ticked(self) -> list[str]:
        names = [name + REMOVE for name in self.kind.Settings.model_fields]
        return [name for name in names if self.add_prefix(name) in self.data]

    def differences(self) -> list[tuple[str, str]]:
        """What is there now and was not typed: titles and values for people, masked. Entries of lists the form shows
        itself."""
        if self.present is None:
            return []
        typed, usual = self.values(), default_values(self.kind)
        found = []
        for name, info in self.kind.Settings.model_fields.items():
            held = self.present.get(name, usual.get(name))
            if sort_of(info.annotation) != "lines" and held != typed.get(name, usual.get(name)):
                found.append((_label(info), _shown(info, held)))
        return found

    def groups(self) -> list[tuple[Any, Any]]:
        """Each setting with the field that takes it away, if there is one."""
        return [
            (self[name], self[name + REMOVE] if name + REMOVE in self.fields else None)
            for name in self.kind.Settings.model_fields
        ]

    @property
    def has_secrets(self) -> bool:
        """Whether something must be typed again when the form comes back."""
        return any(sort_of(info.annotation) == "secret" for info in self.kind.Settings.model_fields.values())


def sort_of(annotation: Any) -> str:
    """How a setting is written: secret, lines, switch, choice, whole, number or text."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        inner = [one for one in arguments if one is not type(None)]
        return sort_of(inner[0]) if len(inner) == 1 else "text"
    if hasattr(annotation, "__metadata__"):
        return sort_of(annotation.__origin__)
    if origin in (list, tuple):
        return "lines"
    if origin is Literal or (isinstance(annotation, type) and issubclass(annotation, Enum)):
        return "choice"
    known = {SecretStr: "secret", bool: "switch", int: "whole", float: "number"}
    return known.get(annotation, "text")


def is_private(text: str) -> bool:
    """Whether a text is personal or secret by its looks: then it is shown masked and not sent back (AC-2, AC-5).

    So is an address with anything behind its host, which may be a token.
    """
    looks = _LIKE_A_CREDENTIAL.fullmatch(text) or _WITH_A_PATH.match(text)
    return looks is not None or mask_text(text) != text


def masked(text: str) -> str:
    """An address, a number or a secret as pages may show it."""
    if "://" in text:
        with suppress(ValueError):
            return masked_url(text)
        return masked_secret(text)
    if "@" in text:
        return masked_email(text)
    return masked_phone(text) if text.startswith("+") else masked_secret(text)


def _shown(info: FieldInfo, value: Any) -> str:
    """A setting's value as pages may show it."""
    sort = sort_of(info.annotation)
    if sort == "switch":
        return "yes" if value else "no"
    text = "" if value is None else str(value)
    if sort == "secret" and text:
        return masked_secret(text)
    if sort == "choice":
        return _words(info).get(text, text)
    return (masked(text) if is_private(text) else text) or "none"


def _secret(info: FieldInfo, help_text: str, present: Any) -> forms.Field:
    ends = masked_secret(str(present or ""))
    told = f"Set, ends in {ends}" if len(ends) > 1 else "Set"
    kept = f"{told}. Leave this empty to keep it." if present else ""
    return forms.CharField(
        label=_label(info),
        required=False,
        strip=False,
        max_length=_LONGEST,
        help_text=" ".join(part for part in (help_text, kept) if part),
        widget=forms.PasswordInput(render_value=False, attrs=_SECRETS),
    )


def _private(info: FieldInfo, help_text: str, present: str) -> forms.Field:
    kept = f"Now {masked(present)}. Leave this empty to keep it."
    return forms.CharField(
        label=_label(info),
        required=False,
        max_length=_LONGEST,
        help_text=" ".join(part for part in (help_text, kept) if part),
        widget=forms.TextInput(attrs=_PLAIN),
    )


class _Lines(forms.CharField):
    """One entry a line; commas do as well. What was typed comes back with the form, what is kept never does."""

    def clean(self, value: Any) -> Any:
        text = super().clean(value) or ""
        return [part.strip() for part in text.replace(",", "\n").replace(";", "\n").splitlines() if part.strip()]


def _lines(info: FieldInfo, help_text: str, present: Any) -> forms.Field:
    kept = f"{len(present)} set. What you type here is added to them." if present else ""
    return _Lines(
        label=f"Add: {_label(info)}" if present else _label(info),
        required=False,
        max_length=_LONGEST,
        help_text=" ".join(part for part in (help_text, kept) if part),
        widget=forms.Textarea(attrs={"rows": 3, **_PLAIN}),
    )


def _removals(info: FieldInfo, present: list[str]) -> forms.Field:
    """The present entries, masked and numbered: those of one domain look alike."""
    return forms.MultipleChoiceField(
        label=f"Remove: {info.title or 'entries'}",
        required=False,
        choices=[(str(index), f"{index + 1}. {masked(one)}") for index, one in enumerate(present)],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"invalid_choice": "An entry to be removed is not there any more."},
    )


def _plain(sort: str, info: FieldInfo, help_text: str) -> forms.Field:
    common: dict[str, Any] = {"label": _label(info), "required": False, "help_text": help_text}
    if sort == "switch":
        return forms.BooleanField(**common)
    if sort == "choice":
        words = _words(info)
        return forms.ChoiceField(
            **common,
            choices=[(one, words.get(one, one)) for one in _options(info.annotation)],
            error_messages=NO_CHOICE,
        )
    if sort == "whole":
        return forms.IntegerField(
            **common,
            error_messages={"invalid": "Type a whole number in digits."},
            min_value=-(2**31),
            max_value=2**31,
            widget=forms.TextInput(attrs={"inputmode": "numeric", **_PLAIN}),
        )
    if sort == "number":
        return forms.FloatField(
            **common,
            error_messages={"invalid": "Type a number in digits, with a point before decimals."},
            widget=forms.TextInput(attrs={"inputmode": "decimal", **_PLAIN}),
        )
    return forms.CharField(**common, max_length=_LONGEST, widget=forms.TextInput(attrs=_PLAIN))


def _options(annotation: Any) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(one.value) for one in annotation]
    if get_origin(annotation) is Literal:
        return [str(one) for one in get_args(annotation)]
    return [option for one in get_args(annotation) if one is not type(None) for option in _options(one)]


def _words(info: FieldInfo) -> dict[str, str]:
    """What people call the options, where the class says so."""
    extra = info.json_schema_extra
    words = extra.get("words") if isinstance(extra, dict) else None
    return {name: str(word) for name, word in words.items()} if isinstance(words, dict) else {}


def _label(info: FieldInfo) -> str:
    return info.title or "Setting"
