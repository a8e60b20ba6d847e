"""Keep secrets out of the evidence: known values are masked in every encoding, on every write.

Whoever fetches a secret registers it (`register`) before it can be shown. A kernel also tells its runner, through a
pipe that is never archived, so that the runner masks the same values in the notebook, the log and the report.
"""

import base64
import html
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from urllib.parse import quote, quote_plus

MASK = "[redacted]"
PIPE_VARIABLE = "OPSLIB_SECRETS_PIPE"
"""Set by the runner for the kernel: the named pipe on which the kernel says which values are secret."""

MIN_LENGTH = 8
"""A shorter value cannot be told apart from ordinary text [characters]."""

SECRET_NAME = re.compile(
    r"token|secret|passw|_pwd|key(?!board|word|stone|frame|note|sym)|(?:^|_)sas(?:_|$)|connection|conn_str|credential",
    re.IGNORECASE,
)
"""Names under which nobody passes anything but a secret."""

_NOT_A_VALUE = re.compile(r"(?:_FILE|_PATH|_DIR|_HOME|_URL|_URI|_NAME|_ID|_SOCK|_VERSION)$", re.IGNORECASE)

PATTERNS: Mapping[str, "re.Pattern[str]"] = {
    "shared access signature": re.compile(r"(?i)\bsig(?:=|%3D)[A-Za-z0-9%+/_-]{20,}"),
    "JSON web token": re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    "account key": re.compile(r"(?i)\b(?:Account|SharedAccess)Key=[A-Za-z0-9+/]{20,}={0,2}"),
    "bearer token": re.compile(r"(?i)\bBearer\s+[A-Za-z0-9._~+/-]{20,}=*"),
    "private key": re.compile(
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:[A-Za-z0-9+/=:,\s-]|\\[nrt]|\",?|<br ?/?>)*?"
        r"(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)"
    ),
}
"""What looks like a secret whoever made it. base64 of an image cannot match: none of these is base64 alone."""


class Redactor:
    """Masks known values; `count` is how many it has masked."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        self._regex: re.Pattern[str] | None = None
        self.count = 0
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Mask these values too, and every long line of one with several."""
        wanted = {
            part for value in values for part in (value, *value.splitlines()) if len(part.strip()) >= MIN_LENGTH
        }
        if wanted <= self._values:
            return
        self._values |= wanted
        forms = {form for value in self._values for form in encodings(value)}
        self._regex = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))

    def redact(self, text: str) -> str:
        """Mask every registered value, in every encoding."""
        if self._regex is None:
            return text
        redacted, found = self._regex.subn(_mask, text)
        self.count += found
        return redacted


@cache
def redactor() -> Redactor:
    """The one redactor of this process; it knows the environment's secrets from the start."""
    return Redactor(environment_secrets(os.environ))


def register(value: str) -> None:
    """Mask a value from now on, here and in the runner; a value too short to be told apart is left alone."""
    redactor().add([value])
    pipe = os.environ.get(PIPE_VARIABLE)
    if not pipe or len(value) < MIN_LENGTH:
        return
    with suppress(OSError):  # a runner that died reads no more, and writes no more
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(json.dumps(value).encode() + b"\n")


def redact(text: str) -> str:
    """Mask what this process knows to be secret."""
    return redactor().redact(text)


def environment_secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Values of variables whose names say that they are secret."""
    for name, value in environment.items():
        if SECRET_NAME.search(name) and not _NOT_A_VALUE.search(name) and not is_reference(value):
            yield value


def is_reference(value: object) -> bool:
    """Whether a value names a secret (``env:NAME``, ``keyvault:NAME``) rather than being one."""
    return isinstance(value, str) and re.fullmatch(r"(?:env|keyvault):[A-Za-z0-9_.:/-]+", value) is not None


def looks_leaky(text: str) -> list[str]:
    """Names of the patterns of secrets that a text holds."""
    return [name for name, pattern in PATTERNS.items() if pattern.search(text)]


def mask_patterns(text: str) -> str:
    """Mask whatever looks like a secret."""
    for pattern in PATTERNS.values():
        text = pattern.sub(MASK, text)
    return text


def encodings(value: str) -> Iterator[str]:
    """The forms in which a value may stand in a file."""
    raw = value.encode()
    plain = {value, repr(value)[1:-1], html.escape(value), html.escape(value, quote=False)}
    plain |= {quote(value, safe=""), quote(value), quote_plus(value), raw.hex(), raw.hex().upper()}
    plain |= {re.sub(r"%..", lambda m: m[0].lower(), form) for form in plain if "%" in form}
    plain |= {html.escape(value).replace("&#x27;", "&#39;")}
    for form in plain | set(_base64(raw)):
        yield from _in_json(form)


def _base64(raw: bytes) -> Iterator[str]:
    """base64 of whatever holds the value: at each of three alignments, only what the neighbours cannot change."""
    for offset, skipped in ((0, 0), (1, 2), (2, 3)):
        padded = bytes(offset) + raw
        code = base64.b64encode(padded).decode().rstrip("=")
        core = code[skipped : len(code) - (1 if len(padded) % 3 else 0)]
        if len(core) >= MIN_LENGTH:
            yield from {core, core.replace("+", "-").replace("/", "_"), quote(core, safe="")}


def _in_json(form: str) -> Iterator[str]:
    """A form as it is, in JSON, and in JSON that stands in JSON."""
    for escape in (True, False):
        once = json.dumps(form, ensure_ascii=escape)[1:-1]
        yield from (form, once, json.dumps(once, ensure_ascii=escape)[1:-1])


def _mask(match: "re.Match[str]") -> str:
    """A number must stay one, or the JSON around it breaks."""
    return "0" if match[0].isdigit() else MASK
