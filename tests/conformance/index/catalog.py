"""What tables a database really has, in words that can be compared: columns, indexes, constraints, partitions."""

import re
from pathlib import Path
from typing import Any

import psycopg
import pysqlite3.dbapi2 as sqlite

ALEMBIC = "alembic_version"


def of_sqlite(file: Path) -> set[tuple[Any, ...]]:
    """The catalog of a SQLite database, as SQLite itself tells it."""
    connection = sqlite.connect(str(file))
    try:
        tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        found: set[tuple[Any, ...]] = set()
        for name, sql in tables:
            found |= {(name, "column", *row[1:]) for row in connection.execute(f'PRAGMA table_xinfo("{name}")')}
            found |= {(name, "reference", *row[2:]) for row in connection.execute(f'PRAGMA foreign_key_list("{name}")')}
            checks = re.findall(r"CHECK \(.*\)|AUTOINCREMENT", sql)
            found |= {(name, "check", check) for check in checks}
        indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        found |= {(name, "index", " ".join(sql.split())) for name, sql in indexes}
        return {item for item in found if ALEMBIC not in item[0]}
    finally:
        connection.close()


_POSTGRES = """
SELECT n.nspname, c.relname, 'column', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
       coalesce(o.collname, ''), coalesce(pg_get_expr(d.adbin, d.adrelid), '')
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_collation o ON o.oid = a.attcollation
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE n.nspname LIKE 'CephStorage%' AND a.attnum > 0 AND c.relkind IN ('r', 'p', 'S')
UNION ALL
SELECT schemaname, tablename, 'index', indexname, indexdef, '', '', '' FROM pg_indexes WHERE schemaname LIKE 'CephStorage%'
UNION ALL
SELECT n.nspname, c.relname, 'constraint', k.conname, pg_get_constraintdef(k.oid), '', '', ''
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname LIKE 'CephStorage%'
UNION ALL
SELECT n.nspname, c.relname, 'partition', coalesce(pg_get_expr(c.relpartbound, c.oid), ''),
       coalesce(pg_get_partkeydef(c.oid), ''), '', '', ''
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname LIKE 'CephStorage%' AND c.relkind IN ('r', 'p')
"""


def of_postgres(url: str) -> set[tuple[Any, ...]]:
    """The catalog of a PostgreSQL database, without Alembic's own table."""
    with psycopg.connect(url) as connection:
        return {row for row in connection.execute(_POSTGRES) if row[1] != ALEMBIC}
