"""Buckets, their keys and folders, and what was deleted of them."""

from sqlalchemy import CheckConstraint, Double, ForeignKey, Index, LargeBinary, Table

from cephstorage.domain.transfers import State
from cephstorage.index.tables.columns import TEXT, WHOLE, Area, column, quota, whole_from_zero, word


def buckets(general: Area) -> Table:
    """``next_generation``: where versions begin that are still to come, above every deleted version's generation.

    ``highest_generation``: the highest that any version has had. ``trash_size`` and ``trash_keys``: what its trash
    holds, beside ``size`` and ``keyamount``. ``trash_days`` null: it has none. ``expiry_rules`` is JSON; ``rules_place``
    is the key up to which keys have been given the moments that follow from them, null when all have.
    """
    table = general.table(
        "buckets",
        column("name", key=True),
        column("username", TEXT, ForeignKey(general.full("tenants") + ".username")),
        column("size", WHOLE),
        column("keyamount", WHOLE),
        column("next_generation", WHOLE),
        column("created_at", Double),
        whole_from_zero("highest_generation"),
        *quota(),
        whole_from_zero("trash_size"),
        whole_from_zero("trash_keys"),
        whole_from_zero("trash_overwritten"),
        column("trash_days", Double, null=True),
        column("expiry_rules", null=True),
        column("rules_place", null=True),
        CheckConstraint("size >= 0 AND keyamount >= 0"),
    )
    Index("buckets_by_tenant", table.c.username, table.c.name)
    behind = table.c.rules_place.is_not(None)
    Index("buckets_by_rules_place", table.c.name, sqlite_where=behind, postgresql_where=behind)
    return table


def keys(index: Area, general: Area) -> Table:
    """``vfolder`` is the folder's path as ``listing.folder_sort_key`` writes it.

    ``expires`` is what the caller wished, ``expires_at`` when the key ends, its bucket's rules considered; most keys
    do not, and are in no index of such moments.

    A row with its origin's headers is too long for a table WITHOUT ROWID (sqlite.org advises 1/20 of a
    page), whose inner pages hold whole rows.
    """
    table = index.table(
        "keys",
        column("bucket", TEXT, ForeignKey(general.full("buckets") + ".name"), key=True),
        column("key", key=True),
        column("vfolder", LargeBinary),
        column("ts", Double),
        column("md5"),
        column("content_type"),
        column("size", WHOLE),
        column("generation", WHOLE),
        column("etag", null=True),
        column("last_modified", null=True),
        column("store_version"),
        column("source"),
        column("validated_at", Double),
        column("origin", null=True),
        column("invalidated_at", Double, null=True),
        column("metadata", null=True),
        column("expires", Double, null=True),
        column("expires_at", Double, null=True),
        postgresql_partition_by="HASH (bucket)",
    )
    Index("keys_by_folder", table.c.bucket, table.c.vfolder, table.c.key)
    ends = table.c.expires_at.is_not(None)
    Index("keys_expiring", table.c.expires_at, sqlite_where=ends, postgresql_where=ends)
    return table


def folders(index: Area) -> Table:
    """``parent`` and ``name`` are those of ``names.parent_folder``. It grows where it is written: no foreign key."""
    return index.table(
        "folders",
        column("bucket", key=True),
        column("parent", key=True),
        column("name", key=True),
        column("size", WHOLE),
        column("keyamount", WHOLE),
        CheckConstraint("size >= 0 AND keyamount >= 0"),
        postgresql_partition_by="HASH (bucket)",
    )


def trash(index: Area) -> Table:
    """Versions that were deleted or replaced and may come back. ``record`` is the whole of it, as JSON."""
    table = index.table(
        "trash",
        column("bucket", key=True),
        column("key", key=True),
        column("generation", WHOLE, key=True),
        column("size", WHOLE),
        column("store_version"),
        column("reason"),
        column("trashed_at", Double),
        column("due_at", Double),
        column("record"),
    )
    Index("trash_due", table.c.due_at)
    return table


def removals(general: Area) -> Table:
    """Versions that wait for their removal, worked off by number. Whoever looks at a key asks for its own: a mass
    deletion leaves millions here for a while.
    """
    table = general.table(
        "removals", column("id", WHOLE, key=True), column("bucket"), column("key"), column("store_version")
    )
    Index("removals_by_key", table.c.bucket, table.c.key)
    return table


def deletions(general: Area) -> Table:
    """``prefix`` null: the keys stand in ``deletion_keys``. ``place`` is the last key that was dealt with."""
    table = general.table(
        "deletions",
        column("id", key=True),
        column("bucket"),
        column("prefix", null=True),
        column("below_generation", WHOLE),
        column("state"),
        column("place"),
        column("done", WHOLE),
        column("missing", WHOLE),
        column("total", WHOLE, null=True),
        column("created_at", Double),
        column("updated_at", Double),
        column("ended_at", Double, null=True),
        column("due_at", Double),
        column("error_code", null=True),
        column("error_msg", null=True),
    )
    c = table.c
    running, ended = c.state == word(State.INPROGRESS), c.ended_at.is_not(None)
    Index("deletions_due", c.due_at, sqlite_where=running, postgresql_where=running)
    Index("deletions_ended", c.ended_at, sqlite_where=ended, postgresql_where=ended)
    Index("deletions_by_bucket", c.bucket, c.created_at)
    return table
