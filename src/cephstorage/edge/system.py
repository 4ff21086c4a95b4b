"""Files for running the edge as a system service: nginx.conf and a systemd unit that runs nginx on it."""

import os
import shutil
from pathlib import Path

from cephstorage.edge.nginx import Folders, program
from cephstorage.files import write_durably

UNIT = "cephstorage-edge.service"


def unit(folders: Folders, user: str) -> str:
    """A unit for nginx alone, without our supervision: changed settings need another ``render`` and a reload."""
    folder = folders.run_dir
    nginx = f"{program()} -c {folders.config_file}"
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
ReadWritePaths={folder} {folders.cache_dir}

[Install]
WantedBy=multi-user.target
"""


def write_system(folders: Folders, text: str, user: str) -> list[Path]:
    """Write both files, and make the folders that nginx expects to find; where they are. All of it is the user's."""
    folders.make()
    files = {folders.config_file: text, folders.run_dir / UNIT: unit(folders, user)}
    for path, content in files.items():
        write_durably(path, content.encode())
    if os.geteuid() == 0:
        for path in (*folders.all, *files):
            shutil.chown(path, user)
    return list(files)
