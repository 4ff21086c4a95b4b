"""Who may do what: roles, and the pure check that every route passes through."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from cephstorage.domain.errors import AccessDenied


class Role(StrEnum):
    """What a token may do at most. ``tenant`` and ``read-only`` may be narrowed to one username."""

    ADMIN = "admin"
    TENANT = "tenant"
    READ_ONLY = "read-only"


class Action(Enum):
    """What a route does: read or write a tenant's things, or run the service."""

    READ = auto()
    WRITE = auto()
    ADMINISTER = auto()


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a valid token. ``username`` None means every tenant."""

    token_id: str
    role: Role
    username: str | None = None

    def may(self, action: Action, username: str | None = None) -> bool:
        """Whether the principal may do this to the things of ``username`` (None: of the service)."""
        if self.role is Role.ADMIN:
            return True
        if action is Action.ADMINISTER or (action is Action.WRITE and self.role is Role.READ_ONLY):
            return False
        if username is None:
            return action is Action.READ and self.username is None
        return self.username is None or self.username == username

    def require(self, action: Action, username: str | None = None) -> None:
        """Raise AccessDenied unless the principal may."""
        if not self.may(action, username):
            whose = f"the things of {username!r}" if username else "this"
            raise AccessDenied(f"This token (role {self.role.value}) may not {action.name.lower()} {whose}.")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token as the service knows it: never the secret itself. Times are epoch seconds."""

    id: str
    role: Role
    username: str | None
    label: str
    created_at: float
    expires_at: float | None
