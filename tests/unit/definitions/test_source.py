"""YAML files with lines, placeholders and replaced values."""

import doctest

import pytest

from opslib.definitions import source
from opslib.definitions.source import read_replacements, read_source, replace_values
from opslib.errors import DefinitionError


def written(tmp_path, text):
    path = tmp_path / "deployment.yml"
    path.write_text(text)
    return path


def test_examples_in_docstrings_hold():
    """What a docstring shows is what happens."""
    result = doctest.testmod(source)
    assert result.attempted > 0
    assert result.failed == 0


def test_each_field_has_its_line(tmp_path):
    """Nested fields and list entries have a line; what is absent has the line of what is around it."""
    read = read_source(written(tmp_path, "name: a\n\nrequest_settings:\n  request_timeout_ms: 5\nlist:\n- x: 1\n"))
    assert read.line("name") == 1
    assert read.line("request_settings.request_timeout_ms") == 4
    assert read.line("request_settings.max_queue_wait_ms") == 3
    assert read.line("list[0].x") == 6
    assert read.line("model") == 1
    assert read.get("request_settings.request_timeout_ms") == 5
    assert read.get("request_settings.other") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "is not YAML: line 1"),
        ("just words", "expected a mapping"),
        ("", "expected a mapping"),
        ("name: a\nname: b\n", ":2: name is given twice, first in line 1"),
        ("tags:\n  a: x\n  a: y\n", ":3: tags.a is given twice, first in line 2"),
        (
            "name: {{NAME}}\n",
            ":1: name holds the placeholder {{NAME}}. Fill in the template, or pass set with name=...",
        ),
        ("model: azureml:m:{{ VERSION }}\nname: {{NAME}}\n", r"{{VERSION}} (1 more)"),
        ("tags:\n  a: x\n  until: 2026-02-30\n", "line 3, column 10: 2026-02-30: day is out of range for month"),
        ("tags:\n  a: x\nlist:\n- {{X}}\n", "holds the placeholder {{X}}"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(tmp_path, text, message):
    """The message names file, line and field."""
    with pytest.raises(DefinitionError) as error:
        read_source(written(tmp_path, text))
    assert message in str(error.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    """The message names it."""
    with pytest.raises(DefinitionError, match=r"none\.yml' cannot be read: No such file"):
        read_source(tmp_path / "none.yml")


def test_a_placeholder_that_is_replaced_is_filled_in(tmp_path):
    """A comment may hold one; a replaced field no longer does."""
    path = written(tmp_path, "# fill in {{NAME}}\nname: {{NAME}}\nmodel: m\n")
    read = read_source(path, {"name": "green"})
    assert read.content == {"name": "green", "model": "m"}
    assert read.replaced == ("name",)


def test_replaced_values_reach_into_mappings_and_lists():
    """As az does: fields are added, entries replaced, the original is left alone."""
    content = {"model": "a", "list": [{"x": 1}]}
    replaced = replace_values(content, {"model.path": "m", "list[0].x": 2, "tags.v": "3"})
    assert replaced == {"model": {"path": "m"}, "list": [{"x": 2}], "tags": {"v": "3"}}
    assert content == {"model": "a", "list": [{"x": 1}]}


@pytest.mark.parametrize(
    ("replacements", "message"),
    [({"list[1]": 1}, "no entry 1"), ({"name[0]": 1}, "no entry 0"), ({"list.x": 1}, "nothing to be set in")],
)
def test_a_place_that_is_not_there_is_refused(replacements, message):
    """Nothing is set silently elsewhere."""
    with pytest.raises(DefinitionError, match=message):
        replace_values({"name": "a", "list": [1]}, replacements)


@pytest.mark.parametrize("pair", ["model", "=x", "a b=1", "a..b=1", "a=["])
def test_a_pair_that_is_none_is_refused(pair):
    """The message shows an example, or what is wrong with the value."""
    with pytest.raises(DefinitionError, match=r"set takes name=value|is not YAML"):
        read_replacements([pair])
