"""The edge's secret: shared by nginx's configuration and every proxy process, made once, never shown."""

from collections.abc import Mapping

from cephstorage.domain.edge import SECRET_SETTING
from cephstorage.domain.handover import EdgeAsk, edge_ask
from cephstorage.services.sealing import SealedSettings


class EdgeTrust:
    """Tells requests of our edge from those of everybody else."""

    def __init__(self, secrets: SealedSettings) -> None:
        self._secrets = secrets
        self._secret = ""

    async def refresh(self) -> None:
        """Load the secret; the first process to start makes it. Raises SecretKeyWrong."""
        self._secret = await self._secrets.made(SECRET_SETTING)

    @property
    def secret(self) -> str:
        """The secret, to be shown to an edge."""
        return self._secret

    def ask(self, internal: Mapping[str, str]) -> EdgeAsk | None:
        """What the edge says in these headers; None when they are not the edge's."""
        return edge_ask(internal, self._secret) if internal else None
