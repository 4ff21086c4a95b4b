"""The front servers, which clients talk to: one for the service's own names, one for every other, the mirrors.

Statuses 471 to 474 never leave nginx: ``return`` with one of them, caught by ``error_page``, is how nginx
chooses a named location by a variable, without parsing the target a second time.
"""

from cephstorage.domain import edge
from cephstorage.edge.asking import ANSWERED, KEPT_BY_ITS_WORD, asks, hides, of_client
from cephstorage.edge.config import EdgeConfig
from cephstorage.edge.pages import AGAIN_PAGES, TOO_MANY_PAGE, UNAVAILABLE_PAGE, problem_locations, problem_pages
from cephstorage.edge.text import Lines, block, comment

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
COMMANDS = "proxy_ignore_headers X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Charset;"
LOCK = ("proxy_cache_lock on;", "proxy_cache_lock_timeout 50ms;", "proxy_cache_lock_age 10s;")
_SMALL_BODY = "10m"


def log_of(config: EdgeConfig) -> str:
    """Where and how nginx logs requests."""
    return f"{config.run_dir}/access.log edge buffer=64k flush=1s"


def servers(config: EdgeConfig) -> Lines:
    """Both front servers."""
    return [
        *comment("The service itself: API, uploads, published URLs."),
        *_api_server(config),
        "",
        *comment("Every other host: mirrors. Which of them exist is the proxies' business."),
        *_mirror_server(config),
    ]


def _listens(config: EdgeConfig, extra: str = "") -> Lines:
    plain = [f"listen {address}{extra};" for address in config.listen]
    return [*plain, *(f"listen {address} ssl http2{extra};" for address in config.listen_tls)]


def per_client(config: EdgeConfig) -> Lines:
    """How many requests one address may have under way. Not for the servers behind: to them nginx is the only client."""
    most = config.limits.connections_per_client
    return [f"limit_conn clients {most};"] if most else []


def _api_server(config: EdgeConfig) -> Lines:
    names = " ".join(dict.fromkeys((*(host.lower() for host in config.api_hosts), *LOOPBACK)))
    limits = config.limits
    to_proxy = asks((edge.EDGE, f'"{config.secret}"'), *of_client("$host"))
    plain_proxy = [
        "proxy_pass http://cephstorage$request_uri;",
        *to_proxy,
        COMMANDS,
        *hides(ANSWERED),
        "proxy_max_temp_file_size 0;",
    ]
    return block(
        "server",
        _listens(config),
        f"server_name {names};",
        per_client(config),
        "",
        problem_pages(),
        "",
        block(
            "location /",
            "client_max_body_size 0;",
            "error_page 471 = @object;",
            "error_page 472 = @upload;",
            "error_page 473 = @change;",
            "if ($edge_kind = object) { return 471; }",
            "if ($edge_kind = upload) { return 472; }",
            "if ($edge_kind = change) { return 473; }",
            AGAIN_PAGES,
            TOO_MANY_PAGE,
            plain_proxy,
        ),
        block("location @again", again("$request_uri"), to_proxy, COMMANDS, hides(ANSWERED)),
        "",
        comment("Decided first: each request reaches a proxy; its bytes may come from the internal cache."),
        block("location @object", _to_inner()),
        "",
        comment("""The bytes of keys, and lists of them: passed on as they arrive, never on this disk. What was sent can't be sent again:
        a second proxy is asked only when the first takes no connection."""),
        block(
            "location @upload",
            comment(
                "A body in chunks is measured here, while it is read; one with a length where the request came in."
            ),
            "client_max_body_size 0;",
            "proxy_request_buffering off;",
            f"proxy_read_timeout {limits.upload_timeout}s;",
            plain_proxy,
        ),
        "",
        comment("Small bodies (JSON): read before a proxy is bothered, so that a slow client holds up nobody."),
        block(
            "location @change",
            f"client_max_body_size {_SMALL_BODY};",
            "if ($edge_oversized) { return 413; }",
            "proxy_next_upstream off;",
            plain_proxy,
        ),
        "",
        problem_locations(),
    )


def _mirror_server(config: EdgeConfig) -> Lines:
    return block(
        "server",
        _listens(config, " default_server"),
        "server_name _;",
        per_client(config),
        comment("Bodies pass as they come, to a proxy that says whether and how much it takes."),
        "client_max_body_size 0;",
        "",
        problem_pages(),
        "",
        block(
            "location /",
            "error_page 474 = @uncached;",
            "if ($edge_uncached) { return 474; }",
            problem_pages(),
            "",
            f"slice {config.slice_size};",
            "proxy_cache mirrors;",
            "proxy_cache_key $host$request_uri$slice_range;",
            comment("The proxy alone says how long an answer may be kept (X-Accel-Expires); a purge may end that."),
            KEPT_BY_ITS_WORD,
            "proxy_no_cache $edge_not_kept;",
            comment("""One asks for a slice, the others look again after a moment, and then each asks for itself: the
            proxy brings readers together, shares an error among them, and lets nobody queue for what can't be kept."""),
            LOCK,
            "proxy_cache_use_stale off;",
            "proxy_cache_background_update off;",
            "proxy_cache_revalidate off;",
            comment("An answer in one piece, which a slow client reads, waits at its source and not on this disk."),
            "proxy_max_temp_file_size 0;",
            "proxy_hide_header Accept-Ranges;",
            "add_header Accept-Ranges $edge_accept_ranges;",
            "proxy_hide_header Cache-Status;",
            "add_header Cache-Status $edge_hops always;",
            "add_header X-Cephstorage-Further $edge_further_read;",
            comment("The log is written for the request; for each slice after its first it is only asked."),
            "log_subrequest on;",
            f"access_log {log_of(config)} if=$edge_logged;",
            "",
            "proxy_pass http://$edge_reader;",
            "proxy_pass_request_body off;",
            _slice_question(),
            hides(ANSWERED),
        ),
        "",
        block("location @uncached", _to_inner()),
        "",
        problem_locations(),
    )


def _slice_question() -> Lines:
    """What a proxy is asked about one slice."""
    return asks(
        ("content-length", '""'),
        ("transfer-encoding", '""'),
        *of_client("$host"),
        ("range", "$slice_range"),
        *((name, '""') for name in ("if-match", "if-range", "if-unmodified-since")),
        ("if-none-match", "$edge_if_none_match"),
        ("if-modified-since", "$edge_if_modified_since"),
        (edge.SLICE, "$edge_slice"),
        (edge.CONTINUES, "$edge_continues"),
        (edge.TARGET, "$request_uri"),
        ("x-cephstorage-stage", '"$request_id $slice_range"'),
    )


def _to_inner() -> Lines:
    """Ask the inner server about the client's request as it is."""
    return [
        "set $edge_asked edge_inner;",
        "proxy_pass http://$edge_asked/ask;",
        "proxy_request_buffering off;",
        "proxy_next_upstream off;",
        "proxy_max_temp_file_size 0;",
        COMMANDS,
        *asks(
            *of_client("$host"),
            (edge.TARGET, "$request_uri"),
        ),
        *hides(ANSWERED),
    ]


def again(target: str) -> Lines:
    """The last try for a question without effect: every proxy in turn, those too that failed a moment ago.

    nginx asks nobody while all are marked as failed, which they are when one is killed just as another is back.
    """
    return [
        *UNAVAILABLE_PAGE,
        'if ($edge_harmless = "") { return 502; }',
        f"proxy_pass http://cephstorage_again{target};",
        "proxy_max_temp_file_size 0;",
    ]
