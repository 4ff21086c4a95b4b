"""What is asked of an index of trigrams lets every name through that is looked for, and leaves out what most names have."""

from hypothesis import given
from hypothesis import strategies as st

from cephstorage.index.names import Names
from cephstorage.index.rarity import frequent_trigrams, rare_parts

SAMPLE = [f"pool/lib{number:06}/Lib{number:06}_1.{number % 8}_amd64.deb" for number in range(7, 100_000, 997)]
TEXT = st.text(st.sampled_from("abAB01é/_-"), max_size=12)


def test_what_most_names_have_is_left_out() -> None:
    frequent = frequent_trigrams(SAMPLE)
    assert {"lib", "deb", "amd", "/li", "_1."} <= frequent
    for text, expected in {
        "/lib054321_1.": ("054321",),
        "/LIB054321_1.": ("054321",),
        "xlibx": ("xli", "ibx"),
        "lib": (),
        ".deb": (),
        "7_8_9/a": (),
        "zebra": ("zebra",),
    }.items():
        assert rare_parts(Names((text,)), frequent).texts == expected
    assert rare_parts(Names(("", "lib054321", "zebra.deb")), frequent).texts == ("054321", "zebra")


def test_a_trigram_of_one_name_in_25_is_rare_and_of_more_is_not() -> None:
    sample = ["zebra"] * 4 + ["horse"] * 96
    assert "zeb" not in frequent_trigrams(sample)
    assert "zeb" in frequent_trigrams([*sample[1:], "ZEBRAZEBRA", "zebra"])
    assert "zeb" not in frequent_trigrams(["zebra/zebra", *sample[1:]]), "it counts once for a name"


@given(st.lists(TEXT, max_size=3), st.lists(TEXT, max_size=30))
def test_parts_stand_in_the_texts_and_are_the_longest(texts: list[str], sample: list[str]) -> None:
    frequent = frequent_trigrams(sample)
    parts = rare_parts(Names(tuple(texts)), frequent).texts
    trigrams = [[text[start : start + 3] for start in range(len(text) - 2)] for text in texts]
    rare = {each for text in trigrams for each in text if each.isascii() and each.isalnum()}
    rare -= {each for each in rare if sum(each.lower() in name.lower() for name in sample) > len(sample) // 25}
    assert all(len(part) >= 3 and any(part in text for text in texts) for part in parts)
    assert {part[start : start + 3] for part in parts for start in range(len(part) - 2)} == rare
