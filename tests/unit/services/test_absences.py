"""What is remembered of absent targets is bounded in number, bytes and time."""

from dataclasses import replace

from cephstorage.domain.absences import LARGEST_BODY, Absence
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.names import BucketName
from cephstorage.services.absences import MOST, MOST_BYTES, Absences

NOW = [1000.0]


HERE, THERE = (Mirror(host, BucketName("a", "b"), "http://o.test", created_at=1.0) for host in ("a.test", "b.test"))


class Settings:
    """What all processes share."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def get(self, name: str) -> str | None:
        return self.values.get(name)

    async def put(self, name: str, value: str) -> str:
        self.values[name] = value
        return value


def remembering(settings: Settings | None = None) -> Absences:
    NOW[0] = 1000.0
    return Absences(settings or Settings(), lambda: NOW[0])  # type: ignore[arg-type]


def absence(body: bytes = b"", until: float = 2000.0) -> Absence:
    return Absence(404, (), body, 1000.0, until)


def test_an_absence_ends() -> None:
    known = remembering()
    known.remember(HERE, "/x", absence(until=1010.0))
    assert known.find(HERE, "/x") == absence(until=1010.0)
    assert known.find(THERE, "/x") is None
    assert known.find(HERE, "/y") is None
    NOW[0] = 1010.0
    assert known.find(HERE, "/x") is None


def test_the_oldest_are_forgotten_first() -> None:
    known = remembering()
    for number in range(MOST + 2):
        known.remember(HERE, f"/{number}", absence())
    assert [known.find(HERE, f"/{number}") is None for number in (0, 1, 2, MOST + 1)] == [True, True, False, False]


def test_bytes_are_bounded() -> None:
    known = remembering()
    body = b"x" * LARGEST_BODY
    fitting = MOST_BYTES // LARGEST_BODY
    for number in range(fitting + 1):
        known.remember(HERE, f"/{number}", absence(body))
        known.remember(HERE, f"/{number}", absence(body))
    assert [known.find(HERE, f"/{number}") is None for number in (0, 1, fitting)] == [True, False, False]
    known.remember(HERE, "/large", absence(body + b"x"))
    assert known.find(HERE, "/large") is None


def test_a_mirror_that_was_replaced_has_nothing() -> None:
    known = remembering()
    known.remember(HERE, "/x", absence())
    assert known.find(replace(HERE, created_at=2.0), "/x") is None


async def test_a_purge_makes_every_process_forget_once() -> None:
    settings = Settings()
    here, there = remembering(settings), remembering(settings)
    for known in (here, there):
        known.remember(HERE, "/x", absence())
        await known.refresh()
        assert known.find(HERE, "/x")
    await here.forget_everywhere()
    assert here.find(HERE, "/x") is None
    await there.refresh()
    assert there.find(HERE, "/x") is None
    for known in (here, there):
        known.remember(HERE, "/x", absence())
        await known.refresh()
        assert known.find(HERE, "/x")
