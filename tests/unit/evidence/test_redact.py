"""The redactor: known values in every encoding, and well-known formats of secrets."""

import base64
import html
import json
import os
import time
import urllib.parse
from collections.abc import Callable
from functools import partial

import pytest

from opslib.errors import ParameterError
from opslib.parameters.canary import CanaryParameters
from opslib.parameters.rollback import RollbackParameters
from opslib.redaction import kernel_pipes, redact

SECRETS = ["hunter2hunter2", "p<w>\"&'\\\n/?+ ~é" + "x" * 8, "QUJD+/==" * 6, "0123456789abcdef" * 4]


def in_base64(encode: Callable[[bytes], bytes], secret: str, before: int, after: int) -> str:
    """Encode a secret that is part of something longer."""
    return encode(b"x" * before + secret.encode() + b"y" * after).decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda s: s,
    "repr": repr,
    "json": json.dumps,
    "json, unicode": lambda s: json.dumps(s, ensure_ascii=False),
    "json in json": lambda s: json.dumps({"a": json.dumps({"b": s})}),
    "html": html.escape,
    "html in json": lambda s: json.dumps(html.escape(s)),
    "url": lambda s: urllib.parse.quote(s, safe=""),
    "url path": urllib.parse.quote,
    "form": lambda s: urllib.parse.urlencode({"a": s}),
    "hex": lambda s: s.encode().hex(),
    "HEX": lambda s: s.encode().hex().upper(),
    **{f"base64 at {n}": partial(in_base64, base64.b64encode, before=n, after=2) for n in range(5)},
    **{f"urlsafe base64 at {n}": partial(in_base64, base64.urlsafe_b64encode, before=n, after=0) for n in range(3)},
    "basic authorization": lambda s: base64.b64encode(f"user:{s}".encode()).decode(),
    "base64 in a url": lambda s: urllib.parse.quote(base64.b64encode(s.encode()).decode(), safe=""),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
def test_a_known_value_is_masked_in_every_encoding(secret, encoding):
    """Whatever it is wrapped in, what can be decoded of it again is gone."""
    redactor = redact.Redactor([secret])
    encoded = ENCODINGS[encoding](secret)
    masked = redactor.redact(f"before {encoded} after")
    assert redact.MASK in masked or masked == "before 0 after"
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    if encoding.count("base64") == 0 and "authorization" not in encoding:
        assert encoded not in masked
    else:
        assert max(map(len, masked.replace(redact.MASK, " ").split())) < 12
    assert redactor.count >= 1


def test_text_without_a_secret_is_left_alone():
    """A mask that hits ordinary text would destroy evidence."""
    text = json.dumps({"outcome": "succeeded", "n": 12345678, "hex": "ab" * 40})
    assert redact.Redactor(SECRETS).redact(text) == text
    assert redact.find_patterns(text) == []


def test_json_stays_json():
    """A number that is secret is masked by a number."""
    masked = redact.Redactor(["1234567890"]).redact('{"a": 1234567890, "b": "1234567890"}')
    assert json.loads(masked) == {"a": 0, "b": "0"}


LEAKY = {
    "shared access signature": "https://x.blob.core.windows.net/c?sv=1&sig=abcdefghijklmnopqrstuvwx%3D",
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlc2ln",
    "account key": "DefaultEndpointsProtocol=https;AccountKey=" + "A" * 86 + "==",
    "bearer token": "Authorization: Bearer abcdefghijklmnopqrstuvwxyz",
    "private key": "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----",
}


@pytest.mark.parametrize("pattern", LEAKY)
@pytest.mark.parametrize("wrap", [str, json.dumps], ids=["plain", "json"])
def test_what_looks_like_a_secret_is_found_and_masked(pattern, wrap):
    """Patterns find secrets that were not registered."""
    text = wrap(f"it printed: {LEAKY[pattern]} and went on")
    assert pattern in redact.find_patterns(text)
    masked = redact.mask_patterns(text)
    assert redact.find_patterns(masked) == []
    assert "went on" in masked


def test_pictures_do_not_look_like_secrets():
    """base64 of random bytes holds no pattern: a false alarm would quarantine every plot."""
    import random  # noqa: PLC0415 - only here

    noise = random.Random(3).randbytes(400_000)  # noqa: S311 - noise
    assert redact.find_patterns(base64.b64encode(noise).decode()) == []


def test_the_environments_secrets_are_known_from_the_start():
    """Variables with the names of secrets; not paths, references or keyboards."""
    environment = {
        "AZURE_CLIENT_SECRET": "a-secret-value",
        "STORAGE_SAS": "sas-value-long",
        "SIGNING_KEY_FILE": "/home/oncall/key.pem",
        "API_KEY": "env:OTHER",
        "KEYBOARD": "us-international",
        "PATH": "/usr/bin",
    }
    assert set(redact.environment_secrets(environment)) == {"a-secret-value", "sas-value-long"}


