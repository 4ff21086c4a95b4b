"""The edge's secret: shared by nginx's configuration and every proxy process, made once, never shown."""

import secrets
from collections.abc import Mapping

from cephstorage.domain.edge import SECRET_SETTING
from cephstorage.domain.handover import EdgeAsk, edge_ask
from cephstorage.ports.index import SettingsTable


class EdgeTrust:
    """Tells requests of our edge from those of everybody else."""

    def __init__(self, settings: SettingsTable) -> None:
        self._settings = settings
        self._secret = ""

    async def refresh(self) -> None:
        """Load the secret; the first process to start makes it."""
        self._secret = await self._settings.put(SECRET_SETTING, secrets.token_hex(32), only_if_absent=True)

    @property
    def secret(self) -> str:
        """The secret, to be shown to an edge."""
        return self._secret

    def ask(self, internal: Mapping[str, str]) -> EdgeAsk | None:
        """What the edge says in these headers; None when they are not the edge's."""
        return edge_ask(internal, self._secret) if internal else None
