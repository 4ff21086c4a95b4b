"""The servers behind the front, on sockets that only nginx reaches: inner, stage and store.

Their paths are fixed words; the client's target travels in a header. So no target can name them.
"""

from cephstorage.domain import edge
from cephstorage.edge.asking import ANSWERED, asks_only, hands_on, hides
from cephstorage.edge.config import EdgeConfig
from cephstorage.edge.front import LOCK, again
from cephstorage.edge.pages import AGAIN_PAGES, UNAVAILABLE_PAGE, long_head, unavailable
from cephstorage.edge.stored import (
    COMMANDS_OF_STORE,
    FAILURES,
    NOWHERE,
    decided,
    disk_locations,
    further_locations,
    further_maps,
    gateway_patience,
    gateway_tls,
    store_location,
)
from cephstorage.edge.text import Lines, block, canonical, comment, variable

_TARGET = f"$http_{variable(edge.TARGET)}"
_STAGE = "$http_x_cephstorage_stage"


def socket(config: EdgeConfig, name: str) -> str:
    """Where one of these servers listens."""
    return f"unix:{config.run_dir}/{name}.sock"


def maps(config: EdgeConfig) -> Lines:
    """Which way to the store."""
    failed = [
        *comment("What became of the store's answer: the last status in the list."),
        *block(
            "map $upstream_status $edge_last_status",
            "volatile;",
            '"~(?<edge_status>[0-9][0-9][0-9])$" $edge_status;',
            "default 502;",
        ),
    ]
    if config.gateways or config.objects_dir:
        failed += ["", *further_maps(config)]
    if not config.gateways:
        return failed
    scheme = config.gateways[0].scheme
    kept = ("http", "edge_store", "$edge_store_target") if config.keeps else (scheme, "ceph_gateway", '""')
    return [
        *failed,
        "",
        *comment("Store answers with a key go through the internal cache, the others (mirror slices) straight to RGW."),
        *block("map $edge_store_key $edge_store_scheme", f'"" {scheme};', f"default {kept[0]};"),
        *block("map $edge_store_key $edge_store_way", '"" ceph_gateway;', f"default {kept[1]};"),
        *block("map $edge_store_key $edge_store_hint", '"" "";', f"default {kept[2]};"),
        "",
        *comment("As in the front: the first slice may be streamed, later ones come whole."),
        *block(
            "map $slice_range $edge_store_source",
            "volatile;",
            f"~^bytes=0- {scheme}://ceph_gateway$http_{variable(edge.STORE_TARGET)};",
            "default http://edge_stage/store;",
        ),
        *block(
            "map $slice_range $edge_stage_hint",
            "volatile;",
            '~^bytes=0- "";',
            f"default $http_{variable(edge.STORE_TARGET)};",
        ),
        *block(
            "map $slice_range $edge_stage_key", "volatile;", '~^bytes=0- "";', 'default "$request_id $slice_range";'
        ),
    ]


def servers(config: EdgeConfig) -> Lines:
    """All three."""
    return [
        *comment("Asks the proxies; fetches bytes from where they say."),
        *_inner_server(config),
        "",
        *comment("""Whole or not at all. When an answer breaks off inside a slice, nginx's slice filter goes on with the next
        one in the same response: wrong bytes. So a slice is first fetched completely (a subrequest, into a file of
        its own), then sent. What is not partial content is not fetched twice into a file, but asked for again."""),
        *_stage_server(config),
        *(["", *_store_server(config)] if config.gateways else []),
    ]


def _inner_server(config: EdgeConfig) -> Lines:
    us = [("host", "$http_host"), (edge.EDGE, f'"{config.secret}"'), (edge.TARGET, '""'), ("x-cephstorage-stage", '""')]
    asked = [f"proxy_pass http://cephstorage{_TARGET};", "proxy_max_temp_file_size 0;"]
    words = (edge.ACCEL_EXPIRES, edge.ACCEL_BUFFERING)
    answered = [*(f"proxy_pass_header {canonical(word)};" for word in words), *hides(ANSWERED)]
    return block(
        "server",
        f"listen {socket(config, 'inner')};",
        "client_max_body_size 0;",
        "proxy_request_buffering off;",
        UNAVAILABLE_PAGE,
        unavailable(),
        long_head(),
        "",
        block("location = /ask", AGAIN_PAGES, asked, hands_on(*us), answered),
        block("location @again", again(f"$http_{variable(edge.TARGET)}"), hands_on(*us), answered),
        *([["", *store_location(config)]] if config.gateways else []),
        *([["", *disk_locations(config)]] if config.objects_dir else []),
        "",
        comment("The store's answer was no use: the proxy is told, looks again, or sends the bytes itself."),
        block(
            "location = /_store_failed",
            "internal;",
            "set $edge_failed $edge_last_status;",
            asked,
            hands_on(*us, (edge.STORE_FAILED, "$edge_failed")),
            answered,
        ),
        block(
            "location = /_disk_failed",
            "internal;",
            asked,
            hands_on(*us, (edge.STORE_FAILED, "404")),
            answered,
        ),
        *(_further(config, us, answered) if config.gateways or config.objects_dir else []),
        comment("The slice before this one broke off: the answer must not go on."),
        block("location = /broken", "return 502;"),
    )


