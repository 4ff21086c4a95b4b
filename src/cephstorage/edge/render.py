"""nginx.conf from an ``EdgeConfig``: a pure function, whose results lie as golden files beside its tests.

    client ──> front ──┬─ cached slice
                       ├─ first slice ──> inner ──> proxy ──┬─ its own bytes
                       │                                    ├─ /_store: RGW, or the server store (cache)
                       │                                    └─ /_disk/: a file
                       ├─ others of a stored version ──> inner: RGW or a file, as slice 0 says
                       └─ the last one, and all else ──> stage ──> inner

What passes the stage is sent whole or not at all.
"""

from dataclasses import replace

from cephstorage.domain import edge
from cephstorage.edge import front, inner, maps, s3_door
from cephstorage.edge.config import EdgeConfig
from cephstorage.edge.inner import socket
from cephstorage.edge.sides import health_server, purge_server
from cephstorage.edge.space import ENOUGH
from cephstorage.edge.text import Lines, block, comment

_SECRET_QUERY = "(signature|token|secret|password|credential|api_?key|access_?key)="
_KEEP = ("keepalive 64;", "keepalive_requests 100000;", "keepalive_timeout 60s;")


def render(config: EdgeConfig, *, draining: bool = False) -> str:
    """The text of nginx.conf; it holds the edge secret, so the file is for its owner's eyes only.

    ``draining``: nobody is let in any more, but what old workers still do finds the servers behind the front.
    Raises InvalidSetting.
    """
    config.check()
    shown = (
        replace(config, listen=(), listen_tls=(), s3_listen=(), s3_listen_tls=(), purge_listen="", health_listen="")
        if draining
        else config
    )
    sections = [_main(shown), block("http", *_spaced(_http_sections(shown)))]
    return "\n".join(line.rstrip() for section in sections for line in [*section, ""]).rstrip() + "\n"


def _spaced(sections: list[Lines]) -> list[Lines]:
    return [[*section, ""] for section in sections[:-1]] + sections[-1:]


def _http_sections(config: EdgeConfig) -> list[Lines]:
    sections = [
        _basics(config),
        _temporary_files(config),
        _limits(config),
        _clients(config),
        _log(config),
        _tls(config),
        _caches(config),
        _upstreams(config),
        maps.maps(config),
        inner.maps(config),
        s3_door.maps(config),
        front.servers(config) if config.listen or config.listen_tls else [],
        inner.servers(config),
        s3_door.server(config),
        purge_server(config),
        health_server(config),
    ]
    return [section for section in sections if section]


def _main(config: EdgeConfig) -> Lines:
    user = [f"user {config.user};"] if config.user else []
    return [
        *comment("Written by `cephstorage edge`. Changes are lost: set CEPHSTORAGE_EDGE_* instead."),
        *user,
        f"load_module {config.purge_module};",
        f"worker_processes {config.workers};",
        f"pid {config.pid_file};",
        f"error_log {config.run_dir}/error.log warn;",
        f"worker_rlimit_nofile {config.open_files};",
        "worker_shutdown_timeout 1h;",
        *block("events", f"worker_connections {config.worker_connections};"),
    ]


def _basics(config: EdgeConfig) -> Lines:
    limits = config.limits
    return [
        "default_type application/octet-stream;",
        "server_tokens off;",
        "sendfile on;",
        "tcp_nopush on;",
        *comment("Stored bytes are sent as they are stored."),
        "gzip off;",
        *comment("Keys are exact: nothing is normalised, and the raw target travels on."),
        "merge_slashes off;",
        "absolute_redirect off;",
        *comment("One range or the whole: what the slice filter can do, and what a proxy does."),
        "max_ranges 1;",
        "if_modified_since before;",
        "proxy_intercept_errors off;",
        "recursive_error_pages on;",
        f"proxy_read_timeout {limits.answer_timeout}s;",
        "proxy_connect_timeout 3s;",
        "proxy_send_timeout 60s;",
        *comment("Only questions without effect are asked a second proxy, when the first is gone or silent."),
        "proxy_next_upstream error timeout;",
        "proxy_next_upstream_tries 2;",
        f"proxy_buffer_size {edge.MOST_HEAD >> 10}k;",
        "proxy_buffers 8 64k;",
        "proxy_busy_buffers_size 128k;",
        "proxy_headers_hash_max_size 2048;",
        "proxy_headers_hash_bucket_size 128;",
        "variables_hash_max_size 4096;",
        "map_hash_bucket_size 256;",
        "server_names_hash_bucket_size 256;",
    ]


def _temporary_files(config: EdgeConfig) -> Lines:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return [f"{kind}_temp_path {config.cache_dir}/temp/{kind};" for kind in kinds]


def _limits(config: EdgeConfig) -> Lines:
    limits = config.limits
    per_client = ["limit_conn_zone $binary_remote_addr zone=clients:10m;", "limit_conn_status 429;"]
    return [
        *comment("Against slow and oversized requests."),
        f"client_header_timeout {limits.header_timeout}s;",
        f"client_body_timeout {limits.body_timeout}s;",
        f"send_timeout {limits.send_timeout}s;",
        f"keepalive_timeout {limits.idle_timeout}s;",
        "keepalive_requests 100000;",
        "reset_timedout_connection on;",
        "client_header_buffer_size 4k;",
        f"large_client_header_buffers 4 {limits.header_size};",
        "client_body_buffer_size 64k;",
        "client_max_body_size 1m;",
        "lingering_timeout 5s;",
        *(per_client if limits.connections_per_client else []),
    ]


