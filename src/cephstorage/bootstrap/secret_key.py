"""The key that seals secrets in the database: from the environment, else made once in the data folder.

Several machines share one database, so there the operator gives one key to all. Keys of the file still open
what they sealed, so that moving from the file to the environment needs nothing but the variable.
"""

import secrets

from cephstorage.bootstrap.adapters import make_index
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.errors import SecretKeyWrong
from cephstorage.files import create_once, make_private_directory
from cephstorage.index import SqlIndex
from cephstorage.services.sealing import Seal, SealedSettings


def sealed_settings(settings: Settings, index: SqlIndex) -> SealedSettings:
    """The secrets in the database. Raises SecretKeyWrong when the file of the key is empty."""
    return SealedSettings(index.settings, seal_of(settings))


async def forget_unopened(settings: Settings) -> list[str]:
    """Remove the secrets that the key of this machine does not open; their names. Raises DatabaseUnavailable."""
    index = make_index(settings)
    try:
        await index.open()
        return await sealed_settings(settings, index).forget_sealed()
    finally:
        await index.close()


def seal_of(settings: Settings) -> Seal:
    """The seal of this process; a first start without a key in the environment makes one (mode 0600)."""
    keys, file = known_keys(settings), settings.secret_key_file
    if not keys and not file.exists():
        make_private_directory(settings.data_dir)
        keys = _lines(create_once(file, f"{secrets.token_hex(32)}\n".encode()))
    if not keys:
        raise SecretKeyWrong(f"{file} is empty: put it back from its backup, or remove it and have a new key made.")
    return Seal(keys)


def known_keys(settings: Settings) -> list[str]:
    """The keys of the environment, then those of the file: the first seals, all of them open."""
    file = settings.secret_key_file
    return [*settings.secret_keys, *(_lines(file.read_bytes()) if file.exists() else [])]


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", "replace").split()
