"""An endpoint's folder as a whole, and the reports that people and CI systems read."""

import json
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import yaml

from opslib.cli.main import main
from opslib.definitions.rules import Severity
from opslib.errors import DefinitionError
from opslib.policy.folder import check_folder
from opslib.policy.policy import Policy
from opslib.policy.reports import REPORTS
from opslib.policy.schema import SCHEMA, schema

FILES = {
    "endpoint.yml": "name: fraud\nauth_mode: key\n",
    "policy.yml": "version: 1\nendpoint: fraud\nowner: {team: claims, contact: on-call}\n",
    "green.yml": (
        "name: green\nmodel: {path: model}\ncode_configuration: {code: code, scoring_script: score.py}\n"
        "environment: {image: 'x:1', conda_file: conda.yml}\ninstance_type: Standard_DS3_v2\n"
    ),
    "conda.yml": "dependencies: [python=3.11]\n",
    "probes.jsonl": '{"request": {"a": 1}, "answer": 2}\n\n{"request": 1}\n',
}


@pytest.fixture
def folder(tmp_path):
    """A folder in which nothing is wrong."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/score.py").write_text("")
    (tmp_path / "model").mkdir()
    return tmp_path


def spoil(folder):
    """Break each kind of file once."""
    (folder / "endpoint.yml").write_text("name: fraud\nauth_mode: open\n")
    (folder / "policy.yml").write_text("version: 1\nendpoint: fraud\nowner: {team: claims}\n")
    (folder / "green.yml").write_text(FILES["green.yml"] + "tags:\n  version: 3\nmodell: x\n")
    (folder / "blue.yml").write_text("name: blue\nmodel: azureml:m:{{VERSION}}\ninstance_type: Standard_DS3_v2\n")
    (folder / "probes.jsonl").write_text('{"request": 1}\n{"answer": 2}\n{\n')


def test_a_folder_in_order_has_no_results(folder):
    """Every file is named, the conda file is not taken for a deployment."""
    check = check_folder(folder)
    assert check.results == ()
    assert check.files == ("endpoint.yml", "policy.yml", "green.yml", "probes.jsonl")
    assert not check.failed


def test_each_file_that_is_wrong_is_named_with_its_line(folder):
    """The endpoint, the policy, both deployments, and the probes."""
    spoil(folder)
    found = {(one.file, one.line, one.rule) for one in check_folder(folder).results}
    assert found == {
        ("endpoint.yml", 2, "auth-mode"),
        ("policy.yml", 3, "policy"),
        ("green.yml", 7, "text"),
        ("green.yml", 8, "unknown-field"),
        ("blue.yml", 2, "readable"),
        ("probes.jsonl", 2, "probes"),
        ("probes.jsonl", 3, "probes"),
    }


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("policy.yml", FILES["policy.yml"].replace("fraud", "other"), "endpoint"),
        ("green.yml", FILES["green.yml"] + "endpoint_name: other\n", "endpoint"),
        ("endpoint.yml", "auth_mode: key\n", "name"),
        ("endpoint.yml", "name: fraud\ntags: {version: 3}\n", "text"),
        ("policy.yml", "version: [", "readable"),
    ],
)
def test_files_that_contradict_each_other_are_named(folder, name, content, rule):
    """One endpoint's folder is of one endpoint."""
    (folder / name).write_text(content)
    (result,) = check_folder(folder).results
    assert (result.file, result.rule, result.severity) == (name, rule, Severity.ERROR)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (None, [("policy.yml", 4, "validation", Severity.WARNING)]),
        ('{"request": 1}\n', [("policy.yml", 4, "validation", Severity.ERROR)]),
        ('{"request": 1, "answer": 2}\n', []),
    ],
)
def test_the_policys_validation_set_is_read(folder, lines, found):
    """A canary and a validation are refused without it; a pipeline may fetch it before them."""
    (folder / "policy.yml").write_text(FILES["policy.yml"] + "validation: {file: cases/claims.jsonl}\n")
    (folder / "cases").mkdir()
    if lines is not None:
        (folder / "cases/claims.jsonl").write_text(lines)
    results = check_folder(folder).results
    assert [(one.file, one.line, one.rule, one.severity) for one in results] == found


def test_what_unicode_calls_the_end_of_a_line_ends_no_probe(folder):
    """The check reads probes as the runbooks do."""
    (folder / "probes.jsonl").write_text('{"request": "a\u2028b"}\n', encoding="utf-8")
    assert check_folder(folder).results == ()


