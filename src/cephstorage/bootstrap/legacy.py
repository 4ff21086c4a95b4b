"""``cephstorage import-legacy``: the original's export taken over, by the settings of this machine."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from cephstorage.bootstrap.adapters import make_index
from cephstorage.bootstrap.database import open_patiently
from cephstorage.bootstrap.reindex import store_in_force
from cephstorage.bootstrap.secret_key import known_keys, seal_of
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.errors import StoreMisconfigured
from cephstorage.domain.legacy import bucket_of_file
from cephstorage.domain.names import BucketName
from cephstorage.index import SqlIndex
from cephstorage.ports.store import Store
from cephstorage.services.buckets import Buckets
from cephstorage.services.legacy.findings import Finding, Line, Told, Wishes
from cephstorage.services.legacy.keys import KeyImport
from cephstorage.services.legacy.run import LONGEST_LINE, LegacyImport, Target
from cephstorage.services.legacy.settings import SettingsImport
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.origins import OriginSecrets
from cephstorage.services.rehash import Rehash
from cephstorage.services.sealing import Seal, SealedSettings

STANDARD_INPUT = "-"


async def import_legacy(
    settings: Settings,
    lines: Iterable[Line],
    scanned: Sequence[BucketName],
    wishes: Wishes,
    tell: Callable[[Finding], None],
) -> Told:
    """Import lines; what was found. Raises DatabaseUnavailable, StoreUnavailable, StoreMisconfigured, SecretKeyWrong."""
    if settings.store != "ceph":
        raise StoreMisconfigured(
            "The original's objects lie in Ceph: set CEPHSTORAGE_STORE=ceph before they are imported."
        )
    index, opened = make_index(settings), list[Store]()
    await open_patiently(index)
    try:
        told, seal = Told(tell), _seal(settings, wishes)
        options = SettingsImport(index.settings, seal, settings.given_options(), told, wishes.dry_run)

        async def target() -> Target:
            opened.append(await store_in_force(settings, index, options.taken))
            return await _target(
                settings, index, opened[-1], seal or Seal(["nothing is sealed in a dry run"]), wishes, told
            )

        await LegacyImport(target, options, wishes, told).run(lines, scanned)
        return told
    finally:
        for store in opened:
            await store.close()
        await index.close()


def _seal(settings: Settings, wishes: Wishes) -> Seal | None:
    """The seal of this machine. A dry run makes no key where there is none."""
    if not wishes.dry_run:
        return seal_of(settings)
    return Seal(keys) if (keys := known_keys(settings)) else None


async def _target(settings: Settings, index: SqlIndex, store: Store, seal: Seal, wishes: Wishes, told: Told) -> Target:
    buckets = Buckets(index.buckets, store, time.time)
    secrets = OriginSecrets(SealedSettings(index.settings, seal))
    mirrors = Mirrors(index.mirrors, buckets, secrets, settings.local_address, time.time)
    await mirrors.refresh()
    rehash = Rehash(index.keys, store)
    return Target(KeyImport(store, buckets, index.adoption, rehash, wishes, told), mirrors)


def files_of(paths: Iterable[str]) -> list[str]:
    """The exports among some paths: a folder stands for its ``.json`` and ``.jsonl`` files, settings first.

    Raises OSError.
    """
    found: list[str] = []
    for path in paths:
        if path == STANDARD_INPUT or not Path(path).is_dir():
            found.append(path)
            continue
        files = [file for file in Path(path).iterdir() if file.suffix in {".json", ".jsonl", ".ndjson"}]
        found += [str(file) for file in sorted(files, key=lambda file: ("onfig" not in file.name, file.name))]
    return found


def lines_of(files: Iterable[str], bucket: BucketName | None) -> Iterator[Line]:
    """The lines of exports, one at a time. ``bucket``: of those whose name says none. Raises OSError."""
    for file in files:
        if file == STANDARD_INPUT:
            yield from _lines(file, sys.stdin.buffer, bucket)
            continue
        with Path(file).open("rb") as stream:
            yield from _lines(file, stream, bucket_of_file(Path(file).name) or bucket)


def _lines(file: str, stream: BinaryIO, bucket: BucketName | None) -> Iterator[Line]:
    number = 0
    while text := stream.readline(LONGEST_LINE + 1):
        number += 1
        whole = text.endswith(b"\n") or len(text) <= LONGEST_LINE
        yield Line(file, number, text if whole else None, bucket)
        while not whole and (rest := stream.readline(LONGEST_LINE)):
            whole = rest.endswith(b"\n")
