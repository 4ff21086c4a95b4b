-- A database as CephStorage 0.1.0 made and filled it. Written by that release; never to be changed.
BEGIN TRANSACTION;
CREATE TABLE "CephStorageConfiguration_counters" (
	name TEXT NOT NULL, 
	value INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "CephStorageConfiguration_counters" VALUES('schema',1);
INSERT INTO "CephStorageConfiguration_counters" VALUES('settings',3);
CREATE TABLE "CephStorageConfiguration_settings" (
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "CephStorageConfiguration_settings" VALUES('signing_key','secret');
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
INSERT INTO "CephStorageGeneral_buckets" VALUES('alice___photos','alice',36,3,2,1000.0);
INSERT INTO "CephStorageGeneral_buckets" VALUES('bob___mirrored','bob',15,1,1,1000.0);
CREATE TABLE "CephStorageGeneral_idempotency" (
	"key" TEXT NOT NULL, 
	transfer_id TEXT NOT NULL, 
	fingerprint TEXT, 
	PRIMARY KEY ("key"), 
	FOREIGN KEY(transfer_id) REFERENCES "CephStorageGeneral_transfers" (id) ON DELETE CASCADE
);
INSERT INTO "CephStorageGeneral_idempotency" VALUES('alice:idem:0','id-0','finger-0');
INSERT INTO "CephStorageGeneral_idempotency" VALUES('alice:idem:1','id-1','finger-1');
INSERT INTO "CephStorageGeneral_idempotency" VALUES('alice:idem:2','id-2','finger-2');
INSERT INTO "CephStorageGeneral_idempotency" VALUES('alice:idem:3','id-3','finger-3');
INSERT INTO "CephStorageGeneral_idempotency" VALUES('alice:idem:4','id-4','finger-4');
INSERT INTO "CephStorageGeneral_idempotency" VALUES('alice:idem:5','id-5','finger-5');
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
INSERT INTO "CephStorageGeneral_mirrors" VALUES('pypi.example','bob___mirrored','{"host":"pypi.example","bucket":"bob___mirrored","origin":"https://pypi.example","defaults":{"mode":"revalidate","ttl":300.0,"query":"ignore","query_names":[],"cookies":"pass","pass_headers":[],"origin":null,"rewrite_links":null},"rules":[{"path":"/packages/**","mode":"immutable","ttl":null,"query":null,"query_names":null,"cookies":null,"pass_headers":null,"origin":"https://files.example","rewrite_links":null},{"path":"/simple/**","mode":"revalidate","ttl":300.0,"query":null,"query_names":null,"cookies":null,"pass_headers":null,"origin":null,"rewrite_links":["https://files.example/packages/","/packages/"]},{"path":"/pypi/**","mode":"revalidate","ttl":300.0,"query":null,"query_names":null,"cookies":null,"pass_headers":null,"origin":null,"rewrite_links":null}],"private":false,"preset":"pypi","created_at":3.0}');
CREATE TABLE "CephStorageGeneral_removals" (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	bucket TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	store_version TEXT NOT NULL
);
INSERT INTO "CephStorageGeneral_removals" VALUES(1,'alice___photos','c.txt','id-1.1');
INSERT INTO "CephStorageGeneral_removals" VALUES(2,'alice___photos','gone','id-3.1');
CREATE TABLE "CephStorageGeneral_tenants" (
	username TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	PRIMARY KEY (username)
);
INSERT INTO "CephStorageGeneral_tenants" VALUES('alice',1000.0);
INSERT INTO "CephStorageGeneral_tenants" VALUES('bob',1000.0);
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
INSERT INTO "CephStorageGeneral_tokens" VALUES('t1','abababababababababababababababababababababababababababababababab','tenant','alice','laptop',5.0,9.5);
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
INSERT INTO "CephStorageGeneral_transfers" VALUES('id-0','token-0','fetch','alice___photos','a/b/c.txt','{"url":"http://origin.example/0","content_type":null,"md5":null,"timetag":null,"precondition":{"if_absent":false,"if_match":null},"mirror_host":null,"target":null,"seen_generation":0,"drop_cookies":false,"rewrite_links":null}','finger-0','success','ended',1000.0,1000.0,1000.0,10,10,0,1000.0,NULL,NULL,NULL,1,0.0,1100.0,NULL,'{"size":10,"md5":"0000000000000000000000000000000a","content_type":"text/plain","ts":5.5,"public":{"etag":"\"0\"","last_modified":"Thu, 01 Jan 1970 00:00:05 GMT"},"store_version":"id-0.1","source":"http://origin.example/0","origin":null}');
INSERT INTO "CephStorageGeneral_transfers" VALUES('id-1','token-1','fetch','alice___photos','c.txt','{"url":"http://origin.example/1","content_type":null,"md5":null,"timetag":null,"precondition":{"if_absent":false,"if_match":null},"mirror_host":null,"target":null,"seen_generation":0,"drop_cookies":false,"rewrite_links":null}','finger-1','success','ended',1001.0,1001.0,1001.0,11,11,0,1001.0,NULL,NULL,NULL,1,0.0,1100.0,NULL,'{"size":11,"md5":"0000000000000000000000000000000b","content_type":"text/plain","ts":5.5,"public":{"etag":"\"1\"","last_modified":"Thu, 01 Jan 1970 00:00:05 GMT"},"store_version":"id-1.1","source":"http://origin.example/1","origin":{"target":"/a?b","headers":[["X-A","1"],["X-\u00dc","2"]],"validators":{"etag":"W/\"o\"","last_modified":null},"date":"Thu, 01 Jan 1970 00:00:09 GMT"}}');
INSERT INTO "CephStorageGeneral_transfers" VALUES('id-2','token-2','fetch','alice___photos','ключ/ü''"
','{"url":"http://origin.example/2","content_type":null,"md5":null,"timetag":null,"precondition":{"if_absent":false,"if_match":null},"mirror_host":null,"target":null,"seen_generation":0,"drop_cookies":false,"rewrite_links":null}','finger-2','success','ended',1002.0,1002.0,1002.0,12,12,0,1002.0,NULL,NULL,NULL,1,0.0,1100.0,NULL,'{"size":12,"md5":"0000000000000000000000000000000c","content_type":"text/plain","ts":5.5,"public":{"etag":"\"2\"","last_modified":"Thu, 01 Jan 1970 00:00:05 GMT"},"store_version":"id-2.1","source":"http://origin.example/2","origin":null}');
INSERT INTO "CephStorageGeneral_transfers" VALUES('id-3','token-3','fetch','alice___photos','gone','{"url":"http://origin.example/3","content_type":null,"md5":null,"timetag":null,"precondition":{"if_absent":false,"if_match":null},"mirror_host":null,"target":null,"seen_generation":0,"drop_cookies":false,"rewrite_links":null}','finger-3','success','ended',1003.0,1003.0,1003.0,13,13,0,1003.0,NULL,NULL,NULL,1,0.0,1100.0,NULL,'{"size":13,"md5":"0000000000000000000000000000000d","content_type":"text/plain","ts":5.5,"public":{"etag":"\"3\"","last_modified":"Thu, 01 Jan 1970 00:00:05 GMT"},"store_version":"id-3.1","source":"http://origin.example/3","origin":{"target":"/a?b","headers":[["X-A","1"],["X-\u00dc","2"]],"validators":{"etag":"W/\"o\"","last_modified":null},"date":"Thu, 01 Jan 1970 00:00:09 GMT"}}');
INSERT INTO "CephStorageGeneral_transfers" VALUES('id-4','token-4','fetch','alice___photos','c.txt','{"url":"http://origin.example/4","content_type":null,"md5":null,"timetag":null,"precondition":{"if_absent":false,"if_match":null},"mirror_host":null,"target":null,"seen_generation":0,"drop_cookies":false,"rewrite_links":null}','finger-4','success','ended',1004.0,1004.0,1004.0,14,14,0,1004.0,NULL,NULL,NULL,1,0.0,1100.0,NULL,'{"size":14,"md5":"0000000000000000000000000000000e","content_type":"text/plain","ts":5.5,"public":{"etag":"\"4\"","last_modified":"Thu, 01 Jan 1970 00:00:05 GMT"},"store_version":"id-4.1","source":"http://origin.example/4","origin":null}');
INSERT INTO "CephStorageGeneral_transfers" VALUES('id-5','token-5','fetch','bob___mirrored','dists/a','{"url":"http://origin.example/5","content_type":null,"md5":null,"timetag":null,"precondition":{"if_absent":false,"if_match":null},"mirror_host":null,"target":null,"seen_generation":0,"drop_cookies":false,"rewrite_links":null}','finger-5','success','ended',1005.0,1005.0,1005.0,15,15,0,1005.0,NULL,NULL,NULL,1,0.0,1100.0,NULL,'{"size":15,"md5":"0000000000000000000000000000000f","content_type":"text/plain","ts":5.5,"public":{"etag":"\"5\"","last_modified":"Thu, 01 Jan 1970 00:00:05 GMT"},"store_version":"id-5.1","source":"http://origin.example/5","origin":{"target":"/a?b","headers":[["X-A","1"],["X-\u00dc","2"]],"validators":{"etag":"W/\"o\"","last_modified":null},"date":"Thu, 01 Jan 1970 00:00:09 GMT"}}');
INSERT INTO "CephStorageGeneral_transfers" VALUES('id-q','token-q','fetch','alice___photos','queued','{"url":"http://origin.example/q","content_type":null,"md5":"00000000000000000000000000000000","timetag":7.0,"precondition":{"if_absent":false,"if_match":null},"mirror_host":null,"target":null,"seen_generation":0,"drop_cookies":false,"rewrite_links":null}','finger-q','inprogress','queued',1020.0,1020.0,NULL,0,NULL,0,1020.0,NULL,NULL,NULL,0,0.0,1020.0,NULL,NULL);
INSERT INTO "CephStorageGeneral_transfers" VALUES('id-f','token-f','fetch','alice___photos','failed','{"url":"http://origin.example/f","content_type":null,"md5":null,"timetag":null,"precondition":{"if_absent":false,"if_match":null},"mirror_host":null,"target":null,"seen_generation":0,"drop_cookies":false,"rewrite_links":null}','finger-f','fail','ended',1001.0,1030.0,1030.0,0,NULL,0,1001.0,'origin_timeout','The origin was silent.',NULL,2,0.0,1100.0,NULL,NULL);
INSERT INTO "CephStorageGeneral_transfers" VALUES('id-fill','token-fill','fill','bob___mirrored','dists/b','{"url":"http://origin.example/b","content_type":null,"md5":null,"timetag":null,"precondition":{"if_absent":false,"if_match":null},"mirror_host":"pypi.example","target":"/dists/b","seen_generation":0,"drop_cookies":false,"rewrite_links":null}',NULL,'inprogress','fetching',1040.0,1040.0,NULL,0,NULL,0,1040.0,NULL,NULL,'owner-2',1,1100.0,1100.0,NULL,NULL);
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
INSERT INTO "CephStorageIndex_keys" VALUES('alice___photos','a/b/c.txt',X'610062',5.5,'0000000000000000000000000000000a','text/plain',10,1,'"0"','Thu, 01 Jan 1970 00:00:05 GMT','id-0.1','http://origin.example/0',1000.0,NULL);
INSERT INTO "CephStorageIndex_keys" VALUES('alice___photos','c.txt',X'',5.5,'0000000000000000000000000000000e','text/plain',14,2,'"4"','Thu, 01 Jan 1970 00:00:05 GMT','id-4.1','http://origin.example/4',1004.0,NULL);
INSERT INTO "CephStorageIndex_keys" VALUES('alice___photos','ключ/ü''"
',X'D0BAD0BBD18ED187',5.5,'0000000000000000000000000000000c','text/plain',12,1,'"2"','Thu, 01 Jan 1970 00:00:05 GMT','id-2.1','http://origin.example/2',1002.0,NULL);
INSERT INTO "CephStorageIndex_keys" VALUES('bob___mirrored','dists/a',X'6469737473',5.5,'0000000000000000000000000000000f','text/plain',15,1,'"5"','Thu, 01 Jan 1970 00:00:05 GMT','id-5.1','http://origin.example/5',1005.0,'{"target":"/a?b","headers":[["X-A","1"],["X-\u00dc","2"]],"validators":{"etag":"W/\"o\"","last_modified":null},"date":"Thu, 01 Jan 1970 00:00:09 GMT"}');
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('CephStorageGeneral_removals',2);
COMMIT;
