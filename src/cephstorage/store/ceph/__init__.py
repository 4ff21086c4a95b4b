"""Ceph as the store: objects in RGW under their own names, through S3."""

from cephstorage.store.ceph.config import CephConfig
from cephstorage.store.ceph.store import CephStore

__all__ = ["CephConfig", "CephStore"]
