"""An endpoint's folder, checked without Azure: endpoint.yml, a YAML per deployment, probes and policy.yml."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from opslib.definitions.deployment import read_deployment
from opslib.definitions.endpoint import ENDPOINT, check_endpoint
from opslib.definitions.probes import parse_probe, read_validation_set, split_lines
from opslib.definitions.rules import Severity, Violation, check_deployment
from opslib.definitions.source import Source, read_source, read_utf8
from opslib.errors import DefinitionError, PolicyError
from opslib.policy import FILE
from opslib.policy.exceptions import Exceptions, describe_expired
from opslib.policy.reading import read_policy, validate_policy
from opslib.policy.standards import RequiredTags


@dataclass(frozen=True)
class CheckResult:
    """One problem in one file of the folder.

    Attributes
    ----------
    file
        Path relative to the folder.
    line
        Line in it, from 1 on.
    rule
        The rule's name.
    severity
        Whether a run would be refused for it.
    reason, fix
        What is wrong, and what to do about it.
    """

    file: str
    line: int
    rule: str
    severity: Severity
    reason: str
    fix: str = ""


@dataclass(frozen=True)
class FolderCheck:
    """What a check of a folder found.

    Attributes
    ----------
    folder
        The folder.
    files
        Files that were checked, relative to it.
    results
        Problems, by file and line.
    """

    folder: Path
    files: tuple[str, ...]
    results: tuple[CheckResult, ...]

    @property
    def failed(self) -> bool:
        """Whether a run from this folder would be refused."""
        return any(result.severity is Severity.ERROR for result in self.results)


def check_folder(folder: Path) -> FolderCheck:
    """Check everything in an endpoint's folder that can be checked without Azure.

    Raises
    ------
    DefinitionError
        If there is no such folder, or nothing in it is an endpoint's.
    """
    if not folder.is_dir():
        raise DefinitionError(f"{folder} is not a folder: expected one with {ENDPOINT}, deployments and {FILE}")
    endpoint, policy = _endpoint_name(folder), folder / FILE
    deployments = find_deployments(folder)
    probes = sorted(folder.glob("*probes*.jsonl"))
    if not deployments and not policy.exists() and not (folder / ENDPOINT).exists():
        raise DefinitionError(f"{folder} has no {ENDPOINT}, no deployment's definition and no {FILE}")
    required = _required_tags(policy)
    results = [
        *_check_endpoint(folder, required.endpoint),
        *_check_policy(policy, endpoint),
        *(result for path in deployments for result in _check_deployment(path, endpoint, required.deployment)),
        *(result for path in probes for result in _check_probes(path)),
    ]
    results = list(_with_exceptions(policy, results))
    files = [path for path in (folder / ENDPOINT, policy, *deployments, *probes) if path.exists()]
    names = tuple(path.relative_to(folder).as_posix() for path in files)
    return FolderCheck(folder, names, tuple(sorted(results, key=lambda one: (one.file, one.line))))


def find_deployments(folder: Path) -> list[Path]:
    """Return the deployments' definitions in an endpoint's folder."""
    return sorted(path for path in folder.glob("*.y*ml") if _is_deployment(path))


def _endpoint_name(folder: Path) -> str:
    try:
        return str(read_source(folder / ENDPOINT).get("name") or "")
    except DefinitionError:
        return ""


def _is_deployment(path: Path) -> bool:
    """Return whether a YAML file looks like a deployment's definition; a template that is no YAML yet does, too."""
    if path.name in {ENDPOINT, FILE}:
        return False
    try:
        content = read_source(path).content
    except DefinitionError:
        return True
    schema = str(content.get("$schema", "")).lower()
    if "deployment" in schema:
        return True
    marks = {"instance_type", "code_configuration", "endpoint_name", "request_settings", "instance_count"}
    return not schema and "dependencies" not in content and bool(marks & content.keys())


def _required_tags(policy: Path) -> RequiredTags:
    """Return the tags that the policy requires; none where it cannot be read, which is a problem of its own."""
    try:
        return read_policy(policy).tags
    except PolicyError:
        return RequiredTags()


def _check_tags(source: Source, required: Sequence[str]) -> Iterator[CheckResult]:
    tags = source.get("tags")
    for name in required:
        if not (isinstance(tags, Mapping) and tags.get(name)):
            reason, fix = f"tag {name} is missing; {FILE} requires it", "Add it under `tags:`."
            yield _result(source, "tags", "tags", reason, fix)


def _check_endpoint(folder: Path, tags: Sequence[str]) -> Iterator[CheckResult]:
    try:
        source = read_source(folder / ENDPOINT)
    except DefinitionError as error:
        yield CheckResult(ENDPOINT, 1, "readable", Severity.ERROR, _without(folder / ENDPOINT, error))
        return
    yield from (_broken(source, violation) for violation in check_endpoint(source))
    yield from _check_tags(source, tags)


