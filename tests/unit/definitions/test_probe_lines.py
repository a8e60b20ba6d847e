"""Probes and validation sets: what a line may hold, and when an answer is the expected one."""

import json

import pytest

from opslib.definitions.probes import parse_probe, read_probes, read_validation_set
from opslib.definitions.tolerance import DEFAULT, Limits, Tolerance, differences, matches
from opslib.errors import DefinitionError

ANSWER = {"score": 0.8, "label": "fraud", "reasons": [{"weight": 100.0}, {"weight": 3.0}], "took_ms": 12}


@pytest.mark.parametrize(
    ("change", "tolerance", "expected"),
    [
        ({}, DEFAULT, []),
        ({"score": 0.8000001}, DEFAULT, []),
        ({"score": 0.81}, DEFAULT, ["score is 0.81, expected 0.8"]),
        ({"score": 0.81}, Tolerance(absolute=0.02), []),
        ({"score": 0.83}, Tolerance(absolute=0.02), ["score is 0.83, expected 0.8"]),
        ({"score": 0.83}, Tolerance(relative=0.05), []),
        ({"score": 0.83}, Tolerance(fields={"score": Limits(absolute=0.05)}), []),
        ({"score": 0.83}, Tolerance(fields={"reasons": Limits(absolute=9)}), ["score is 0.83, expected 0.8"]),
        ({"reasons": [{"weight": 101}, {"weight": 3}]}, Tolerance(fields={"reasons": Limits(absolute=2)}), []),
        (
            {"reasons": [{"weight": 101}, {"weight": 3}]},
            Tolerance(absolute=2, fields={"reasons.weight": Limits(absolute=0.5)}),
            ["reasons.weight is 101, expected 100.0"],
        ),
        ({"reasons": []}, Tolerance(absolute=9), ["reasons has 0 entries, expected 2"]),
        ({"label": "good"}, Tolerance(absolute=9), ['label is "good", expected "fraud"']),
        ({"label": None}, DEFAULT, ['label is null, expected "fraud"']),
        ({"took_ms": 99}, DEFAULT, ["took_ms is 99, expected 12"]),
        ({"took_ms": 99}, Tolerance(ignore=("took_ms",)), []),
        ({"trace": "x"}, DEFAULT, ['trace is "x", which is not expected']),
        ({"trace": "x"}, Tolerance(ignore=("trace",)), []),
        ({"score": True}, Tolerance(absolute=9), ["score is true, expected 0.8"]),
        ({"score": float("nan")}, Tolerance(absolute=9), ["score is NaN, expected 0.8"]),
    ],
)
def test_an_answer_may_differ_by_its_tolerance_and_no_more(change, tolerance, expected):
    """Each field is compared by the limits of the longest name that covers it; text and booleans exactly."""
    assert list(differences(ANSWER | change, ANSWER, tolerance)) == expected
    assert matches(ANSWER | change, ANSWER, tolerance) is not expected


def test_a_missing_field_is_a_difference():
    """Whatever the tolerance."""
    assert list(differences({}, {"a": 1}, Tolerance(absolute=9))) == ["a is missing, expected 1"]
    assert matches({}, {"a": 1}, Tolerance(ignore=("a",)))


def test_whole_numbers_are_the_same_or_within_a_limit_that_was_given():
    """An id that is one off is another id, though it differs by less than a part in a million."""
    assert not matches({"item": 10_000_001}, {"item": 10_000_002})
    assert not matches({"item": 10_000_001}, {"item": 10_000_002}, Tolerance(ignore=("took_ms",)))
    assert matches({"item": 10_000_001.0}, {"item": 10_000_002})
    assert matches({"item": 10_000_001}, {"item": 10_000_002}, Tolerance(absolute=1))
    assert matches({"item": 10_000_001}, {"item": 10_000_002}, Tolerance(fields={"item": Limits(relative=0.01)}))


def test_a_text_may_hold_what_unicode_calls_the_end_of_a_line(tmp_path):
    """U+2028 and U+0085 are characters of a JSON text; a line feed ends a line, also after a carriage return."""
    path = tmp_path / "probes.jsonl"
    path.write_bytes('{"request": "a\u2028b"}\r\n\r\n{"request": "c\u0085d"}\n'.encode())
    assert [probe.request for probe in read_probes(str(path))] == ["a\u2028b", "c\u0085d"]


def test_a_line_may_have_a_tolerance():
    """The same format for probes and validation sets."""
    line = {"request": [1], "answer": {"a": 1}, "tolerance": {"fields": {"a": {"relative": 0.1}}, "ignore": ["b"]}}
    probe = parse_probe(json.dumps(line))
    assert probe.tolerance.limits("a").relative == 0.1
    assert parse_probe('{"request": [1]}').tolerance == DEFAULT


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"request": 1, "tolerance": {"absolute": 1}}, '"tolerance" needs an "answer"'),
        ({"request": 1, "answer": 1, "tolerance": {"absolut": 1}}, "tolerance.absolut: extra inputs"),
        ({"request": 1, "answer": 1, "tolerance": {"absolute": -1}}, "tolerance.absolute: input should be greater"),
        ({"request": 1, "answer": 1, "tolerance": {"fields": {"a": {"x": 1}}}}, "tolerance.fields.a.x: extra"),
        ({"requests": 1}, 'expected an object with "request"'),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path, line, message):
    """File, line, field, and what was expected."""
    path = tmp_path / "probes.jsonl"
    path.write_text('\n{"request": 1}\n' + json.dumps(line))
    with pytest.raises(DefinitionError) as error:
        read_probes(str(path))
    assert str(error.value).startswith(f"{path}, line 3: {message}")


def test_a_validation_set_needs_an_answer_for_each_request(tmp_path):
    """A request without one would pass whatever the version answers."""
    path = tmp_path / "set.jsonl"
    path.write_text('{"request": 1, "answer": 2}\n\n{"request": 3, "answer": 4}\n')
    assert [(line, probe.answer) for line, probe in read_validation_set(str(path))] == [(1, 2), (3, 4)]
    path.write_text('{"request": 1, "answer": 2}\n{"request": 3}\n')
    with pytest.raises(DefinitionError, match=r"line 2: no expected answer \(1 of 2 requests\)"):
        read_validation_set(str(path))
