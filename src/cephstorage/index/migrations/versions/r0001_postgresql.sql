-- The schema of CephStorage 0.1.0 as PostgreSQL has it. That release knew SQLite only: nobody made these tables, but
-- revisions begin at the same place for both.
CREATE SCHEMA IF NOT EXISTS "CephStorageGeneral";
CREATE SCHEMA IF NOT EXISTS "CephStorageIndex";
CREATE SCHEMA IF NOT EXISTS "CephStorageConfiguration";
CREATE SCHEMA IF NOT EXISTS "CephStorageMonitor";
CREATE TABLE "CephStorageConfiguration".counters (
    name TEXT COLLATE "C" NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE "CephStorageConfiguration".settings (
    name TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE "CephStorageGeneral".landing_leases (
    bucket TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    transfer_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (bucket, key)
);
CREATE TABLE "CephStorageGeneral".removals (
    id BIGSERIAL NOT NULL,
    bucket TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    store_version TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE "CephStorageGeneral".tenants (
    username TEXT COLLATE "C" NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (username)
);
CREATE TABLE "CephStorageGeneral".tokens (
    id TEXT COLLATE "C" NOT NULL,
    secret_hash TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    username TEXT COLLATE "C",
    label TEXT COLLATE "C" NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION,
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX tokens_by_secret ON "CephStorageGeneral".tokens (secret_hash);
CREATE TABLE "CephStorageGeneral".transfers (
    id TEXT COLLATE "C" NOT NULL,
    token TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    bucket TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    request TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C",
    state TEXT COLLATE "C" NOT NULL,
    phase TEXT COLLATE "C" NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    bytes_done BIGINT NOT NULL,
    bytes_total BIGINT,
    attempts BIGINT NOT NULL,
    not_before DOUBLE PRECISION NOT NULL,
    error_code TEXT COLLATE "C",
    error_msg TEXT COLLATE "C",
    owner TEXT COLLATE "C",
    fence BIGINT NOT NULL,
    lease_until DOUBLE PRECISION NOT NULL,
    due_at DOUBLE PRECISION NOT NULL,
    source TEXT COLLATE "C",
    plan TEXT COLLATE "C",
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX transfers_by_token ON "CephStorageGeneral".transfers (token);
CREATE INDEX transfers_due ON "CephStorageGeneral".transfers (due_at) WHERE state = 'inprogress';
CREATE INDEX transfers_ended ON "CephStorageGeneral".transfers (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX transfers_held ON "CephStorageGeneral".transfers (owner) WHERE owner IS NOT NULL;
CREATE UNIQUE INDEX transfers_single_fill ON "CephStorageGeneral".transfers (bucket, key) WHERE state = 'inprogress' AND kind = 'fill';
CREATE UNIQUE INDEX transfers_single_request ON "CephStorageGeneral".transfers (fingerprint) WHERE state = 'inprogress';
CREATE TABLE "CephStorageMonitor".series (
    name TEXT COLLATE "C" NOT NULL,
    minute BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (name, minute)
);
CREATE TABLE "CephStorageGeneral".buckets (
    name TEXT COLLATE "C" NOT NULL,
    username TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    keyamount BIGINT NOT NULL,
    next_generation BIGINT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (name),
    CHECK (size >= 0 AND keyamount >= 0),
    FOREIGN KEY(username) REFERENCES "CephStorageGeneral".tenants (username)
);
CREATE INDEX buckets_by_tenant ON "CephStorageGeneral".buckets (username, name);
CREATE TABLE "CephStorageGeneral".idempotency (
    key TEXT COLLATE "C" NOT NULL,
    transfer_id TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C",
    PRIMARY KEY (key),
    FOREIGN KEY(transfer_id) REFERENCES "CephStorageGeneral".transfers (id) ON DELETE CASCADE
);
CREATE INDEX idempotency_by_transfer ON "CephStorageGeneral".idempotency (transfer_id);
CREATE TABLE "CephStorageGeneral".mirrors (
    host TEXT COLLATE "C" NOT NULL,
    bucket TEXT COLLATE "C" NOT NULL,
    mirror TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (host),
    FOREIGN KEY(bucket) REFERENCES "CephStorageGeneral".buckets (name)
);
CREATE INDEX mirrors_by_bucket ON "CephStorageGeneral".mirrors (bucket);
CREATE TABLE "CephStorageIndex".keys (
    bucket TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    vfolder BYTEA NOT NULL,
    ts DOUBLE PRECISION NOT NULL,
    md5 TEXT COLLATE "C" NOT NULL,
    content_type TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    etag TEXT COLLATE "C",
    last_modified TEXT COLLATE "C",
    store_version TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    validated_at DOUBLE PRECISION NOT NULL,
    origin TEXT COLLATE "C",
    PRIMARY KEY (bucket, key),
    FOREIGN KEY(bucket) REFERENCES "CephStorageGeneral".buckets (name)
) PARTITION BY HASH (bucket);
CREATE TABLE "CephStorageIndex".keys_00 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 0);
CREATE TABLE "CephStorageIndex".keys_01 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 1);
CREATE TABLE "CephStorageIndex".keys_02 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 2);
CREATE TABLE "CephStorageIndex".keys_03 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 3);
CREATE TABLE "CephStorageIndex".keys_04 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 4);
CREATE TABLE "CephStorageIndex".keys_05 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 5);
CREATE TABLE "CephStorageIndex".keys_06 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 6);
CREATE TABLE "CephStorageIndex".keys_07 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 7);
CREATE TABLE "CephStorageIndex".keys_08 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 8);
CREATE TABLE "CephStorageIndex".keys_09 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 9);
CREATE TABLE "CephStorageIndex".keys_10 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 10);
CREATE TABLE "CephStorageIndex".keys_11 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 11);
CREATE TABLE "CephStorageIndex".keys_12 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 12);
CREATE TABLE "CephStorageIndex".keys_13 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 13);
CREATE TABLE "CephStorageIndex".keys_14 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 14);
CREATE TABLE "CephStorageIndex".keys_15 PARTITION OF "CephStorageIndex".keys FOR VALUES WITH (MODULUS 16, REMAINDER 15);
CREATE INDEX keys_by_folder ON "CephStorageIndex".keys (bucket, vfolder, key);