def _clients(config: EdgeConfig) -> Lines:
    if not config.trusted_proxies:
        return []
    return [
        *comment("Only these may say on whose behalf they ask; everybody else is who connects."),
        *(f"set_real_ip_from {network};" for network in config.trusted_proxies),
        "real_ip_header X-Forwarded-For;",
        "real_ip_recursive on;",
    ]


def _log(config: EdgeConfig) -> Lines:
    fields = {
        "time": '"$time_iso8601"',
        "client": '"$remote_addr"',
        "method": '"$request_method"',
        "host": '"$host"',
        "uri": '"$edge_logged_uri"',
        "protocol": '"$server_protocol"',
        "status": "$status",
        "bytes": "$bytes_sent",
        "range": '"$http_range"',
        "seconds": "$request_time",
        "cache": '"$upstream_cache_status"',
        "upstream": '"$upstream_addr"',
        "upstream_status": '"$upstream_status"',
        "upstream_seconds": '"$upstream_response_time"',
        "agent": '"$http_user_agent"',
        "request": '"$connection-$connection_requests"',
    }
    body = ",".join(f'"{name}":{value}' for name, value in fields.items())
    return [
        *comment("""A line of JSON for each request. Queries that sign or open something stay out of it. A request is known by its
        connection, as in the error log, and its place there: to draw a name for it costs as much as all the rest of the line."""),
        *block(
            "map $request_uri $edge_logged_uri",
            '"~^[^?]*$" $request_uri;',
            '"~^(?<edge_path>/objects/[^?]*)\\?" "$edge_path?-";',
            f'"~*^(?<edge_path>[^?]*)\\?.*{_SECRET_QUERY}" "$edge_path?-";',
            "default $request_uri;",
        ),
        f"log_format edge escape=json '{{{body}}}';",
        f"access_log {front.log_of(config)};",
    ]


def _tls(config: EdgeConfig) -> Lines:
    if not config.speaks_tls:
        return []
    names = {certificate.host: certificate.stem for certificate in config.certificates}
    fallback = names.pop("default", None) or config.certificates[0].stem
    return [
        *comment("The certificate is chosen by SNI and read at the handshake: a renewed one works at once."),
        *block(
            "map $ssl_server_name $edge_certificate",
            "hostnames;",
            *(f"{host} {stem};" for host, stem in names.items()),
            f"default {fallback};",
        ),
        "ssl_certificate $edge_certificate.crt;",
        "ssl_certificate_key $edge_certificate.key;",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "ssl_prefer_server_ciphers off;",
        "ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;",
        "ssl_session_cache shared:tls:10m;",
        "ssl_session_timeout 1h;",
        "ssl_session_tickets off;",
    ]


def _caches(config: EdgeConfig) -> Lines:
    def path(name: str, keys: str, size: str, inactive: str, more: str = "") -> str:
        place = f"{config.cache_dir}/{name} levels=1:2 keys_zone={name}:{keys}"
        return f"proxy_cache_path {place} max_size={size} inactive={inactive}{more} use_temp_path=off;"

    spare = f" min_free={ENOUGH >> 20}m"

    return [
        *comment("Slices of mirrors; bytes of signed objects; slices on their way (see the server stage)."),
        path("mirrors", "64m", config.cache_size, "30d", spare),
        *([path("objects", "32m", config.cache_size, "30d", spare)] if config.gateways else []),
        path("stage", "8m", "512m", "2s"),
    ]


def _upstreams(config: EdgeConfig) -> Lines:
    return [
        *comment("""The same target meets the same proxy, so that its readers meet in one process. A proxy that does not
        answer is asked again after a second; meanwhile its targets go to the next one."""),
        *block(
            "map $http_x_cephstorage_target $edge_hashed",
            '"" $host$request_uri;',
            "default $http_host$http_x_cephstorage_target;",
        ),
        *block(
            "upstream cephstorage",
            "hash $edge_hashed consistent;",
            [f"server {proxy} max_fails=1 fail_timeout=1s;" for proxy in config.proxies],
            _KEEP,
        ),
        *_upstream("cephstorage_again", *config.proxies),
        *_upstream("edge_inner", socket(config, "inner")),
        *_upstream("edge_stage", socket(config, "stage")),
        *(_gateway_upstreams(config) if config.gateways else []),
    ]


def _upstream(name: str, *servers: str) -> Lines:
    return block(f"upstream {name}", [f"server {server} max_fails=0;" for server in servers], _KEEP)


def _gateway_upstreams(config: EdgeConfig) -> Lines:
    servers = [f"{gateway.host}:{gateway.port}" for gateway in config.gateways]
    return [
        *_upstream("edge_store", socket(config, "store")),
        *block("upstream ceph_gateway", [f"server {server} max_fails=1 fail_timeout=1s;" for server in servers], _KEEP),
    ]
