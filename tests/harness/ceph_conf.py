"""The ``ceph.conf`` of a one-node Ceph for tests: small, quick to start, silent, and nothing outside its folder.

Names and meanings: docs.ceph.com, "Configuration reference", release Pacific.
"""

import uuid
from collections.abc import Mapping
from pathlib import Path

SILENT = (
    "asok auth bdev bluefs bluestore buffer client compressor context crush filestore finisher "
    "heartbeatmap journal leveldb lockdep log memdb mgrc mon monc ms objclass objectcacher objecter "
    "optracker osd paxos perfcounter rados reserver rgw rocksdb throttle timer tp"
)
"""Subsystems whose log lines are not even composed."""

OSD_PORTS = 64
"""How many ports from its first one the osd may try; it takes four that are free."""


def _global(folder: Path, mon_port: int) -> dict[str, object]:
    return {
        "fsid": uuid.uuid4(),
        "mon_host": f"v2:127.0.0.1:{mon_port}",
        # One messenger protocol: one port for the monitor, four for the osd.
        "ms_bind_msgr1": "false",
        "ms_bind_ipv6": "false",
        "public_addr": "127.0.0.1",
        "cluster_addr": "127.0.0.1",
        # Without authentication there are no key files, and an osd may enter the map by itself.
        "auth_cluster_required": "none",
        "auth_service_required": "none",
        "auth_client_required": "none",
        "auth_allow_insecure_global_id_reclaim": "false",
        # radosgw asks the monitor for an encrypted connection by default, which needs authentication.
        "ms_mon_client_mode": "crc",
        # Everybody may be started at once: who finds the monitor missing looks again soon.
        "mon_client_hunt_interval": 0.1,
        "mon_client_hunt_interval_max_multiple": 3,
        "objecter_tick_interval": 0.1,
        "run_dir": folder / "run",
        "crash_dir": folder / "crash",
        "log_file": folder / "log" / "$name.log",
        "keyring": folder / "keyring",
        "pid_file": "",
        "admin_socket": "",  # a socket's path may have 107 bytes, a temporary folder's more
        "log_to_stderr": "false",
        "err_to_stderr": "false",
        "ms_async_op_threads": 1,
        "log_max_recent": 100,
        "osd_pool_default_size": 1,
        "osd_pool_default_min_size": 1,
        "osd_pool_default_pg_num": 1,
        "osd_pool_default_pgp_num": 1,
        "osd_pool_default_pg_autoscale_mode": "off",
        "osd_crush_chooseleaf_type": 0,
        "mon_allow_pool_size_one": "true",
        **{f"debug_{subsystem}": "0/0" for subsystem in SILENT.split()},
    }


def _mon(folder: Path) -> dict[str, object]:
    return {
        "mon_data": folder / "mon",
        "mon_cluster_log_to_file": "false",
        # Each pool that radosgw makes costs several map changes; they need not wait for company.
        "paxos_propose_interval": 0.01,
        "paxos_min_wait": 0.01,
        # The disk of the test machine may be nearly full.
        "mon_data_avail_warn": 2,
        "mon_data_avail_crit": 1,
        "mon_osd_full_ratio": 0.97,
        "mon_osd_backfillfull_ratio": 0.96,
        "mon_osd_nearfull_ratio": 0.95,
        "mon_warn_on_pool_no_redundancy": "false",
    }


def _osd(folder: Path, first_port: int, objectstore: str) -> dict[str, object]:
    return {
        "osd_data": folder / "osd",
        "osd_objectstore": objectstore,
        "osd_class_load_list": "*",
        "osd_class_default_list": "*",
        "ms_bind_port_min": first_port,
        "ms_bind_port_max": first_port + OSD_PORTS - 1,
        "bdev_aio_poll_ms": 10,
        "bluestore_fsck_on_mkfs": "false",
        "bluestore_block_size": 20 << 30,  # sparse
        "bluestore_cache_autotune": "false",
        "bluestore_cache_size": 64 << 20,
        "osd_memory_target": 1 << 30,
        "osd_op_num_shards": 2,
        "osd_op_num_threads_per_shard": 1,
        # memstore writes its data out only at an orderly end; bluestore has written it already.
        "osd_fast_shutdown": "false" if objectstore == "memstore" else "true",
        "memstore_device_bytes": 8 << 30,
        "memstore_page_set": "false",
    }


def _rgw(folder: Path, frontends: str) -> dict[str, object]:
    return {
        "rgw_data": folder / "rgw",
        "rgw_frontends": frontends,
        "rgw_thread_pool_size": 32,
        "rgw_num_async_rados_threads": 4,
        "rgw_relaxed_s3_bucket_names": "true",
        "rgw_enable_apis": "s3, admin, notifications",
        "rgw_dynamic_resharding": "false",
        "rgw_override_bucket_index_max_shards": 1,
        "rgw_run_sync_thread": "false",
        "rgw_gc_max_objs": 4,
        "rgw_lc_max_objs": 4,
        # A test may have the service send small parts; the service's own are as large as S3 wants.
        "rgw_multipart_min_part_size": 1 << 20,
        "rgw_usage_max_shards": 1,
        "rgw_usage_max_user_shards": 1,
    }


def render(
    folder: Path,
    *,
    mon_port: int,
    osd_port: int,
    frontends: str,
    objectstore: str,
    rgw_options: Mapping[str, str],
) -> str:
    """The file's text. ``frontends`` is the value of ``rgw_frontends``; ``rgw_options`` go over what stands here."""
    sections = {
        "global": _global(folder, mon_port),
        "mon": _mon(folder),
        "osd": _osd(folder, osd_port, objectstore),
        "client.rgw": _rgw(folder, frontends) | dict(rgw_options),
    }
    lines = [
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()) for name, keys in sections.items()
    ]
    return "\n".join(lines)
