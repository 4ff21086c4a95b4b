"""Access tokens."""

from typing import NotRequired, TypedDict


class AccessToken(TypedDict):
    """An access token. ``token``, the secret itself, is present only in the answer that creates it."""

    id: str
    token: NotRequired[str]
    role: str
    username: str | None
    label: str
    created: float
    expires: float | None
