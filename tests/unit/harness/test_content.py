"""The harness's bodies are what the end-to-end tests trust: they must tell every misplacement."""

import hashlib

import pytest

from tests.harness.content import BLOCK, MIB, Content, pattern


def test_any_piece_equals_the_slice_of_the_whole() -> None:
    whole = pattern(7, 5 * BLOCK + 123)
    content = Content(7, len(whole))
    for start, end in ((0, 1), (BLOCK - 1, BLOCK + 1), (3, 4 * BLOCK + 5), (5 * BLOCK, 10**9), (9, 9)):
        assert content.read(start, end) == whole[start:end]


def test_a_longer_body_begins_with_the_shorter_one_and_seeds_differ() -> None:
    assert pattern(1, 2 * BLOCK)[: BLOCK + 1] == pattern(1, BLOCK + 1)
    assert pattern(1, BLOCK) != pattern(2, BLOCK)


def test_no_two_blocks_of_4_gib_begin_alike() -> None:
    content = Content(3, 65536 * BLOCK)
    assert len({content.read(number * BLOCK, number * BLOCK + 16) for number in range(65536)}) == 65536


@pytest.mark.parametrize("shift", [1, 8, 4096, BLOCK, BLOCK + 1, MIB, 2 * BLOCK - 0x9E3B])
def test_a_shifted_body_differs_nearly_everywhere(shift: int) -> None:
    content = Content(1, 4 * MIB)
    same = sum(
        content.read(at, at + 64) == content.read(at + shift, at + shift + 64) for at in range(0, 2 * MIB, BLOCK // 2)
    )
    assert same <= 1


def test_digests_are_those_of_the_bytes() -> None:
    content = Content(5, 3 * BLOCK + 1)
    assert content.md5 == hashlib.md5(content.read()).hexdigest()
    assert content.sha256 == hashlib.sha256(content.read()).hexdigest()
