"""Whether the edge keeps anything: nginx cuts each answer off that its cache's disk has no room for.

nginx drops what was asked for longest ago when the disk runs short (``min_free`` of proxy_cache_path), every ten
seconds at the latest. When others fill the disk, or faster than that, the edge goes on without its caches (decision 95).
"""

LEAST = 256 << 20
"""Bytes free on the disk of the caches below which nothing is kept."""
ENOUGH = 1 << 30
"""Bytes free that nginx sees to, and from which on answers are kept again."""


def keeps(free: int, *, kept: bool) -> bool:
    """Whether answers are kept with so many bytes free; ``kept``: whether they were so far."""
    return free >= (LEAST if kept else ENOUGH)