def _check_policy(path: Path, endpoint: str) -> Iterator[CheckResult]:
    if not path.exists():
        reason = "no policy: the endpoint has no named owner, and runs use the default settings"
        yield CheckResult(FILE, 1, "policy", Severity.WARNING, reason, f"Write {FILE}: the README has an example.")
        return
    try:
        source = read_source(path)
    except DefinitionError as error:
        yield CheckResult(FILE, 1, "readable", Severity.ERROR, _without(path, error))
        return
    policy, problems = validate_policy(source)
    for line, field, message in problems:
        yield CheckResult(FILE, line, "policy", Severity.ERROR, f"{field}: {message}", "Correct it.")
    if policy is not None and endpoint and policy.endpoint != endpoint:
        reason = f"the policy is of endpoint {policy.endpoint!r}, {ENDPOINT} names {endpoint!r}"
        yield _result(source, "endpoint", "endpoint", reason, "Use one name.")
    if policy is not None and policy.validation is not None:
        yield from _check_validation_set(source, policy.validation.file)


def _check_validation_set(policy: Source, file: str) -> Iterator[CheckResult]:
    """Read the validation set as a validation reads it.

    A file that is not there is a warning: a pipeline may fetch it before the runs that need it.
    """
    path, line = policy.path.parent / file, policy.line("validation.file")
    if not path.is_file():
        reason = f"the validation set {path} is not there: a canary and a validation are refused without it"
        fix = "Correct the path, which is relative to the policy, or fetch the file before a run."
        yield CheckResult(FILE, line, "validation", Severity.WARNING, reason, fix)
        return
    try:
        read_validation_set(str(path))
    except DefinitionError as error:
        yield CheckResult(FILE, line, "validation", Severity.ERROR, str(error), "Correct the file.")


def _with_exceptions(path: Path, results: Iterable[CheckResult]) -> Iterator[CheckResult]:
    """Turn warnings that the policy accepts into notes, and add its exceptions that have expired."""
    try:
        exceptions = Exceptions(read_policy(path).exceptions, datetime.now(UTC))
    except PolicyError:
        exceptions = Exceptions((), datetime.now(UTC))
    for one in results:
        accepted = exceptions.accepted(one.rule) if one.severity is Severity.WARNING else ""
        reason = f"{one.reason}; accepted {accepted}"
        yield replace(one, severity=Severity.NOTE, reason=reason) if accepted else one
    for expired in exceptions.expired:
        line = read_source(path).line("exceptions")
        fix = "Fix what it accepted and remove it, or have its owner renew it."
        yield CheckResult(FILE, line, "exception-expired", Severity.WARNING, describe_expired(expired), fix)


def _check_deployment(path: Path, endpoint: str, tags: Sequence[str]) -> Iterator[CheckResult]:
    try:
        definition = read_deployment(path, endpoint or "endpoint", path.stem)
    except DefinitionError as error:
        message = _without(path, error)
        line, _, rest = message.partition(": ")
        known = line.isdigit()
        reason = rest if known else message
        yield CheckResult(path.name, int(line) if known else 1, "readable", Severity.ERROR, reason)
        return
    if endpoint and definition.endpoint != endpoint:
        reason = f"it is for endpoint {definition.endpoint!r}, {ENDPOINT} names {endpoint!r}"
        yield _result(definition.source, "endpoint", "endpoint_name", reason, "Use one name.")
    yield from (_broken(definition.source, violation) for violation in check_deployment(definition))
    yield from _check_tags(definition.source, tags)


def _check_probes(path: Path) -> Iterator[CheckResult]:
    """Read each line as the runbooks read it."""
    try:
        lines = split_lines(read_utf8(path, "probes"))
    except DefinitionError as error:
        yield CheckResult(path.name, 1, "probes", Severity.ERROR, _without(path, error))
        return
    fix = 'A line is {"request": ..., "answer": ...}; the answer may be left out.'
    if not any(line.strip() for line in lines):
        yield CheckResult(path.name, 1, "probes", Severity.ERROR, "there are no probes", fix)
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                parse_probe(line)
        except ValueError as error:
            yield CheckResult(path.name, number, "probes", Severity.ERROR, str(error), fix)


def _broken(source: Source, violation: Violation) -> CheckResult:
    reason = f"{violation.field} is {violation.seen}; expected {violation.expected}"
    return CheckResult(source.path.name, violation.line, violation.rule, violation.severity, reason, violation.fix)


def _result(source: Source, rule: str, field: str, reason: str, fix: str) -> CheckResult:
    return CheckResult(source.path.name, source.line(field), rule, Severity.ERROR, reason, fix)


def _without(path: Path, error: Exception) -> str:
    """Return an error's message without the file's name, which the report has already."""
    return str(error).removeprefix(f"{path}:").removeprefix(str(path)).strip()
