"""What the front makes of a request, of its slices and of their answers: nginx's ``map`` blocks.

The slices of one answer are one request to nginx and its subrequests, which share their variables. Four things
follow from that, and all that is said here of slices stands on them:

- ``$request_length`` is 0 in a subrequest: so the first slice is told from those after it.
- A map that is not volatile is read once, in the first slice's answer, and known to all the others.
- nginx looks for a value that is written out before it tries the regular expressions: so what most requests are is
  written out, too.
- What a regular expression captures is assigned each time. With ``log_subrequest`` each slice after the first ends
  with a look at a map, which notes a slice that broke; the next one then finds the note.
"""

from cephstorage.domain import edge
from cephstorage.edge.config import EdgeConfig
from cephstorage.edge.text import Lines, block, comment, variable

_FURTHER = "(?<edge_by>[a-z]+)\\ (?<edge_last>bytes=[0-9-]+)"


def maps(config: EdgeConfig) -> Lines:
    """All of them."""
    return [*_kinds(), "", *_cacheable(keeps=config.keeps), "", *_slices(), "", *_ends(), "", *_answers()]


def _kinds() -> Lines:
    """What a request is, from its raw parts: nginx's own view of the path is decoded and normalised."""
    return [
        *comment("""What a request to the service itself is. $request_uri is the target as the client wrote it. Lists of keys, which
        may have any length, pass like the bytes of keys."""),
        *block(
            'map "$request_method $request_uri" $edge_kind',
            "~^(GET|HEAD)\\ /objects/ object;",
            "~^(GET|HEAD|OPTIONS)\\  read;",
            '"~^PUT /ceph/[^/?]+/[^/?]+/keys/" upload;',
            '"~^POST /ceph/[^/?]+/[^/?]+/(import|keys|deletions)([/?]|$)" upload;',
            "default change;",
        ),
        *block("map $request_method $edge_harmless", "~^(GET|HEAD|OPTIONS)$ 1;", 'default "";'),
        *comment("More than ten million bytes are no JSON that any other API call takes."),
        *block("map $content_length $edge_oversized", '"~^[0-9]{8,}$" 1;', 'default "";'),
    ]


def _cacheable(*, keeps: bool) -> Lines:
    plain = "bytes=[0-9]{1,18}-[0-9]{0,18}"
    cacheable = (
        '"GET||||" "";',
        f'"~^GET\\|\\|\\|\\|({plain})?$" "";',
        '"~^GET\\|\\|\\|[^|]+\\|$" "";',
    )
    return [
        *comment("""Mirror traffic that the slice cache can serve: a GET without credentials, for one range from a place on,
        or for the whole, perhaps unless it is the copy that the client has. Everything else is for the proxy to judge.
        (With several ranges the slice filter begins at the first and sends the rest as if it began at 0; for the last
        bytes it would fetch the first slice, too.)"""),
        *block(
            'map "$request_method|$http_authorization|$http_if_match$http_if_unmodified_since'
            '|$http_if_none_match$http_if_modified_since|$http_range" $edge_uncached',
            cacheable if keeps else (),
            "default 1;",
        ),
        *comment("A proxy may answer such a condition with the first slice; those after it belong to that answer."),
        *_of_first("if_none_match", "$http_if_none_match"),
        *_of_first("if_modified_since", "$http_if_modified_since"),
    ]


def _of_first(name: str, value: str) -> Lines:
    return block(f"map $request_length $edge_{name}", "volatile;", '0 "";', f"default {value};")


def _slices() -> Lines:
    """Which way a slice is fetched."""
    return [
        *comment("""The first slice of an answer is streamed: nothing of the answer follows when it breaks. How the others are
        fetched, it says itself, or its copy in the cache."""),
        *block("map $request_length $edge_reader", "volatile;", "0 $edge_later;", "default edge_inner/ask;"),
        *block("map $request_length $edge_continues", "volatile;", "0 1;", 'default "";'),
        *block(
            'map "$request_length|$http_range" $edge_slice', "volatile;", '"~^[1-9][0-9]*\\|$" whole;', "default 1;"
        ),
        *block(
            f"map $upstream_http_{variable(edge.FURTHER)} $edge_further",
            f"default $upstream_http_{variable(edge.FURTHER)};",
        ),
        *comment("For the sake of being read."),
        *block("map $edge_further $edge_further_read", 'default "";'),
        "",
        *comment("""A slice of a stored version, which needs no proxy, may be streamed as long as another one follows, which is
        then the one to cut the answer. The last one and all else come whole or not at all (see the server stage): the
        last one of a range is not known here. A file does not break."""),
        *block(
            'map "$edge_broken|$edge_further|$http_range|$slice_range" $edge_later',
            "volatile;",
            '"~^broken" edge_inner/broken;',
            '"~^\\|\\|" edge_stage/ask;',
            '"~^\\|disk " edge_inner/further/disk;',
            f'"~^\\|{_FURTHER}\\|bytes=[0-9]+-[0-9]+\\|" edge_stage/further/$edge_by;',
            f'"~^\\|{_FURTHER}\\|[^|]*\\|\\k<edge_last>$" edge_stage/further/$edge_by;',
            f'"~^\\|{_FURTHER}\\|" edge_inner/further/$edge_by;',
            "default edge_stage/ask;",
        ),
    ]


def _ends() -> Lines:
    """How a slice after the first has ended; the request itself is what is logged."""
    return [
        *comment("""A slice that broke off: fewer bytes came than were announced. nginx's slice filter would go on with the next
        one in the same answer, so that one has to be refused."""),
        *block(
            'map "$upstream_cache_status|$upstream_response_length|$upstream_http_content_length|broken" $edge_ended',
            "volatile;",
            '"~^HIT" "";',
            '"~[| ]([0-9]+)\\|\\1\\|" "";',
            '"~(?<edge_broken>broken)$" "";',
            'default "";',
        ),
        *block("map $request_length $edge_logged", "volatile;", "0 $edge_ended;", "default 1;"),
    ]


def _answers() -> Lines:
    return [
        *comment("""Only whole and partial content is kept, whatever lifetime an answer has, and only under a target that begins like
        those which purges name. (That of http://files.example?x begins with its query.)"""),
        *block('map "$upstream_status|$request_uri" $edge_not_kept', "volatile;", '~^20[06]\\|/ "";', "default 1;"),
        "",
        *comment(
            "nginx says that it takes ranges unless it has just answered one, or hands an answer on that is no slice."
        ),
        *block(
            'map "$upstream_status|$http_range|$http_if_range" $edge_accept_ranges',
            '"||" "";',
            '"~^200\\|\\|" $upstream_http_accept_ranges;',
            '"~^[^|]*\\|[^|]+\\|$" bytes;',
            'default "";',
        ),
        "",
        *comment("The body of a 416 (a constant would make nginx write a page)."),
        *block("map $status $edge_nothing", 'default "";'),
        "",
        *comment("RFC 9211: the edge's word after the proxy's own, which every answer has that is kept."),
        *block(
            "map $upstream_cache_status $edge_cache_status",
            "volatile;",
            'EXPIRED "CephStorage-edge; fwd=stale";',
            'default "CephStorage-edge; fwd=uri-miss";',
        ),
        *block(
            "map $upstream_cache_status $edge_hops",
            "volatile;",
            'HIT "$upstream_http_cache_status, CephStorage-edge; hit";',
            "default $edge_hops_of_others;",
        ),
        *block(
            "map $upstream_http_cache_status $edge_hops_of_others",
            "volatile;",
            '"" $edge_cache_status;',
            'default "$upstream_http_cache_status, $edge_cache_status";',
        ),
    ]
