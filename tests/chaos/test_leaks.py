"""Canary secrets are planted wherever one can get in; afterwards none is on the disk, in any encoding.

The search does not use the redactor's own list of encodings: it decodes whatever can be decoded.
"""

import base64
import html
import json
import pathlib
import re
import urllib.parse
from typing import Any

import pytest
from notebook_fixture import RECORD, write_runbook

from opslib.cli.main import main
from opslib.errors import ParameterError
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.redaction import redact
from opslib.runner.execute import execute

IN_ENVIRONMENT = "canary-Env1ronment/+=&<>\"' 7f3a9b2c"
BY_REFERENCE = "canary-R3ference_0123456789abcdefghijklmnopqrstuv"
OF_ENDPOINT = "canary" + "K3yOfTheEndpoint" * 4
CANARIES = (IN_ENVIRONMENT, BY_REFERENCE, OF_ENDPOINT)

SPREAD = r"""
import base64, html, json, os, pprint, subprocess, sys, urllib.parse, zlib
from IPython.display import HTML, Image, Markdown, display
def spread(s):
    b = s.encode()
    print(s); print(repr(s)); print(json.dumps({"answer": s})); print(json.dumps(json.dumps([s])))
    for n in range(4):
        print(base64.b64encode(b"x" * n + b + b"tail").decode(), base64.urlsafe_b64encode(b"y" * n + b).decode())
    print(b.hex(), b.hex().upper(), urllib.parse.quote(s), urllib.parse.quote_plus(s), html.escape(s))
    print(urllib.parse.urlencode({"key": s}), urllib.parse.quote(base64.b64encode(b).decode(), safe=""))
    display(HTML(f"<b title='{html.escape(s)}'>{html.escape(s)}</b>"), Markdown(f"`{s}`"), {"model output": [s]})
    print(s[: len(s) // 2], end="", flush=True); print(s[len(s) // 2 :], flush=True)
    print(s, file=sys.stderr)
    os.write(2, b + b"\n")
    subprocess.run([sys.executable, "-c", "import sys; print(sys.argv[1])", s])
    wide, half = s.encode("utf-16-le"), len(s) // 2
    print(wide, base64.b64encode(b"z" + wide).decode(), base64.b64encode(wide).decode())
    print("".join(f"\x1b[3{n % 8}m{c}" for n, c in enumerate(s)), "\u200b".join(s))
    print(s[:half]); print(s[half:])
    print(base64.encodebytes(b"x" * 40 + b).decode(), b.hex(":"), b.hex(" "), list(b))
    print("".join(f"%{x:02x}" for x in b), "".join(f"&#{x};" for x in b), "".join(f"\\x{x:02x}" for x in b))
    print(urllib.parse.quote(urllib.parse.quote(s)))
    display(HTML(f"<pre><span class='k'>{html.escape(s[:half])}</span><b>{html.escape(s[half:])}</b></pre>"))
    text = b"tEXtComment\0" + b
    chunk = len(text[4:]).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
    display(Image(b"\x89PNG\r\n\x1a\n" + chunk, format="png"), metadata={"alt": s})
"""

PLANT = """
import opslib, pathlib
from opslib.evidence.run.journal import Journal
from opslib.redaction.redact import register
from opslib.evidence.run.record import write_atomically
of_endpoint = "canary" + "K3yOfTheEndpoint" * 4
register(of_endpoint)
secrets = [os.environ["HARBORSHIELD_API_TOKEN"], opslib.secret("env:BY_REFERENCE").get_secret_value(), of_endpoint]
folder = pathlib.Path(os.environ["OPSLIB_RUN_FOLDER"])
for n, s in enumerate(secrets):
    spread(s)
    Journal(folder).write("progress", f"the model answered {s}")
    write_atomically(folder / f"answer-{n}.json", json.dumps({"answer": s}))
    (folder / f"dump-{n}.bin").write_bytes(b"\\xff\\x00" + s.encode() + b"\\xfe")
    (folder / f"wide-{n}.bin").write_bytes(s.encode("utf-16"))
(folder / of_endpoint).mkdir()
(folder / of_endpoint / f"{secrets[1]}.txt").write_text("named by a secret")
secrets
"""

RAISE = 'raise ValueError(f"cannot log in with {secrets!r} and {secrets[0]}")'


BETWEEN = (
    r"\x1b\[[0-9;]*m|\\+u001b\[[0-9;]*m|\0|\\+(?:x00|u0000)|\u200b|\\+u200b|</?(?:span|b)[^<>]*>"
    r'|\\+n",\s*"|\\+n|\n'
)


def dumps(said):
    """Runs of numbers that may be bytes."""
    for run in re.findall(r"\d{1,3}(?:,\s*\d{1,3}){7,}", said):
        yield [int(n) % 256 for n in run.split(",")]
    for run in re.findall(r"[0-9a-f]{2}(?:[: ][0-9a-f]{2}){7,}|(?:\\+x[0-9a-f]{2}){7,}", said):
        yield bytes.fromhex("".join(re.findall(r"[0-9a-f]{2}", run)))


