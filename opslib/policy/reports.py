"""What a check found, in the forms that people and CI systems read: text, JSON, SARIF 2.1.0, JUnit XML."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from opslib.definitions.rules import Severity
from opslib.model.text import counted
from opslib.policy.folder import CheckResult, FolderCheck

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def as_text(check: FolderCheck) -> str:
    """Return a line per problem, as compilers print them, and a count at the end."""
    lines = [
        f"{check.folder / result.file}:{result.line}: {result.severity}: {result.reason} [{result.rule}]"
        + (f"\n    {result.fix}" if result.fix else "")
        for result in check.results
    ]
    counts = {severity: sum(one.severity is severity for one in check.results) for severity in Severity}
    said = ", ".join(counted(count, severity) for severity, count in counts.items() if count)
    return "\n".join([*lines, f"{counted(len(check.files), 'file')} checked: {said or 'no problems'}"])


def as_json(check: FolderCheck) -> str:
    """Return an object with the files and the problems."""
    results = [
        {
            "file": one.file,
            "line": one.line,
            "rule": one.rule,
            "severity": str(one.severity),
            "reason": one.reason,
            "fix": one.fix,
        }
        for one in check.results
    ]
    content = {"folder": str(check.folder), "files": list(check.files), "failed": check.failed, "results": results}
    return json.dumps(content, indent=2, ensure_ascii=False)


def as_sarif(check: FolderCheck) -> str:
    """Return a SARIF 2.1.0 log (OASIS), which code-scanning services show beside the lines.

    Paths are relative to the present folder, in a pipeline the repository's root: GitHub resolves no other base.
    """
    rules = sorted({one.rule for one in check.results})
    folder, here = check.folder.resolve(), Path.cwd()
    root = here if folder.is_relative_to(here) else folder
    place = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    driver = {"name": "opslib check", "rules": [{"id": rule} for rule in rules]}
    results = [
        {
            "ruleId": one.rule,
            "ruleIndex": rules.index(one.rule),
            "level": str(one.severity),
            "message": {"text": f"{one.reason}. {one.fix}".rstrip()},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": quote(f"{place}{one.file}"), "uriBaseId": "%SRCROOT%"},
                        "region": {"startLine": one.line},
                    }
                }
            ],
        }
        for one in check.results
    ]
    base = {"%SRCROOT%": {"uri": root.as_uri() + "/"}}
    run = {"tool": {"driver": driver}, "originalUriBaseIds": base, "results": results}
    return json.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def as_junit(check: FolderCheck) -> str:
    """Return JUnit XML: a test case per file, a failure per error; warnings and notes are its output."""
    by_file: dict[str, list[CheckResult]] = {file: [] for file in check.files}
    for one in check.results:
        by_file.setdefault(one.file, []).append(one)
    failures = sum(any(one.severity is Severity.ERROR for one in results) for results in by_file.values())
    suite = Element("testsuite", name="opslib check", tests=str(len(by_file)), failures=str(failures), errors="0")
    for file, results in by_file.items():
        case = SubElement(suite, "testcase", classname="opslib.check", name=file)
        errors = [one for one in results if one.severity is Severity.ERROR]
        if errors:
            failure = SubElement(case, "failure", message=errors[0].reason, type=errors[0].rule)
            failure.text = "\n".join(_line(one) for one in errors)
        others = [one for one in results if one.severity is not Severity.ERROR]
        if others:
            SubElement(case, "system-out").text = "\n".join(_line(one) for one in others)
    indent(suite)
    return tostring(suite, encoding="unicode", xml_declaration=True)


def _line(result: CheckResult) -> str:
    return f"{result.file}:{result.line}: {result.severity}: {result.reason} [{result.rule}] {result.fix}".rstrip()


REPORTS: Mapping[str, Callable[[FolderCheck], str]] = {
    "text": as_text,
    "json": as_json,
    "sarif": as_sarif,
    "junit": as_junit,
}
"""Each form by the name that the command line gives it."""
