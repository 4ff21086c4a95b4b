"""The names of a transfer: nobody guesses a token, and it can be typed anywhere."""

import string

from cephstorage.domain.names import BucketName
from cephstorage.domain.transfers import Kind, TransferRequest
from cephstorage.transfer.parts import new_transfer

REQUEST = TransferRequest(Kind.FETCH, BucketName("alice", "photos"), "cat.jpg", url="http://origin.example/cat.jpg")
DRAWS = 500


def test_a_token_has_256_random_bits_and_no_sign_that_a_shell_or_an_option_parser_reads() -> None:
    tokens = {new_transfer(REQUEST).token for _ in range(DRAWS)}
    assert len(tokens) == DRAWS
    assert all(len(token) == 64 and set(token) <= set(string.hexdigits.lower()) for token in tokens)


def test_the_id_tells_nothing_of_the_token() -> None:
    new = new_transfer(REQUEST)
    assert new.id not in new.token
    assert set(new.id) <= set(string.hexdigits.lower())