@pytest.mark.parametrize(
    "given",
    [
        {"api_key": "hunter2hunter2"},
        {"sas": "sv=2024"},
        {"reason": LEAKY["shared access signature"]},
        {"reason": f"token {LEAKY['JSON web token']}"},
        {"password": "x"},
    ],
    ids=str,
)
def test_parameters_hold_no_secrets(given):
    """Refused by name and by look, whether the runbook knows the name or not; the value is not shown."""
    with pytest.raises(ParameterError, match="contains a secret") as caught:
        RollbackParameters.check({"endpoint": "fraud", **given})
    assert next(iter(given.values())) not in str(caught.value) or len(next(iter(given.values()))) < 2


def test_a_reference_is_no_secret():
    """It is refused only because the runbook does not take it."""
    with pytest.raises(ParameterError, match="unknown"):
        RollbackParameters.check({"endpoint": "fraud", "api_key": "env:NAME"})


def test_a_registered_value_is_refused_as_a_parameter():
    """A known secret must not be in a notebook."""
    redact.register("correct horse battery")
    with pytest.raises(ParameterError, match="contains a secret"):
        CanaryParameters.check({"endpoint": "fraud", "canary": "green", "reason": "a correct horse battery staple"})


def test_a_kernel_tells_its_runner(monkeypatch):
    """A value that the kernel registers is masked in the runner; a runner that died does not block the kernel."""
    with kernel_pipes.secrets_pipe() as pipe:
        monkeypatch.setenv(redact.PIPE_VARIABLE, str(pipe.path))
        assert pipe.path.stat().st_mode & 0o777 == 0o600
        redact.register("sent through a pipe")
        redact.redactor.cache_clear()
        assert redact.redact("sent through a pipe") == "sent through a pipe"
        pipe.drain()
        assert redact.redact("sent through a pipe") == redact.MASK
    redact.register("without a reader")


def test_a_value_of_another_encoding_is_masked(monkeypatch):
    """A password in Latin-1 in the environment of a cron job: no run could be written, and none was masked."""
    raw = "pässwörd-1234".encode("latin-1")
    value = os.fsdecode(raw)
    masked = redact.Redactor([value])
    for shown in (value, json.dumps(value), raw.decode("utf-8", "replace"), raw.hex(), urllib.parse.quote(raw)):
        assert masked.redact(f"before {shown} after").replace('"', "") == f"before {redact.MASK} after"
    redact.redactor.cache_clear()
    with kernel_pipes.secrets_pipe() as pipe:
        monkeypatch.setenv(redact.PIPE_VARIABLE, str(pipe.path))
        redact.register(value)
        redact.redactor.cache_clear()
        pipe.drain()
        assert redact.redact(value) == redact.MASK


def test_long_secrets_pass_the_pipe(monkeypatch):
    """A key of many lines is longer than what one write passes whole."""
    value = "\n".join(f"line {n} of a very long private key" for n in range(500))
    with kernel_pipes.secrets_pipe() as pipe:
        monkeypatch.setenv(redact.PIPE_VARIABLE, str(pipe.path))
        redact.register(value)
        redact.redactor.cache_clear()
        pipe.drain()
        assert redact.redact("line 499 of a very long private key") == redact.MASK


def test_a_disguise_is_seen_through_and_what_stands_around_it_stays():
    """Coloured, wrapped and spelled; JSON stays JSON, and what is no secret keeps its colours and its lines."""
    value = "s3cret-of-the-endpoint"
    cells = [
        "\x1b[31mred\x1b[0m\n",
        f"{value[:7]}\x1b[1m{value[7:15]}\n",
        f"{value[15:]} after\n",
        "1234\n",
        "5678\n",
    ]
    told = json.loads(redact.Redactor([value, "12345678"]).redact(json.dumps(cells, indent=1)))
    assert told == ["\x1b[31mred\x1b[0m\n", "[redacted] after\n", "1234\n", "5678\n"]
    numbers = json.dumps({"bytes": list(value.encode()), "counts": list(range(20))}, indent=1)
    told = json.loads(redact.Redactor([value]).redact(numbers))
    assert told == {"bytes": [ord(value[0]), 0], "counts": list(range(20))}


def test_seeing_through_disguises_takes_time_in_proportion_to_the_text():
    """Long runs of what looks like the beginning of a disguise: four times the text, not sixteen times the work."""

    def cost_s(size):
        texts = ("\\" * size, "<span " * size, "&lt;a " * size, "%41" * size, "1, " * size, ":41" * size)
        redactor, begun_s = redact.Redactor(["s3cret-of-the-endpoint"]), time.thread_time()
        for text in texts:
            redactor.redact(text)
        return time.thread_time() - begun_s

    assert cost_s(8_000) < 12 * max(cost_s(2_000), 0.005)


def test_a_text_without_secrets_is_searched_again_once_there_is_another_secret():
    redactor = redact.Redactor(["first-secret"])
    text = "a second-secret and no other"
    assert redactor.redact(text) == text
    assert redactor.redact(text) == text
    redactor.add(["second-secret"])
    assert redactor.redact(text) == f"a {redact.MASK} and no other"
    assert redactor.redact(redactor.redact(text)) == f"a {redact.MASK} and no other"
    assert redactor.count == 2
