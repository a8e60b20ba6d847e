"""Redaction of the evidence: known secrets are masked in every encoding, on every write.

Code that fetches a secret registers it (`register`) before it can be shown. In a kernel, `register` also sends the
value to the runner, through a pipe that is never archived, so that the runner masks it in the notebook, the log and
the report.
"""

import base64
import html
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, cached_property, partial
from urllib.parse import quote, quote_plus

from opslib.redaction.obfuscation import mask_encoded_bytes, mask_interrupted

MASK = "[redacted]"
PIPE_VARIABLE = "OPSLIB_SECRETS_PIPE"
"""Set by the runner for the kernel: path of the named pipe through which the kernel sends secrets."""

MIN_LENGTH = 8
"""A shorter value is not masked: it could be ordinary text [characters]."""

MAX_CLEAN, MAX_CLEAN_LENGTH = 128, 50_000
"""How many texts without a known value are remembered, and how long one may be [count, characters]."""

SECRET_NAME = re.compile(
    r"token(?!i[sz])|secret|passw|_pwd|key(?!board|word|stone|frame|note|sym)|(?:^|_)sas(?:_|$)|connection|conn_str|credential",
    re.IGNORECASE,
)
"""Names of variables and parameters whose values are secrets."""

_NOT_A_VALUE = re.compile(r"(?:_FILE|_PATH|_DIR|_HOME|_URL|_URI|_NAME|_ID|_SOCK|_VERSION)$", re.IGNORECASE)

_PLAIN = re.compile(r"[-+.\d]+|true|false", re.IGNORECASE)
_WITH_PASSWORD = re.compile(r"://[^/\s:@]+:[^/\s@]+@|(?i:\b(?:password|pwd)\s*=\s*[^;\s]+)")
"""Values that are no secret whatever their name is, and addresses or connection strings with a password in them."""

PATTERNS: Mapping[str, "re.Pattern[str]"] = {
    "shared access signature": re.compile(r"[sS](?<=\b.)(?i:ig(?:=|%3D))[A-Za-z0-9%+/_-]{20,}"),
    "JSON web token": re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    "account key": re.compile(
        r"[aAsS](?<=\b.)(?i:(?<=a)ccount|(?<=s)haredAccess)(?i:Key=)[A-Za-z0-9+/]{20,}={0,2}"
    ),
    "bearer token": re.compile(r"[bB](?<=\b.)(?i:earer)\s+[A-Za-z0-9._~+/-]{20,}=*"),
    "private key": re.compile(
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:[A-Za-z0-9+/=:,\s-]|\\[nrt]|\",?|<br ?/?>)*?"
        r"(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)"
    ),
}
"""Well-known formats of secrets. The base64 of an image cannot match: none of them is plain base64.

Each starts with a class of characters, which is searched for fast; a word boundary or `(?i)` in front is not.
"""


class KnownValue:
    """A value to mask. Its pattern is compiled once a text may contain it: that takes 0.1 s for a token."""

    def __init__(self, value: str) -> None:
        self.value = value
        self._forms = sorted(_forms(value), key=len, reverse=True)
        self._anchors = {max(_NEVER_ESCAPED.findall(form), key=len, default="") for form in self._forms}

    @cached_property
    def pattern(self) -> "re.Pattern[str]":
        """A regular expression that matches the value in every encoding."""
        return re.compile("|".join("".join(map(_any_escape, form)) for form in self._forms))

    def may_occur(self, text: str) -> bool:
        """Return whether a text has the longest part, of any encoding, that is the same however it is escaped."""
        return any(anchor in text for anchor in self._anchors)


class Redactor:
    """Masks known values; `count` is the number of masks."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: dict[str, KnownValue] = {}
        self._clean: set[str] = set()
        self._lock = threading.Lock()
        self.count = 0
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Add values to mask; of a value with several lines, each long line too."""
        wanted = {
            part for value in values for part in (value, *value.splitlines()) if len(part.strip()) >= MIN_LENGTH
        }
        if wanted <= self._values.keys():
            return
        with self._lock:  # another thread may add or mask meanwhile: it sees the old values or the new ones
            added = {value: KnownValue(value) for value in wanted - self._values.keys()}
            self._values = dict(sorted({**self._values, **added}.items(), key=lambda item: -len(item[0])))
            self._clean = set()

    def redact(self, text: str) -> str:
        """Mask every known value, in every encoding, also with control sequences between its characters.

        A file is masked whenever it is written, and most of it was before: a text that held none of the values is
        remembered until there is another value.
        """
        clean, values = self._clean, self._values  # in this order: a text is not clean of values that came later
        if not values or text in clean:
            return text
        before = self.count
        for known in values.values():
            if known.may_occur(text):
                text, found = known.pattern.subn(_mask, text)
                self.count += found
        text, spelled = mask_encoded_bytes(text, values, MASK)
        text, broken = mask_interrupted(text, partial(_find, values.values()), MASK)
        self.count += spelled + broken
        if self.count == before and len(text) <= MAX_CLEAN_LENGTH:
            if len(clean) >= MAX_CLEAN:
                clean.clear()
            clean.add(text)
        return text


def _find(values: Iterable[KnownValue], text: str) -> Iterator["re.Match[str]"]:
    """Find every known value in a text."""
    for known in values:
        if known.may_occur(text):
            yield from known.pattern.finditer(text)


@cache
def redactor() -> Redactor:
    """Return the redactor of this process; it starts with the secrets of the environment."""
    return Redactor(environment_secrets(os.environ))


