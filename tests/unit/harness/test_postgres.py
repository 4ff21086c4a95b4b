"""The PostgreSQL of the tests: it keeps data, port and password over stop and kill, and leaves nothing behind."""

from pathlib import Path

import psycopg
import pytest

from tests.harness.patience import until
from tests.harness.postgres import Postgres


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_data_survive_stop_and_kill_on_the_same_port(own_postgres: Postgres) -> None:
    url = own_postgres.fresh()
    rows(url, "CREATE TABLE kept (number int)")
    for number, end in enumerate((own_postgres.stop, own_postgres.kill)):
        rows(url, f"INSERT INTO kept VALUES ({number})")
        end()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        own_postgres.start()
    assert rows(url, "SELECT number FROM kept ORDER BY number") == [(0,), (1,)]


def test_a_kill_spares_no_process_of_the_server(own_postgres: Postgres) -> None:
    with psycopg.connect(own_postgres.fresh()) as session:
        backend = session.info.backend_pid
        own_postgres.kill()
        until(lambda: not Path(f"/proc/{backend}").exists())
    own_postgres.start()


def test_each_database_is_new_and_a_copy_of_its_template(postgres: Postgres) -> None:
    first = postgres.fresh()
    rows(first, "CREATE TABLE kept (number int)")
    copy, other = postgres.fresh(first.rpartition("/")[2]), postgres.fresh()
    assert rows(copy, "SELECT number FROM kept") == []
    with pytest.raises(psycopg.errors.UndefinedTable):
        rows(other, "SELECT number FROM kept")


def test_a_wrong_password_is_refused(postgres: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.url("postgres", "wrong"))


def test_closing_leaves_no_file(postgres: Postgres) -> None:
    own = Postgres()
    folder = own.log_file.parent
    assert folder.exists()
    own.close()
    assert not folder.exists()