def decoded(content):
    """Yield a file's text and everything that can be decoded from it, repeatedly."""
    seen, wanted = set(), [content]
    for _ in range(3):
        found = []
        for text in wanted:
            said = text.decode("utf-8", "replace")
            found += [urllib.parse.unquote_plus(said), html.unescape(said), said.replace("\\\\", "\\")]
            found += [
                re.sub(BETWEEN, "", said),
                *(bytes(numbers).decode("utf-8", "replace") for numbers in dumps(said)),
            ]
            found += [
                re.sub(r'\\(["/\\])', r"\1", said),
                re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), said),
            ]
        wanted = [text.encode() for text in found if text.encode() not in seen]
        seen |= set(wanted)
    yield from (content, *seen)
    for text in (content, *seen):
        for run in re.findall(rb"[A-Za-z0-9+/_-]{16,}", text):
            plain = run.replace(b"-", b"+").replace(b"_", b"/")
            for offset in range(4):
                part = plain[offset:]
                yield base64.b64decode(part[: len(part) // 4 * 4])
        yield from (bytes.fromhex(run.decode()) for run in re.findall(rb"(?:[0-9a-fA-F]{2}){8,}", text))


def leaks(content):
    """The canaries that can be got out of a file; half of one is enough."""
    halves = [
        (c, half.encode()) for c in CANARIES for half in (c, c[len(c) // 2 :], c[: len(c) // 2]) if len(half) > 12
    ]
    return {canary for text in decoded(content) for canary, half in halves if half in text}


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A run into which everything was planted; every file is looked at as it is put in its place, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARBORSHIELD_API_TOKEN", IN_ENVIRONMENT)
    monkeypatch.setenv("BY_REFERENCE", BY_REFERENCE)
    on_the_way: list[Any] = []
    real = pathlib.Path.replace

    def looked_at(path, target):
        plain = path.read_bytes()
        on_the_way.extend(target.name for canary in CANARIES if canary.encode() in plain)
        return real(path, target)

    monkeypatch.setattr(pathlib.Path, "replace", looked_at)
    write_runbook(tmp_path, SPREAD, PLANT, RAISE, RECORD)
    folder, record = execute("rollback", {"endpoint": "fraud"}, tmp_path / "runs")
    return folder, record, on_the_way


def test_no_planted_secret_is_on_the_disk(planted, tmp_path, capsys):
    """Prints, values, HTML, tracebacks, logs, files, journal, record, report: none holds a canary, ever."""
    folder, record, on_the_way = planted
    assert record.outcome is Outcome.FAILED
    assert "cannot log in with" in record.reason
    assert on_the_way == []
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert leaks("\n".join(map(str, files)).encode()) == set()
    assert any("named by a secret" in path.read_text("utf-8", "replace") for path in files)
    assert {"notebook.ipynb", "kernel.log", "journal.jsonl", "run.json", "report.html", "dump-0.bin"} <= {
        path.name for path in files
    }
    assert {p.name: found for p in files if (found := leaks(p.read_bytes()))} == {}
    assert record.redactions > 50
    for name in ("notebook.ipynb", "run.json", "answer-0.json"):
        json.loads((folder / name).read_text())
    assert verify(tmp_path / "runs").state is VerifyState.SOUND
    main(["runs", "show", folder.name, "--runs", "runs"])
    main(["runs", "--json", "--runs", "runs"])
    assert leaks(capsys.readouterr().out.encode()) == set()


def test_the_search_finds_what_was_not_masked():
    """The search finds each planted form of the secret when nothing is masked."""
    for encode in (str, repr, json.dumps, html.escape, urllib.parse.quote, lambda s: s.encode().hex()):
        assert leaks(f"x {encode(IN_ENVIRONMENT)} y".encode()) == {IN_ENVIRONMENT}
    for n in range(4):
        assert leaks(base64.b64encode(b"x" * n + BY_REFERENCE.encode())) == {BY_REFERENCE}


LEAKY_CELLS = {
    "shared access signature": "print('https://x.blob.core.windows.net/c/b?sp=r&sig=' + 'Ab3' * 14 + '%3D')",
    "JSON web token": "print('eyJ' + 'hbGciOiJIUzI1NiJ9' + '.eyJ' + 'zdWIiOiIxMjM0NTY3ODkwIn0' + '.' + 'x' * 40)",
    "private key": "print('-----BEGIN ' + 'PRIVATE KEY-----\\nMC4CAQAwBQYDK2Vw\\n-----END ' + 'PRIVATE KEY-----')",
}


@pytest.mark.parametrize("pattern", LEAKY_CELLS)
def test_a_run_that_looks_leaky_is_quarantined(tmp_path, monkeypatch, pattern):
    """An unregistered secret is masked, recorded with its file, and the run sealed as quarantined."""
    monkeypatch.chdir(tmp_path)
    write_runbook(tmp_path, LEAKY_CELLS[pattern], RECORD)
    folder, record = execute("rollback", {"endpoint": "fraud"}, tmp_path / "runs")
    assert f"notebook.ipynb: {pattern}" in record.quarantine
    for path in folder.iterdir():
        assert redact.find_patterns(path.read_text()) == [], path.name
    assert verify(tmp_path / "runs").state is VerifyState.SOUND


@pytest.mark.parametrize(
    "given",
    [{"reason": IN_ENVIRONMENT}, {"reason": f"see {BY_REFERENCE}"}, {"api_key": OF_ENDPOINT}, {"to": OF_ENDPOINT}],
    ids=["environment", "known value", "by name", "wrong type"],
)
def test_a_secret_parameter_is_refused_and_not_shown(tmp_path, monkeypatch, given, capsys):
    """Nothing is begun, and neither the message nor the disk holds the value."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARBORSHIELD_API_TOKEN", IN_ENVIRONMENT)
    redact.register(BY_REFERENCE)
    redact.register(OF_ENDPOINT)
    with pytest.raises(ParameterError) as caught:
        execute("rollback", {"endpoint": "fraud", **given}, tmp_path / "runs")
    assert leaks(str(caught.value).encode()) == set()
    assert not (tmp_path / "runs").exists()
    words = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    assert main(["run", "rollback", "-p", "endpoint=fraud", *words]) == 2
    assert leaks(capsys.readouterr().err.encode()) == set()
