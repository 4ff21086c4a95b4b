"""The servers behind the front, on sockets that only nginx reaches: inner, stage and store.

Their paths are fixed words; the client's target travels in a header. So no target can name them.
"""

from cephstorage.domain import edge
from cephstorage.edge.asking import ANSWERED, asks_only, hands_on, hides
from cephstorage.edge.config import EdgeConfig
from cephstorage.edge.front import AGAIN_PAGES, LOCK, UNAVAILABLE_PAGE, again, unavailable
from cephstorage.edge.text import Lines, block, canonical, comment, variable

_TARGET = f"$http_{variable(edge.TARGET)}"
_STAGE = "$http_x_cephstorage_stage"
_FAILURES = "400 401 403 404 405 408 409 410 411 412 416 429 500 501 502 503 504 505 507"
_STORE_HEADERS = (
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "etag",
    "expires",
    "last-modified",
    "set-cookie",
    "vary",
    "x-amz-request-id",
    "x-amz-delete-marker",
    "x-amz-expiration",
    "x-amz-id-2",
    "x-amz-meta-attempt",
    "x-amz-meta-content-type",
    "x-amz-meta-etag",
    "x-amz-meta-generation",
    "x-amz-meta-key",
    "x-amz-meta-last-modified",
    "x-amz-meta-md5",
    "x-amz-meta-origin",
    "x-amz-meta-planned",
    "x-amz-meta-source",
    "x-amz-meta-target",
    "x-amz-meta-timetag",
    "x-amz-mp-parts-count",
    "x-amz-restore",
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
    "x-amz-tagging-count",
    "x-amz-version-id",
    "x-rgw-object-count",
    "x-rgw-object-type",
    "x-rgw-quota-max-objects",
)
"""What RGW says of an object and no client of ours should hear; the record says it."""


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
    if not config.gateways:
        return failed
    scheme = config.gateways[0].scheme
    return [
        *failed,
        "",
        *comment("Store answers with a key go through the internal cache, the others (mirror slices) straight to RGW."),
        *block("map $edge_store_key $edge_store_scheme", f'"" {scheme};', "default http;"),
        *block("map $edge_store_key $edge_store_way", '"" ceph_gateway;', "default edge_store;"),
        *block("map $edge_store_key $edge_store_hint", '"" "";', "default $edge_store_target;"),
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
    answered = [f"proxy_pass_header {canonical(edge.ACCEL_EXPIRES)};", *hides(ANSWERED)]
    return block(
        "server",
        f"listen {socket(config, 'inner')};",
        "client_max_body_size 0;",
        "proxy_request_buffering off;",
        UNAVAILABLE_PAGE,
        unavailable(),
        "",
        block("location = /ask", AGAIN_PAGES, asked, hands_on(*us), answered),
        block("location @again", again(f"$http_{variable(edge.TARGET)}"), hands_on(*us), answered),
        *([["", *_store_location(config)]] if config.gateways else []),
        *([["", *_disk_location(config)]] if config.objects_dir else []),
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
    )


def _captured(names: tuple[str, ...]) -> Lines:
    """Keep what the proxy answered, before the next upstream's answer takes its place."""
    return [f"set $kept_{variable(name)} $upstream_http_{variable(name)};" for name in names]


def _given_back(names: tuple[str, ...]) -> Lines:
    """Send it with the bytes; nginx leaves out what is empty."""
    return [f"add_header {canonical(name)} $kept_{variable(name)};" for name in names]


def _shown() -> tuple[str, ...]:
    others = [name for name in edge.CARRIED_HEADERS if name not in edge.COPIED_HEADERS]
    return (*edge.OWN_HEADERS, *others, edge.ACCEL_EXPIRES)


def _store_location(config: EdgeConfig) -> Lines:
    return block(
        f"location = {edge.STORE_LOCATION}",
        "internal;",
        f"set $edge_store_key $upstream_http_{variable(edge.STORE_KEY)};",
        f"set $edge_store_target $upstream_http_{variable(edge.STORE_TARGET)};",
        f"set $edge_store_host $upstream_http_{variable(edge.STORE_HOST)};",
        f"set $edge_store_range $upstream_http_{variable(edge.STORE_RANGE)};",
        _captured(_shown()),
        "",
        "proxy_pass $edge_store_scheme://$edge_store_way$edge_store_target;",
        asks_only(
            ("host", "$edge_store_host"),
            ("range", "$edge_store_range"),
            (edge.STORE_TARGET, "$edge_store_hint"),
            (edge.STORE_KEY, "$edge_store_key"),
        ),
        "proxy_max_temp_file_size 0;",
        gateway_tls(config),
        _gateway_patience(),
        COMMANDS_OF_STORE,
        hides(_STORE_HEADERS),
        "add_header Accept-Ranges bytes;",
        _given_back(_shown()),
        "proxy_intercept_errors on;",
        f"error_page {_FAILURES} = /_store_failed;",
    )


COMMANDS_OF_STORE = (
    "proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset"
    " Cache-Control Expires Set-Cookie Vary;"
)


def _disk_location(config: EdgeConfig) -> Lines:
    return block(
        f"location {edge.DISK_LOCATION}",
        "internal;",
        f"alias {config.objects_dir}/;",
        _captured(_shown()),
        "etag off;",
        "if_modified_since off;",
        "add_header Accept-Ranges $edge_accept_ranges;",
        _given_back(_shown()),
        "log_not_found off;",
        "error_page 403 404 500 = /_disk_failed;",
    )


def _stage_server(config: EdgeConfig) -> Lines:
    scheme = config.gateways[0].scheme if config.gateways else "http"
    store_target = f"$http_{variable(edge.STORE_TARGET)}"
    ask = [
        "set $edge_staged edge_inner;",
        "proxy_pass http://$edge_staged/ask;",
        *hands_on(("host", "$http_host"), ("range", "$http_range")),
    ]
    fetch = [
        f"proxy_pass {scheme}://ceph_gateway{store_target};",
        *_asks_store(),
        *gateway_tls(config),
        *_gateway_patience(),
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
        block("location = /ask", "auth_request /fetch/ask;", ask),
        block("location = /fetch/ask", "internal;", ask, _never_fails()),
        *(
            [
                block("location = /store", "auth_request /fetch/store;", fetch),
                block("location = /fetch/store", "internal;", fetch, _never_fails()),
            ]
            if config.gateways
            else []
        ),
        block("location = /fetched", "internal;", "return 204;"),
    )


def _never_fails() -> Lines:
    """Whatever it was, the second question gets the true answer."""
    return ["proxy_intercept_errors on;", f"error_page 301 302 303 304 307 308 {_FAILURES} = /fetched;"]


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
                _gateway_patience(),
            ),
        ),
    ]


def gateway_tls(config: EdgeConfig) -> Lines:
    """How RGW's certificate is judged."""
    if not config.gateways or config.gateways[0].scheme != "https":
        return []
    return [
        *comment(
            "nginx verifies host names: for a gateway that is named by its IP address, the proxy sends the bytes."
        ),
        "proxy_ssl_server_name on;",
        f"proxy_ssl_name {config.gateways[0].host};",
        "proxy_ssl_verify on;",
        "proxy_ssl_verify_depth 4;",
        f"proxy_ssl_trusted_certificate {config.gateway_ca};",
    ]


def _gateway_patience() -> Lines:
    """A dead osd makes RGW hang without limit."""
    return [
        "proxy_connect_timeout 3s;",
        "proxy_read_timeout 30s;",
        "proxy_next_upstream error timeout http_502 http_503 http_504;",
        "proxy_next_upstream_tries 2;",
    ]
