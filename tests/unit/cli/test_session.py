"""Where a command finds its service and its token, and where the token may go."""

from pathlib import Path

import pytest

from cephstorage.cli.exits import UsageMistake
from cephstorage.cli.session import Session


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CEPHSTORAGE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CEPHSTORAGE_PORT", "18080")
    (tmp_path / "admin-token").write_text("secret\n")
    return tmp_path


def authorization(session: Session) -> str | None:
    with session.connect() as client:
        return client._authorization.get("Authorization")


def test_address_and_token_come_from_the_settings(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEPHSTORAGE_PUBLIC_ADDRESS", "https://files.example")
    assert Session().address == "http://127.0.0.1:18080"
    assert authorization(Session()) == "Bearer secret"
    assert authorization(Session(url="http://127.0.0.1:1")) == "Bearer secret"


def test_the_admin_token_never_goes_to_another_machine(data_dir: Path) -> None:
    assert authorization(Session(url="http://files.example")) is None
    assert authorization(Session(url="http://127.0.0.1@files.example")) is None
    assert authorization(Session(url="http://files.example", token="mine")) == "Bearer mine"


def test_no_token_file_is_no_token(data_dir: Path) -> None:
    (data_dir / "admin-token").unlink()
    assert authorization(Session()) is None


def test_a_free_port_has_no_address(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEPHSTORAGE_PORT", "0")
    with pytest.raises(UsageMistake):
        _ = Session().address


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEPHSTORAGE_TRANSFER_SPOOL_QUOTA", "much")
    with pytest.raises(UsageMistake, match="CEPHSTORAGE_TRANSFER_SPOOL_QUOTA"):
        _ = Session().settings