def test_a_folder_without_a_policy_is_warned_of(folder):
    """It works by the stated defaults."""
    (folder / "policy.yml").unlink()
    check = check_folder(folder)
    assert [one.severity for one in check.results] == [Severity.WARNING]
    assert not check.failed


def test_a_folder_that_is_no_endpoints_is_refused(tmp_path):
    """The message says what was expected in it."""
    with pytest.raises(DefinitionError, match=r"has no endpoint\.yml"):
        check_folder(tmp_path)
    with pytest.raises(DefinitionError, match="is not a folder"):
        check_folder(tmp_path / "none")


def test_text_reads_as_compilers_print(folder):
    """File, line, severity, reason, rule; a count at the end."""
    spoil(folder)
    text = REPORTS["text"](check_folder(folder))
    assert f"{folder}/green.yml:7: error: tags.version is 3; expected text in quotes [text]" in text
    assert text.endswith("5 files checked: 7 errors")


def test_json_holds_the_same(folder):
    """One object."""
    spoil(folder)
    content = json.loads(REPORTS["json"](check_folder(folder)))
    assert content["failed"] is True
    assert len(content["results"]) == 7
    assert content["results"][0]["file"] == "blue.yml"


def test_sarif_points_at_each_line(folder):
    """Version, tool, rules, and a location per result, as SARIF 2.1.0 wants them."""
    spoil(folder)
    log = json.loads(REPORTS["sarif"](check_folder(folder)))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in {"error", "warning", "note"}
        place = result["locations"][0]["physicalLocation"]
        assert place["region"]["startLine"] >= 1
        assert place["artifactLocation"]["uri"] in FILES.keys() | {"blue.yml"}


def test_sarif_names_files_from_the_root_of_the_repository(folder, monkeypatch):
    """Checked from the folder above, as a pipeline does."""
    spoil(folder)
    monkeypatch.chdir(folder.parent)
    (run,) = json.loads(REPORTS["sarif"](check_folder(folder)))["runs"]
    places = {one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in run["results"]}
    assert f"{folder.name}/green.yml" in places


SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "items": {"$ref": "#/$defs/run"}},
    },
    "additionalProperties": False,
    "$defs": {
        "text": {
            "type": "object",
            "required": ["text"],
            "properties": {"text": {"type": "string", "minLength": 1}},
        },
        "run": {
            "type": "object",
            "required": ["tool"],
            "properties": {
                "tool": {
                    "type": "object",
                    "required": ["driver"],
                    "properties": {"driver": {"$ref": "#/$defs/driver"}},
                },
                "originalUriBaseIds": {
                    "type": "object",
                    "additionalProperties": {"properties": {"uri": {"type": "string", "pattern": "^file:.*/$"}}},
                },
                "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
            },
            "additionalProperties": False,
        },
        "driver": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "rules": {
                    "type": "array",
                    "uniqueItems": True,
                    "items": {
                        "type": "object",
                        "required": ["id"],
                        "properties": {"id": {"type": "string"}, "shortDescription": {"$ref": "#/$defs/text"}},
                        "additionalProperties": False,
                    },
                },
            },
            "additionalProperties": False,
        },
        "result": {
            "type": "object",
            "required": ["message"],
            "properties": {
                "ruleId": {"type": "string"},
                "ruleIndex": {"type": "integer", "minimum": -1},
                "level": {"enum": ["none", "note", "warning", "error"]},
                "message": {"$ref": "#/$defs/text"},
                "locations": {"type": "array", "items": {"type": "object", "required": ["physicalLocation"]}},
            },
            "additionalProperties": False,
        },
    },
}
"""What SARIF 2.1.0 (OASIS, sections 3.13, 3.14, 3.19, 3.27, 3.49) requires of the objects that are used here."""


def test_sarif_has_the_shape_of_its_specification(folder):
    """With problems and without."""
    for _ in range(2):
        jsonschema.validate(json.loads(REPORTS["sarif"](check_folder(folder))), SARIF)
        spoil(folder)


