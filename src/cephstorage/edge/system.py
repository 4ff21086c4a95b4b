"""Files for running the edge as a system service: nginx.conf and a systemd unit that runs nginx on it."""

from pathlib import Path

from cephstorage.edge.nginx import program
from cephstorage.files import make_private_directory, write_durably

UNIT = "cephstorage-edge.service"


def unit(folder: Path, user: str) -> str:
    """A unit for nginx alone, without our supervision: changed settings need another ``render`` and a reload."""
    nginx = f"{program()} -c {folder}/nginx.conf"
    return f"""\
# Written by `cephstorage edge render --system`. Copy to /etc/systemd/system and enable it.
[Unit]
Description=CephStorage edge (nginx)
After=network-online.target
Wants=network-online.target

[Service]
User={user}
# Sockets that a killed nginx left would keep the next one from starting.
ExecStartPre=/bin/sh -c 'rm -f {folder}/*.sock'
ExecStartPre={nginx} -t -q
ExecStart={nginx} -g "daemon off;"
ExecReload={nginx} -t -q
ExecReload=/bin/kill -HUP $MAINPID
KillSignal=SIGQUIT
KillMode=mixed
TimeoutStopSec=30
Restart=always
RestartSec=1
LimitNOFILE=65536
AmbientCapabilities=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ReadWritePaths={folder} -/var/cache/cephstorage -/var/lib/cephstorage

[Install]
WantedBy=multi-user.target
"""


def write_system(folder: Path, text: str, user: str) -> list[Path]:
    """Write both files; where they are."""
    make_private_directory(folder)
    files = {folder / "nginx.conf": text, folder / UNIT: unit(folder, user)}
    for path, content in files.items():
        write_durably(path, content.encode())
    return list(files)
