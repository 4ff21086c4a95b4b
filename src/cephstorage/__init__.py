"""CephStorage: key storage and permanent mirror for people who run Ceph."""
