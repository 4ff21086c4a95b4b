"""The options in force, as the environment and the database give them, and the key that opens the secret ones."""

import stat
from pathlib import Path

from cephstorage.bootstrap.doctor.database import Kept
from cephstorage.bootstrap.doctor.finding import Finding
from cephstorage.bootstrap.secret_key import known_keys
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.configuration import Values, check_together
from cephstorage.domain.errors import CephStorageError, InvalidSetting, SecretKeyWrong
from cephstorage.services.configuration import merged, stored_options
from cephstorage.services.sealing import Seal


def examine_options(settings: Settings, kept: Kept) -> tuple[list[Finding], Values]:
    """The findings, and the values in force as far as they can be read."""
    given, keys = settings.given_options(), known_keys(settings)
    try:
        stored = stored_options(kept, given, Seal(keys).open if keys else _no_key)
    except CephStorageError as error:
        advice = "Set it anew with 'cephstorage config set', or see the secret key."
        return [Finding("options", False, error.msg, advice)], merged({}, given)
    values = merged(stored, given)
    try:
        check_together(values, on_ceph=settings.store == "ceph")
    except InvalidSetting as error:
        advice = "Change one of them: 'cephstorage config set', or the environment; until then the edge answers."
        return [Finding("options", False, error.msg, advice)], values
    detail = f"{len(given)} from the environment, {len(stored)} from the database"
    return [Finding("options", True, detail)], values


def _no_key(name: str, kept: str) -> str:
    if Seal.is_sealed(kept):
        raise SecretKeyWrong(f"The setting {name} is sealed in the database, and there is no key to open it.")
    return kept


def in_force(settings: Settings, values: Values) -> Settings:
    """The settings with the folder of part files that is in force."""
    path = values["download_path"]
    return settings.model_copy(update={"download_path": Path(path) if path else None})


def examine_secret_key(settings: Settings, kept: Kept) -> Finding:
    """Whether there is a key, whether it is ours alone, and whether it opens what is sealed."""
    name, file, keys = "secret key", settings.secret_key_file, known_keys(settings)
    sealed = [setting for setting, value in kept.items() if Seal.is_sealed(value)]
    if not keys:
        if sealed or file.exists():
            advice = "Put it back from its backup, or set CEPHSTORAGE_SECRET_KEY."
            return Finding(name, False, f"{file} is missing or empty, and {len(sealed)} settings are sealed", advice)
        return Finding(name, True, "not there yet; the first start makes it")
    if file.exists() and (mode := stat.S_IMODE(file.stat().st_mode)) & 0o077:
        return Finding(name, False, f"{file} has mode {mode:04o}: others may read it", f"chmod 600 {file}")
    try:
        for setting in sealed:
            Seal(keys).open(setting, kept[setting])
    except SecretKeyWrong as error:
        return Finding(name, False, error.msg, "Set CEPHSTORAGE_SECRET_KEY to the key that sealed it.")
    if settings.secret_keys:
        return Finding(name, True, f"from the environment, opens {len(sealed)} of {len(sealed)} secrets")
    shared = bool(settings.database_url.get_secret_value())
    advice = "Other machines on this database need the same key: set CEPHSTORAGE_SECRET_KEY." if shared else ""
    return Finding(name, True, f"{file}, opens {len(sealed)} of {len(sealed)} secrets", advice)
