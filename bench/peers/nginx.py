"""nginx as a mirror: its own cache, one fetch for many clients, with or without slices."""

from collections.abc import Mapping
from pathlib import Path

_CONF = """
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
daemon off;
user root;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    proxy_cache_path {folder}/cache levels=1:2 keys_zone=mirror:20m max_size=8g inactive=1d use_temp_path=off;
{upstreams}
    map $host $origin {{
{choices}
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            {slicing}
            proxy_cache mirror;
            proxy_cache_valid 200 206 1d;
            proxy_cache_lock on;
            proxy_cache_lock_timeout 1h;
            proxy_cache_lock_age 1h;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_pass http://$origin;
        }}
    }}
}}
"""
_WHOLE = "proxy_cache_key $host$request_uri;"
_SLICES = "slice 1m; proxy_set_header Range $slice_range; proxy_cache_key $host$request_uri$slice_range;"


def nginx_conf(folder: Path, port: int, ports: Mapping[str, int], *, sliced: bool) -> str:
    """The configuration: each host is one upstream with connections that are kept."""
    names = {host: host.replace(".", "_") for host in ports}
    upstreams = "\n".join(
        f"    upstream {names[host]} {{ server 127.0.0.1:{origin}; keepalive 64; }}" for host, origin in ports.items()
    )
    choices = "\n".join(f"        {host} {name};" for host, name in names.items())
    slicing = _SLICES if sliced else _WHOLE
    return _CONF.format(folder=folder, port=port, upstreams=upstreams, choices=choices, slicing=slicing)
