"""Where things stand in a file."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neto.errors import InputError
from neto.settings.toml import read_toml, spell

TEXT = '''# comment
top = 1
text = """
[not_a_table]
key = "not a key"
"""
many = [
  # class = 3
  "a]",
  "b",
]

[section]
inner = { a = 1 }
[[row]]
name = "x"   # first
[[row]]
name = "y"
[[row.deep]]
value = 1
[row.more]
v = 2
'''


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("location", "line"),
    [
        (("top",), 2),
        (("text",), 3),
        (("many",), 7),
        (("section",), 13),
        (("section", "inner"), 14),
        (("section", "inner", "a"), 14),
        (("row", 0), 15),
        (("row", 0, "name"), 16),
        (("row", 1, "name"), 18),
        (("row", 1, "deep", 0, "value"), 20),
        (("row", 1, "more", "v"), 22),
        (("row", 1, "absent"), 17),
        (("absent",), 0),
    ],
)
def test_each_key_has_its_line(tmp_path, location, line):
    assert read_toml(write(tmp_path, TEXT)).line(location) == line


def test_nothing_inside_a_string_or_an_array_counts_as_a_key(tmp_path):
    lines = read_toml(write(tmp_path, TEXT)).lines
    assert ("not_a_table",) not in lines
    assert ("key",) not in lines
    assert ("class",) not in lines


@given(
    keys=st.lists(st.text("abc_", min_size=1, max_size=3), unique=True, max_size=6),
    values=st.lists(st.sampled_from(["1", '"x # ="', "[\n1,\n2]", '"""\na = 1\n"""', "'''[[b]]'''"]), min_size=6),
)
def test_every_top_level_key_is_found_where_it_was_written(tmp_path_factory, keys, values):
    text, expected = "", {}
    for key, value in zip(keys, values, strict=False):
        expected[key,] = text.count("\n") + 1
        text += f"{key} = {value}\n"
    tomllib.loads(text)
    assert read_toml(write(tmp_path_factory.mktemp("t"), text)).lines == expected


def test_a_syntax_error_names_its_line(tmp_path):
    with pytest.raises(InputError) as caught:
        read_toml(write(tmp_path, "a = 1\nb = = 2\n"))
    assert caught.value.problems[0].line == 2


def test_bytes_that_are_not_text_name_their_line(tmp_path):
    path = tmp_path / "f.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(InputError) as caught:
        read_toml(path)
    assert caught.value.problems[0].line == 2


def test_a_file_that_is_not_there_is_a_problem_not_a_crash(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_toml(tmp_path / "absent.toml")


def test_rows_are_counted_from_one_for_people():
    assert spell(("class", 0, "dscp")) == "class[1].dscp"