def _further(config: EdgeConfig, us: list[tuple[str, str]], answered: Lines) -> Lines:
    return [
        "",
        *comment("""Slices after the first, of a version that the cache has slice 0 of: that one's head says where they are, and
        no proxy is asked. It is dropped with the first purge of all. When it is not there, a proxy decides; when the place
        is no use, a proxy is asked as for any other slice, and the answer comes whole."""),
        *further_locations(config),
        *block(
            "location = /decided",
            "internal;",
            decided(config),
            hands_on(*us, ("range", "$http_range")),
            answered,
            _never_fails(),
        ),
        *block("location = /fetched", "internal;", "return 204;"),
        *block(
            "location @asked_anew",
            "set $edge_staged edge_stage;",
            "proxy_pass http://$edge_staged/ask;",
            "proxy_max_temp_file_size 0;",
            hands_on(("host", "$http_host")),
            answered,
        ),
        *block("location = /nowhere", f"return {NOWHERE};"),
    ]


def _stage_server(config: EdgeConfig) -> Lines:
    scheme = config.gateways[0].scheme if config.gateways else "http"
    store_target = f"$http_{variable(edge.STORE_TARGET)}"
    fetch = [
        f"proxy_pass {scheme}://ceph_gateway{store_target};",
        *_asks_store(),
        *gateway_tls(config),
        *gateway_patience(),
    ]
    return block(
        "server",
        f"listen {socket(config, 'stage')};",
        "proxy_cache stage;",
        f"proxy_cache_key '{_STAGE}';",
        "proxy_cache_valid 206 10s;",
        f"{COMMANDS_OF_STORE}",
        f"proxy_pass_header {canonical(edge.ACCEL_EXPIRES)};",
        "",
        _staged("/ask", _asks_inner("/ask")),
        *(
            [*_staged("/further/store", _asks_inner("/further/store")), *_staged("/store", fetch)]
            if config.gateways
            else []
        ),
        block("location = /fetched", "internal;", "return 204;"),
    )


def _staged(path: str, fetch: Lines) -> Lines:
    return [
        *block(f"location = {path}", f"auth_request /fetch{path};", fetch),
        *block(f"location = /fetch{path}", "internal;", fetch, _never_fails()),
    ]


def _asks_inner(path: str) -> Lines:
    return [
        "set $edge_staged edge_inner;",
        f"proxy_pass http://$edge_staged{path};",
        *hands_on(("host", "$http_host"), ("range", "$http_range")),
    ]


def _never_fails() -> Lines:
    """Whatever it was, the second question gets the true answer."""
    return ["proxy_intercept_errors on;", f"error_page 301 302 303 304 307 308 {FAILURES} = /fetched;"]


def _asks_store() -> Lines:
    return asks_only(("host", "$http_host"), ("range", "$http_range"))


def _store_server(config: EdgeConfig) -> Lines:
    store_key = f"$http_{variable(edge.STORE_KEY)}"
    return [
        *comment("""The internal cache of signed and private objects: whoever gets here has been let through by a proxy.
        Its key names the version of the bytes, so nothing in it grows old."""),
        *block(
            "server",
            f"listen {socket(config, 'store')};",
            block(
                "location /",
                f"slice {config.slice_size};",
                "proxy_cache objects;",
                f"proxy_cache_key '{store_key} $slice_range';",
                "proxy_cache_valid 206 30d;",
                LOCK,
                COMMANDS_OF_STORE,
                "proxy_pass $edge_store_source;",
                asks_only(
                    ("host", "$http_host"),
                    ("range", "$slice_range"),
                    (edge.STORE_TARGET, "$edge_stage_hint"),
                    ("x-cephstorage-stage", "$edge_stage_key"),
                ),
                gateway_tls(config),
                gateway_patience(),
            ),
        ),
    ]
