-- The schema of CephStorage 0.1.0, as that release made it.
CREATE TABLE "CephStorageConfiguration_counters" (
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE "CephStorageConfiguration_settings" (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE "CephStorageGeneral_buckets" (
    name TEXT NOT NULL,
    username TEXT NOT NULL,
    size INTEGER NOT NULL,
    keyamount INTEGER NOT NULL,
    next_generation INTEGER NOT NULL,
    created_at DOUBLE NOT NULL,
    PRIMARY KEY (name),
    CHECK (size >= 0 AND keyamount >= 0),
    FOREIGN KEY(username) REFERENCES "CephStorageGeneral_tenants" (username)
);
CREATE TABLE "CephStorageGeneral_idempotency" (
    "key" TEXT NOT NULL,
    transfer_id TEXT NOT NULL,
    fingerprint TEXT,
    PRIMARY KEY ("key"),
    FOREIGN KEY(transfer_id) REFERENCES "CephStorageGeneral_transfers" (id) ON DELETE CASCADE
);
CREATE TABLE "CephStorageGeneral_landing_leases" (
    bucket TEXT NOT NULL,
    "key" TEXT NOT NULL,
    transfer_id TEXT NOT NULL,
    PRIMARY KEY (bucket, "key")
);
CREATE TABLE "CephStorageGeneral_mirrors" (
    host TEXT NOT NULL,
    bucket TEXT NOT NULL,
    mirror TEXT NOT NULL,
    PRIMARY KEY (host),
    FOREIGN KEY(bucket) REFERENCES "CephStorageGeneral_buckets" (name)
);
CREATE TABLE "CephStorageGeneral_removals" (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    bucket TEXT NOT NULL,
    "key" TEXT NOT NULL,
    store_version TEXT NOT NULL
);
CREATE TABLE "CephStorageGeneral_tenants" (
    username TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    PRIMARY KEY (username)
);
CREATE TABLE "CephStorageGeneral_tokens" (
    id TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    role TEXT NOT NULL,
    username TEXT,
    label TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    expires_at DOUBLE,
    PRIMARY KEY (id)
);
CREATE TABLE "CephStorageGeneral_transfers" (
    id TEXT NOT NULL,
    token TEXT NOT NULL,
    kind TEXT NOT NULL,
    bucket TEXT NOT NULL,
    "key" TEXT NOT NULL,
    request TEXT NOT NULL,
    fingerprint TEXT,
    state TEXT NOT NULL,
    phase TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    updated_at DOUBLE NOT NULL,
    ended_at DOUBLE,
    bytes_done INTEGER NOT NULL,
    bytes_total INTEGER,
    attempts INTEGER NOT NULL,
    not_before DOUBLE NOT NULL,
    error_code TEXT,
    error_msg TEXT,
    owner TEXT,
    fence INTEGER NOT NULL,
    lease_until DOUBLE NOT NULL,
    due_at DOUBLE NOT NULL,
    source TEXT,
    "plan" TEXT,
    PRIMARY KEY (id)
);
CREATE TABLE "CephStorageIndex_keys" (
    bucket TEXT NOT NULL,
    "key" TEXT NOT NULL,
    vfolder BLOB NOT NULL,
    ts DOUBLE NOT NULL,
    md5 TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    etag TEXT,
    last_modified TEXT,
    store_version TEXT NOT NULL,
    source TEXT NOT NULL,
    validated_at DOUBLE NOT NULL,
    origin TEXT,
    PRIMARY KEY (bucket, "key"),
    FOREIGN KEY(bucket) REFERENCES "CephStorageGeneral_buckets" (name)
);
CREATE TABLE "CephStorageMonitor_series" (
    name TEXT NOT NULL,
    minute INTEGER NOT NULL,
    value DOUBLE NOT NULL,
    PRIMARY KEY (name, minute)
);
CREATE UNIQUE INDEX transfers_by_token ON "CephStorageGeneral_transfers" (token);
CREATE INDEX transfers_due ON "CephStorageGeneral_transfers" (due_at) WHERE state = 'inprogress';
CREATE UNIQUE INDEX transfers_single_fill ON "CephStorageGeneral_transfers" (bucket, "key") WHERE state = 'inprogress' AND kind = 'fill';
CREATE INDEX transfers_held ON "CephStorageGeneral_transfers" (owner) WHERE owner IS NOT NULL;
CREATE UNIQUE INDEX transfers_single_request ON "CephStorageGeneral_transfers" (fingerprint) WHERE state = 'inprogress';
CREATE INDEX transfers_ended ON "CephStorageGeneral_transfers" (ended_at) WHERE ended_at IS NOT NULL;
CREATE UNIQUE INDEX tokens_by_secret ON "CephStorageGeneral_tokens" (secret_hash);
CREATE INDEX buckets_by_tenant ON "CephStorageGeneral_buckets" (username, name);
CREATE INDEX idempotency_by_transfer ON "CephStorageGeneral_idempotency" (transfer_id);
CREATE INDEX keys_by_folder ON "CephStorageIndex_keys" (bucket, vfolder, "key");
CREATE INDEX mirrors_by_bucket ON "CephStorageGeneral_mirrors" (bucket);
