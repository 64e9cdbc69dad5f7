"""Real objects for tests."""

from __future__ import annotations

from typing import Any

import factory.declarations
import factory.django
from django.contrib.auth.models import Group

from opsportal.accounts.models import User


class UserFactory(factory.django.DjangoModelFactory[User]):
    """A member of staff with one role: `UserFactory(role="viewer")`."""

    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.declarations.Sequence(lambda n: f"person{n}")
    is_staff = True

    @classmethod
    def _create(cls, model_class: type[User], *args: Any, **kwargs: Any) -> User:
        role = kwargs.pop("role", None)
        password = kwargs.pop("password", "correct horse battery staple")
        user = model_class.objects.create_user(password=password, **kwargs)
        if role:
            user.groups.add(Group.objects.get(name=role))
        return user
