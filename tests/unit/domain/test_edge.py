"""What proxy and edge agree on."""

from cephstorage.domain import edge


def test_the_slices_of_an_object_cover_it_once() -> None:
    assert list(edge.purge_ranges(10, 4)) == ["bytes=0-3", "bytes=4-7", "bytes=8-11"]
    assert list(edge.purge_ranges(8, 4)) == ["bytes=0-3", "bytes=4-7"]


def test_an_empty_object_is_kept_under_its_first_slice() -> None:
    assert list(edge.purge_ranges(0, 4)) == ["bytes=0-3"]


def test_lines_under_one_name_are_joined() -> None:
    headers = [("Link", "<a>"), ("Vary", "Accept"), ("link", "<b>")]
    assert edge.carried(headers) == [("link", "<a>, <b>"), ("vary", "Accept")]


def test_a_header_that_nginx_was_not_told_of_is_not_carried() -> None:
    assert edge.carried([("Link", "<a>"), ("X-Something-Else", "1")]) is None


def test_the_lists_hold_lower_case_names_once() -> None:
    names = [*edge.CARRIED_HEADERS, *edge.OWN_HEADERS]
    assert names == [name.lower() for name in names]
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith(edge.INTERNAL_PREFIX)]
