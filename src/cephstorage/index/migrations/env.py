"""What Alembic runs: the revisions, on the connection and in the transaction of whoever asked for them."""

from alembic import context

_counters = context.config.attributes["counters"]
_prefix = "" if _counters.schema else "CephStorageConfiguration_"

context.configure(
    connection=context.config.attributes["connection"],
    version_table=f"{_prefix}alembic_version",
    version_table_schema=_counters.schema,
)
with context.begin_transaction():
    context.run_migrations()
