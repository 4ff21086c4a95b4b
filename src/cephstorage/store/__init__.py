"""Object stores behind the store port: disk now, Ceph RGW next."""
