"""The S3 server: RGW's own endpoint, with a door to the mirror behind its 404.

    S3 client ──> s3 ──> RGW ──┬─ any other answer ──────────────────────> client
                               └─ 404, 412 to a signed GET or HEAD of a key ──> proxy ──┬─ the object of the mirror
                                                                                        └─ "ask RGW again": its word stands

Requests and answers pass untouched: method, target, Host, headers and bodies are the client's and RGW's, so that
signatures are RGW's business alone. Whether a mirror may have what RGW has not is the proxy's to decide
(``proxy.s3_door``); here is only decided which requests may ask. Whatever the proxy refuses, RGW is asked again.
"""

from cephstorage.domain import edge
from cephstorage.edge.asking import ANSWERED, PLAIN, asks_only, hides
from cephstorage.edge.config import EdgeConfig
from cephstorage.edge.front import COMMANDS, per_client
from cephstorage.edge.stored import gateway_tls
from cephstorage.edge.text import Lines, block, canonical, comment, variable

_ASKED = ("authorization", "range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range")
_RGWS_OWN = (
    "x-amz-request-id",
    "x-amz-id-2",
    "x-amz-version-id",
    "x-amz-delete-marker",
    "x-amz-server-side-encryption",
)
"""What another S3 said of the object when it was the origin; of this answer it says nothing."""
_UNAVAILABLE = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>ServiceUnavailable</Code>'
    "<Message>{why}; try again.</Message></Error>"
)


def maps(config: EdgeConfig) -> Lines:
    """Which S3 requests may ask the mirror when RGW has nothing."""
    if not config.serves_s3:
        return []
    return [
        *comment("""S3 requests that may ask the mirror: a signed GET or HEAD of one key of a bucket of ours. No
        sub-resource, version or part of it, no presigned address. (x-id is what some clients call the operation.)"""),
        *block(
            'map "$request_method|$http_authorization|$request_uri" $edge_s3_key',
            '"~^(GET|HEAD)\\|AWS(4-HMAC-SHA256)?\\ [^|]+\\|/[^/?]+___[^/?]+/[^?]+(\\?x-id=(Get|Head)Object)?$" 1;',
            'default "";',
        ),
    ]


def server(config: EdgeConfig) -> Lines:
    """The server, where one is wanted."""
    if not config.serves_s3:
        return []
    return [
        *comment("RGW's S3 endpoint. Clients sign for the name and port by which they reach this server."),
        *block(
            "server",
            [f"listen {address};" for address in config.s3_listen],
            [f"listen {address} ssl http2;" for address in config.s3_listen_tls],
            "server_name _;",
            per_client(config),
            comment("User metadata has whatever name it has."),
            "underscores_in_headers on;",
            "ignore_invalid_headers off;",
            "client_max_body_size 0;",
            "",
            block(
                "location /",
                "error_page 475 = @key;",
                "if ($edge_s3_key) { return 475; }",
                _to_gateway(config),
            ),
            block(
                "location @key",
                comment("Of several such headers RGW gets the one that the proxy will see."),
                "proxy_set_header Authorization $http_authorization;",
                "proxy_intercept_errors on;",
                "error_page 404 412 = @mirror;",
                _to_gateway(config),
            ),
            block("location @again", _to_gateway(config)),
            "",
            comment("""What a proxy does not send itself is RGW's to answer: it is asked again, and its word stands. So the
            client's signature decides once more, and nothing of ours is shown to whom RGW would not show it."""),
            block(
                "location @mirror",
                f"set $edge_s3_request $upstream_http_{variable('x-amz-request-id')};",
                "set $edge_s3_status $edge_last_status;",
                f"proxy_pass http://cephstorage{edge.S3_PREFIX}$request_uri;",
                asks_only(
                    ("host", "$host"),
                    (edge.EDGE, f'"{config.secret}"'),
                    (edge.S3, edge.S3_ASKS),
                    (edge.STORE_FAILED, "$edge_s3_status"),
                    *((name, f"$http_{variable(name)}") for name in _ASKED),
                ),
                "proxy_max_temp_file_size 0;",
                hides((*ANSWERED, *_RGWS_OWN)),
                f"add_header {canonical('x-amz-request-id')} $edge_s3_request always;",
                "proxy_intercept_errors on;",
                f"error_page 301 302 303 307 308 400 401 403 404 405 409 410 = {edge.S3_AGAIN};",
                "error_page 429 500 501 502 503 504 507 508 = @no_mirror;",
            ),
            "",
            block("location @no_mirror", _unavailable("The origin of this key does not answer")),
            block("location @no_gateway", _unavailable("The Ceph gateway does not answer")),
        ),
    ]


def _to_gateway(config: EdgeConfig) -> Lines:
    """Pass the request on as it came, body and all, and the answer as it comes."""
    return [
        f"proxy_pass {config.gateways[0].scheme}://ceph_gateway$request_uri;",
        *PLAIN,
        "proxy_set_header Host $http_host;",
        'proxy_set_header Connection "";',
        "proxy_request_buffering off;",
        "proxy_max_temp_file_size 0;",
        "proxy_read_timeout 300s;",
        "proxy_pass_header Date;",
        "proxy_pass_header Server;",
        COMMANDS,
        *gateway_tls(config),
        "error_page 502 504 = @no_gateway;",
    ]


def _unavailable(why: str) -> Lines:
    """S3's answer that has every client try again."""
    return [
        "default_type application/xml;",
        "add_header Retry-After 1 always;",
        f"return 503 '{_UNAVAILABLE.format(why=why)}';",
    ]
