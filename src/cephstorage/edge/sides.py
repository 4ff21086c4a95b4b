"""The listeners beside the front: purges and health. Neither is for the public."""

from cephstorage.domain import edge
from cephstorage.edge.config import EdgeConfig
from cephstorage.edge.text import Lines, block, comment, variable


def purge_server(config: EdgeConfig) -> Lines:
    """``GET /purge`` drops one slice: 200 it was there, 412 it was not, 403 wrong secret.

    The module (version 2.3 in Debian) knows exact keys only, so the sender asks once for each slice.
    """
    if not config.purge_listen:
        return []
    host, target, span = (f"$http_{variable(name)}" for name in (edge.PURGE_HOST, edge.PURGE_TARGET, edge.PURGE_RANGE))
    return [
        *comment("Purges, by the proxies. The key is written as in the front."),
        *block(
            "map $http_x_cephstorage_edge $edge_may_purge",
            f'"~^{config.secret}$" 1;',
            'default "";',
        ),
        *block(
            "server",
            f"listen {config.purge_listen};",
            "access_log off;",
            block(
                f"location = {edge.PURGE_PATH}",
                'if ($edge_may_purge = "") { return 403; }',
                f'proxy_cache_purge mirrors "{host}{target}{span}";',
                "error_page 404 = @absent;",
            ),
            comment("Whether a slice is in the cache. What is not there is looked for nowhere, and nothing is kept."),
            block(
                f"location = {edge.HELD_PATH}",
                'if ($edge_may_purge = "") { return 403; }',
                "proxy_cache mirrors;",
                f'proxy_cache_key "{host}{target}{span}";',
                "proxy_no_cache 1;",
                "proxy_pass http://edge_stage/fetched;",
                f"add_header {edge.HELD} $upstream_cache_status always;",
            ),
            comment("Not in the cache. No other server that a purge may meet by mistake says so."),
            block("location @absent", "return 412;"),
            block("location /", "return 404;"),
        ),
    ]


def health_server(config: EdgeConfig) -> Lines:
    """``/edge-health`` answers while nginx runs; ``/edge-status`` counts its connections."""
    if not config.health_listen:
        return []
    return [
        *comment("Whether nginx runs; whether the proxies do is /readyz of the front."),
        *block(
            "server",
            f"listen {config.health_listen};",
            "access_log off;",
            block("location = /edge-health", "default_type text/plain;", 'return 200 "ok\\n";'),
            block("location = /edge-status", "stub_status;"),
            block("location /", "return 404;"),
        ),
    ]
