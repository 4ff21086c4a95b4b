"""The stored order of folders."""

from hypothesis import given
from hypothesis import strategies as st

from cephstorage.index.folders import after, below, folder_path, folder_sort_key

PATH = st.text(st.sampled_from("/a-.0\x01é\U0010ffff"), max_size=8)


@given(PATH)
def test_a_path_reads_back(path: str) -> None:
    assert folder_path(folder_sort_key(path)) == path


@given(PATH.filter(bool), PATH)
def test_a_subtree_stands_together(folder: str, other: str) -> None:
    inside = other == folder or other.startswith(f"{folder}/")
    assert (folder_sort_key(folder) <= folder_sort_key(other) < after(folder)) is inside


@given(PATH, PATH)
def test_below_is_everything_inside_and_nothing_else(folder: str, other: str) -> None:
    low, high = below(folder)
    inside = other.startswith(f"{folder}/") if folder else bool(other)
    assert (low <= folder_sort_key(other) < high) is inside
