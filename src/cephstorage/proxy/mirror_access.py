"""Who may read a private mirror: the bearer of a token of its tenant, or of an address that was signed.

What such a mirror answers is for nobody else: no shared cache on the way may keep it, whatever the origin says.
"""

from cephstorage.domain.access import Action
from cephstorage.domain.mirrors import Mirror, signed_form
from cephstorage.domain.signing import split_signature
from cephstorage.proxy.exchange import Exchange
from cephstorage.services.access import Access
from cephstorage.services.publishing import Publishing


class MirrorAccess:
    """Admits requests to mirrors."""

    def __init__(self, access: Access, publishing: Publishing) -> None:
        self._access = access
        self._publishing = publishing

    async def admit(self, exchange: Exchange, mirror: Mirror, raw_path: str) -> str:
        """The query as the mirror's origin knows it, without a signature.

        A slice that goes on with an answer is admitted as the answer was, though the address has expired meanwhile.
        Raises Unauthenticated, AccessDenied, SignatureInvalid, InvalidKey.
        """
        request = exchange.request
        if not mirror.private:
            return request.raw_query
        exchange.private = True
        query, signed = split_signature(request.raw_query)
        if exchange.ours or exchange.let_in or exchange.admitted:
            return query
        if signed is None:
            principal = await self._access.authenticate(request.headers.get("authorization"))
            principal.require(Action.READ, mirror.bucket.username)
        else:
            target = signed_form(raw_path, query)
            self._publishing.check_target(request.method, mirror.host, target, signed, begun=exchange.continues)
        return query