def register(value: str) -> None:
    """Mask a value from now on, here and in the runner; a value shorter than `MIN_LENGTH` is not masked."""
    redactor().add([value])
    pipe = os.environ.get(PIPE_VARIABLE)
    if not pipe or len(value) < MIN_LENGTH or (pipe, value) in _SENT:
        return
    with suppress(OSError):  # a runner that died neither reads nor writes
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(json.dumps(value).encode() + b"\n")
        _SENT.add((pipe, value))


_SENT: set[tuple[str, str]] = set()
"""The values that were sent, each by its pipe: own probes read the endpoint's keys again in each round."""


def redact(text: str) -> str:
    """Mask the secrets that this process knows."""
    return redactor().redact(text)


def environment_secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of variables with the name of a secret."""
    for name, value in environment.items():
        if is_secret_name(name) and not is_reference(value):
            yield value


def is_secret_name(name: str) -> bool:
    """Return whether a variable of this name holds a secret itself, not its path, address or id."""
    return bool(SECRET_NAME.search(name)) and not _NOT_A_VALUE.search(name)


def register_secrets(variables: Mapping[str, object]) -> None:
    """Mask the values of variables that are secrets by their name or form."""
    for value in environment_secrets({name: str(value) for name, value in variables.items()}):
        register(value)
    for value in map(str, variables.values()):
        if find_patterns(value) or has_password(value):
            register(value)


def is_reference(value: object) -> bool:
    """Return whether a value is a reference to a secret (``env:NAME``, ``keyvault:NAME``), not a secret."""
    return isinstance(value, str) and re.fullmatch(r"(?:env|keyvault):[A-Za-z0-9_.:/-]+", value) is not None


def is_plain(value: str) -> bool:
    """Return whether a value is a number, true or false: a setting, whatever its name is."""
    return _PLAIN.fullmatch(value) is not None


def has_password(value: str) -> bool:
    """Return whether a value is an address or a connection string with a password in it."""
    return _WITH_PASSWORD.search(value) is not None


def holds_secret(name: str, value: str) -> bool:
    """Return whether a named value is a secret, by its name or its format; a number or a reference is none."""
    if not value or is_reference(value) or value.startswith("${{") or is_plain(value):
        return False
    by_form = bool(find_patterns(value)) or has_password(value)
    return is_secret_name(name) or by_form or redact(value) != value


def find_patterns(text: str) -> list[str]:
    """Return the names of the secret patterns that match in a text."""
    return [name for name, pattern in PATTERNS.items() if pattern.search(text)]


def mask_patterns(text: str) -> str:
    """Mask everything that matches a secret pattern."""
    for pattern in PATTERNS.values():
        text = pattern.sub(MASK, text)
    return text


_NEVER_ESCAPED = re.compile(r"""[^\\"'/&<>\x00-\x1f\x7f-\U0010ffff]{4,}""")
"""Characters of which `_any_escape` knows no other form."""


def _forms(value: str) -> set[str]:
    """Return the encodings of a value; one from the environment may be no UTF-8."""
    raw = value.encode("utf-8", "surrogateescape")
    forms = {
        value,
        raw.decode("utf-8", "replace"),  # the kernel's log
        html.escape(value),
        html.escape(value, quote=False),
        html.escape(value).replace("&#x27;", "&#39;"),
        html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),  # Jinja
        html.escape(value, quote=False).replace('"', "&quot;"),  # an attribute
        value.replace("&", "&amp;").replace('"', "&quot;"),  # an attribute, as a browser writes it
    }
    forms |= {quote(raw, safe=""), quote(raw), quote_plus(raw), raw.hex(), raw.hex().upper(), *_base64(raw)}
    forms |= {quote(quote(raw, safe="")), quote(quote(raw)), html.escape(html.escape(value))}
    forms |= set(_base64(value.encode("utf-16-le", "surrogatepass")))
    forms |= {re.sub(r"%..", lambda m: m[0].lower(), form) for form in forms if "%" in form}
    return forms


def _base64(raw: bytes) -> Iterator[str]:
    """Yield the base64 of a value at each of three alignments, without the characters that neighbours change."""
    for offset, skipped in ((0, 0), (1, 2), (2, 3)):
        padded = bytes(offset) + raw
        code = base64.b64encode(padded).decode().rstrip("=")
        core = code[skipped : len(code) - (1 if len(padded) % 3 else 0)]
        if len(core) >= MIN_LENGTH:
            yield from {core, core.replace("+", "-").replace("/", "_"), quote(core, safe="")}


@cache
def _any_escape(character: str) -> str:
    """Return a pattern of a character as JSON or Python escape it; nested JSON adds any number of backslashes."""
    escaped = re.escape(character)
    code = (
        f"(?i:u{ord(character):04x}|x{ord(character):02x})" if ord(character) < 0x10000 else _surrogates(character)
    )
    if character == "\\":
        return r"\\+(?:u005c|x5c)?"
    if character in _CONTROLS:
        return rf"(?:{escaped}|\\+(?:{_CONTROLS[character]}|{code}))"
    if character in "\"'/&":
        return rf"(?:\\*{escaped}|\\+{code})"
    if character in "<>" or ord(character) > 126 or ord(character) < 32:
        return rf"(?:{escaped}|\\+{code})"
    return escaped


_CONTROLS = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}


def _surrogates(character: str) -> str:
    """Return a pattern of a character beyond the first plane: in JSON, a surrogate pair."""
    pair = character.encode("utf-16-be")
    return rf"(?i:u{pair[:2].hex()}\\+u{pair[2:].hex()}|U{ord(character):08x})"


def _mask(match: "re.Match[str]") -> str:
    """Return the mask; 0 for a number, so that the JSON around it stays valid."""
    return "0" if match[0].isdigit() else MASK
