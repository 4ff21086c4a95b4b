"""Where the inner server takes stored bytes from: Ceph's gateway or a file, with the record's headers and not theirs.

the proxy's X-Accel-Redirect ──> /_store, /_disk/          slices after the first ──> /further/store, /further/disk
                                                           (what the proxy said of slice 0, from the cache)
"""

from cephstorage.domain import edge
from cephstorage.edge.asking import KEPT_BY_ITS_WORD, asks_only, hides
from cephstorage.edge.config import EdgeConfig
from cephstorage.edge.text import Lines, block, canonical, comment, variable

FAILURES = "400 401 403 404 405 408 409 410 411 412 416 429 500 501 502 503 504 505 507"
NOWHERE = 475
"""A status that never leaves nginx: nothing says where the bytes are."""
COMMANDS_OF_STORE = (
    "proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset"
    " Cache-Control Expires Set-Cookie Vary;"
)
_TARGET = f"$http_{variable(edge.TARGET)}"
_PLACE = {edge.STORE_TARGET: "$edge_store_target", edge.STORE_HOST: "$edge_store_host"}
_FOR_FURTHER = (edge.FURTHER, edge.KEEP_UNTIL)
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


def further_maps(config: EdgeConfig) -> Lines:
    """How a slice after the first finds its place."""
    scheme = config.gateways[0].scheme if config.gateways else "http"
    return [
        *comment("An answer that says how the other slices are fetched says where, too."),
        *(line for name, place in _PLACE.items() for line in _only_with_further(name, place)),
        "",
        *comment("Without a place a slice is asked for like any other."),
        *block(
            "map $edge_store_target $edge_further_source",
            '"" http://edge_inner/nowhere;',
            f"default {scheme}://ceph_gateway$edge_store_target;",
        ),
    ]


def _only_with_further(name: str, place: str) -> Lines:
    return block(
        f"map $kept_{variable(edge.FURTHER)} $further_{variable(name)}", "volatile;", '"" "";', f"default {place};"
    )


def store_location(config: EdgeConfig) -> Lines:
    """Ceph's gateway, by the presigned address that the proxy has just named."""
    return block(
        f"location = {edge.STORE_LOCATION}",
        "internal;",
        _place_taken(),
        f"set $edge_store_key $upstream_http_{variable(edge.STORE_KEY)};",
        f"set $edge_store_range $upstream_http_{variable(edge.STORE_RANGE)};",
        _captured(),
        "",
        "proxy_pass $edge_store_scheme://$edge_store_way$edge_store_target;",
        asks_only(
            ("host", "$edge_store_host"),
            ("range", "$edge_store_range"),
            (edge.STORE_TARGET, "$edge_store_hint"),
            (edge.STORE_KEY, "$edge_store_key"),
        ),
        _from_store(config),
        _given_back(),
        f"error_page {FAILURES} = /_store_failed;",
    )


def disk_locations(config: EdgeConfig) -> Lines:
    """A file, with the range that was asked for or without."""

    def location(name: str, *more: str) -> Lines:
        return block(
            f"location {name}",
            "internal;",
            f"alias {config.objects_dir}/;",
            more,
            _place_taken(),
            _captured(),
            _from_disk(),
            _given_back(),
            "error_page 403 404 500 = /_disk_failed;",
        )

    return [*location(edge.DISK_LOCATION), *location(edge.DISK_WHOLE_LOCATION, "max_ranges 0;")]


def further_locations(config: EdgeConfig) -> Lines:
    """Slices after the first."""
    store = block(
        "location = /further/store",
        _decided_before(),
        "proxy_pass $edge_further_source;",
        asks_only(("host", "$edge_store_host"), ("range", "$http_range")),
        _from_store(config),
        _given_on(),
        f"error_page {FAILURES} {NOWHERE} = @asked_anew;",
    )
    disk = block(
        "location = /further/disk",
        _decided_before(),
        f"alias {config.objects_dir}/$edge_store_target;",
        "types { }",
        'default_type "";',
        _from_disk(),
        _given_on(),
        "error_page 403 404 500 = @asked_anew;",
    )
    return [*(store if config.gateways else []), *(disk if config.objects_dir else [])]


def decided(config: EdgeConfig) -> Lines:
    """What a proxy said when slice 0 was fetched, which the front keeps; else what it says now."""
    return [
        "proxy_cache mirrors;",
        f"proxy_cache_key ${{http_host}}${{{_TARGET[1:]}}}bytes=0-{config.slice_size - 1};",
        "proxy_no_cache 1;",
        KEPT_BY_ITS_WORD,
        f"proxy_pass http://cephstorage{_TARGET};",
        "proxy_max_temp_file_size 0;",
    ]


def _place_taken() -> Lines:
    return [f"set {place} $upstream_http_{variable(name)};" for name, place in _PLACE.items()]


def _captured() -> Lines:
    """Keep what the proxy answered, before the next upstream's answer takes its place."""
    return [f"set $kept_{variable(name)} $upstream_http_{variable(name)};" for name in _handed_over()]


def _given_back() -> Lines:
    """Send it with the bytes; nginx leaves out what is empty, and has taken ``COPIED_HEADERS`` over by itself."""
    return [*_added(_handed_over()), *(f"add_header {canonical(name)} $further_{variable(name)};" for name in _PLACE)]


def _handed_over() -> tuple[str, ...]:
    others = [name for name in edge.CARRIED_HEADERS if name not in edge.COPIED_HEADERS]
    return (*edge.OWN_HEADERS, *others, *_FOR_FURTHER, edge.ACCEL_EXPIRES)


def _decided_before() -> Lines:
    takes = {**{name: f"$kept_{variable(name)}" for name in _handed_on()}, **_PLACE}
    return [
        "auth_request /decided;",
        *(f"auth_request_set {place} $upstream_http_{variable(name)};" for name, place in takes.items()),
    ]


def _given_on() -> Lines:
    """As ``_given_back``, but for a lifetime that ends when that of slice 0 does."""
    return [
        *_added(_handed_on()),
        *(f"add_header {canonical(name)} $further_{variable(name)};" for name in _PLACE),
        f"add_header {canonical(edge.ACCEL_EXPIRES)} $kept_{variable(edge.KEEP_UNTIL)};",
    ]


def _handed_on() -> tuple[str, ...]:
    return (*edge.OWN_HEADERS, *edge.CARRIED_HEADERS, "content-type", *_FOR_FURTHER)


def _added(names: tuple[str, ...]) -> Lines:
    return [f"add_header {canonical(name)} $kept_{variable(name)};" for name in names]


def _from_store(config: EdgeConfig) -> Lines:
    return [
        "proxy_max_temp_file_size 0;",
        *gateway_tls(config),
        *gateway_patience(),
        COMMANDS_OF_STORE,
        *hides(_STORE_HEADERS),
        "add_header Accept-Ranges bytes;",
        "proxy_intercept_errors on;",
    ]


def _from_disk() -> Lines:
    return [
        "etag off;",
        "if_modified_since off;",
        "add_header Accept-Ranges $edge_accept_ranges;",
        "log_not_found off;",
    ]


def gateway_tls(config: EdgeConfig) -> Lines:
    """Trust in a gateway behind https."""
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


def gateway_patience() -> Lines:
    """A dead osd makes RGW hang without limit."""
    return [
        "proxy_connect_timeout 3s;",
        "proxy_read_timeout 30s;",
        "proxy_next_upstream error timeout http_502 http_503 http_504;",
        "proxy_next_upstream_tries 2;",
    ]
