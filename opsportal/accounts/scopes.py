"""What an API key may be allowed: the one table of scopes (AK-3).

A scope opens the permissions named here, as far as the key's owner has them at the time of use. A scope without
permissions of the portal is for the platform's own services: the portal keeps it, and tells it to them while the owner
has at least the role named here. `Actor.may_use` answers for both.
"""

from __future__ import annotations

from dataclasses import dataclass

from opsportal.accounts.roles import Role


@dataclass(frozen=True)
class Scope:
    """One scope: its name, what it allows in plain words, and the permissions that it opens.

    Without permissions, `least_role` is the least powerful role of an owner for whom it is in force.
    """

    name: str
    allows: str
    permissions: frozenset[str] = frozenset()
    least_role: Role | None = None

    def suits(self, role: Role | None) -> bool:
        """Whether an owner in this role has the scope. Only of one without permissions."""
        if role is None or self.least_role is None:
            return False
        ranks = list(Role)
        return ranks.index(role) >= ranks.index(self.least_role)


SCOPES: tuple[Scope, ...] = (
    Scope("read:circuit", "read the circuit breaker", frozenset({"circuit.view_breaker"})),
    Scope(
        "write:circuit",
        "trip and reset the circuit breaker",
        frozenset({"circuit.trip_breaker", "circuit.reset_breaker"}),
    ),
    Scope("read:health", "read the health of the services", frozenset({"health.view_service"})),
    Scope("read:config", "read the system configuration", frozenset({"sysconfig.view_section"})),
    Scope("write:alerts", "send alerts", least_role=Role.OPERATOR),
    Scope("write:observations", "send observations", least_role=Role.OPERATOR),
    Scope("read:positions", "read positions, on the platform", least_role=Role.VIEWER),
    Scope("read:orders", "read orders, on the platform", least_role=Role.VIEWER),
    Scope("write:orders", "place and cancel orders, on the platform", least_role=Role.OPERATOR),
    Scope("read:strategies", "read strategies, on the platform", least_role=Role.VIEWER),
)
SCOPE_NAMES: tuple[str, ...] = tuple(scope.name for scope in SCOPES)


def opened_by(names: frozenset[str]) -> frozenset[str]:
    """The permissions that these scopes open; names that are no scope open nothing."""
    return frozenset().union(*(scope.permissions for scope in SCOPES if scope.name in names))


def scope_named(name: str) -> Scope | None:
    """The scope of this name."""
    return next((scope for scope in SCOPES if scope.name == name), None)


def scope_for(permission: str) -> str:
    """The scope that opens the permission; empty if a key can never have it."""
    return next((scope.name for scope in SCOPES if permission in scope.permissions), "")