def test_required_tags_are_checked(folder):
    """The policy requires tags of the endpoint and of each deployment: missing in one file, there in the other."""
    required = "tags: {endpoint: [team], deployment: [model_version]}\n"
    (folder / "policy.yml").write_text(FILES["policy.yml"] + required)
    (folder / "endpoint.yml").write_text(FILES["endpoint.yml"] + "tags: {team: claims}\n")
    (result,) = check_folder(folder).results
    assert (result.file, result.rule) == ("green.yml", "tags")
    assert result.reason == "tag model_version is missing; policy.yml requires it"
    (folder / "green.yml").write_text(FILES["green.yml"] + "tags: {model_version: v2}\n")
    assert check_folder(folder).results == ()


def test_lines_that_editors_read_are_no_problem(folder):
    """The official schema's URL as a field and as a comment; the policy's schema as a comment."""
    url = "https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json"
    head = f"# yaml-language-server: $schema={url}\n$schema: {url}\n"
    (folder / "green.yml").write_text(head + FILES["green.yml"])
    (folder / "policy.yml").write_text("# yaml-language-server: $schema=policy.schema.json\n" + FILES["policy.yml"])
    assert check_folder(folder).results == ()


@pytest.mark.parametrize("name", ["endpoint.yml", "policy.yml", "green.yml", "probes.jsonl"])
def test_a_file_in_another_encoding_is_named_with_what_to_do(folder, name):
    """An editor of Windows saves an umlaut as Latin-1."""
    (folder / name).write_bytes((folder / name).read_bytes() + "# für\n".encode("latin-1"))
    (result,) = [one for one in check_folder(folder).results if one.file == name]
    assert "UTF-8" in result.reason + result.fix


def test_junit_has_a_case_per_file(folder):
    """A file with errors is a failure; the others passed."""
    spoil(folder)
    suite = ET.fromstring(REPORTS["junit"](check_folder(folder)))  # noqa: S314 - our own
    assert suite.get("tests") == "5"
    assert suite.get("failures") == "5"
    (folder / "blue.yml").unlink()
    (folder / "endpoint.yml").write_text(FILES["endpoint.yml"])
    suite = ET.fromstring(REPORTS["junit"](check_folder(folder)))  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures")) == ("4", "3")


def test_the_command_exits_by_what_it_found(folder, capsys):
    """0 where nothing is wrong, 1 for an error; the report goes where it is wanted."""
    assert main(["check", str(folder)]) == 0
    assert "4 files checked: no problems" in capsys.readouterr().out
    spoil(folder)
    assert main(["check", str(folder), "--format", "junit", "--output", str(folder / "report.xml")]) == 1
    assert main(["check", str(folder / "none")]) == 2
    assert (folder / "report.xml").read_text().startswith("<?xml")


def test_the_schema_is_that_of_the_model():
    """policy.schema.json is current: else run `python -m opslib.policy.schema`."""
    assert SCHEMA.read_text(encoding="utf-8") == schema()


def test_the_schema_accepts_what_the_model_accepts():
    """Editors complain about what a run would refuse, and about nothing else."""
    validator = jsonschema.Draft202012Validator(json.loads(schema()))
    good = yaml.safe_load(FILES["policy.yml"])
    assert list(validator.iter_errors(good)) == []
    full = good | {
        "release": {"stages": [10, 100], "bake_s": 60},
        "windows": [{"schedule": "0 9 * * *", "duration_min": 5}],
    }
    assert list(validator.iter_errors(full)) == []
    assert Policy.model_validate(full)
    for name, value in {"owner": {}, "release": {"bake": 1}, "approvals": [{}], "other": 1}.items():
        assert list(validator.iter_errors(good | {name: value})), name


@pytest.mark.parametrize(("expires", "severities"), [("2999-01-01", {"note"}), ("2020-01-01", {"warning"})])
def test_an_exception_accepts_a_warning_for_a_time(folder, expires, severities):
    """A warning becomes a note with owner and date; an expired exception is a warning beside it."""
    (folder / "green.yml").write_text(FILES["green.yml"].replace("x:1", "x:latest"))
    warned = next(one for one in check_folder(folder).results if one.severity is Severity.WARNING)
    exception = f"{{rule: {warned.rule}, reason: known, owner: bea, expires: {expires}}}"
    (folder / "policy.yml").write_text(FILES["policy.yml"] + f"exceptions: [{exception}]\n")
    found = {one.rule: one for one in check_folder(folder).results}
    assert {str(found[warned.rule].severity)} == severities
    assert ("exception-expired" in found) == (expires == "2020-01-01")
    if "note" in severities:
        assert "accepted until 2999-01-01 by bea: known" in found[warned.rule].reason
