"""Obfuscated values: encoded byte by byte (as in URLs, HTML, dumps and reprs), or interrupted by other characters.

Terminal colours, HTML highlighting, line wraps and UTF-16 hide a value from a plain search. Pure: text and values
in, text out.
"""

import html
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable
from urllib.parse import unquote

_BREAK = re.compile(
    # one class for the first character, for speed; the rest decides. Nested JSON doubles backslashes
    r"[\x1b\x00\r\n\u200b-\u200d\u00ad\ufeff<&\\](?:"
    r"(?<=[\x00\u200b-\u200d\u00ad\ufeff\r\n])"  # zero bytes of UTF-16, invisible characters, line ends
    r"|(?<=\x1b)\[[0-9;:]*m"  # terminal colours
    r"|(?<=<)/?(?:span|b|i|em|strong|mark|code|wbr|font|a)\b[^<>]*>"  # highlighted code
    r"|(?<=&)lt;/?(?:span|b|i|em|strong|mark|code|wbr|font|a)\b[^<>]{0,200}?&gt;"  # the same, shown as text
    r"|(?<=\\)\\{0,15}(?:(?:u001b|x1b|033)\[[0-9;:]*m|u0000|x00|u(?:200[b-d]|00ad|feff)"  # in JSON
    r'|r(?=\\)|n(?:",\s*")?))'  # line ends in JSON, and between the lines of a notebook
)

_ENCODED_BYTES = tuple(
    re.compile(pattern)
    for pattern in (
        # each starts with a separator, for speed; a dump's first byte is therefore not matched
        r"%[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2}){7,}",
        r"&(?:amp;)?#(?:\d{1,3}|[xX][0-9A-Fa-f]{2});(?:&(?:amp;)?#(?:\d{1,3}|[xX][0-9A-Fa-f]{2});){7,}",
        r"\\\\{0,15}(?:x|u00)[0-9A-Fa-f]{2}(?:\\{1,16}(?:x|u00)[0-9A-Fa-f]{2}){7,}",
        r":[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){6,}",
        r" [0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2}){6,}",
        r",\s*\d{1,3}(?:,\s*\d{1,3}){6,}",
    )
)
"""Runs of bytes, each written as a number."""


def mask_encoded_bytes(text: str, values: Collection[str], mask: str) -> tuple[str, int]:
    """Mask runs of encoded bytes that contain a value; return the text and the number of masks."""
    count = 0

    def masked(run: "re.Match[str]") -> str:
        nonlocal count
        decoded = _decode(run[0])
        if not any(value[1:] in decoded for value in values):
            return run[0]
        count += 1
        return ", 0" if run[0].startswith(",") else mask  # keeps the JSON around a list of numbers valid

    for runs in _ENCODED_BYTES:
        text = runs.sub(masked, text)
    return text, count


def mask_interrupted(text: str, find: Callable[[str], Iterable["re.Match[str]"]], mask: str) -> tuple[str, int]:
    """Mask values that are interrupted by other characters, together with those; numbers are not masked.

    Two numbers on two lines are two numbers, not one that was wrapped.

    Parameters
    ----------
    text, mask
        Where to mask, and by what.
    find
        Finds the values in a text.
    """
    found = _joined(match.span() for match in find(_BREAK.sub("", text)) if not match[0].isdigit())
    if not found:
        return text, 0
    pieces = _pieces(text)
    starts = [start for start, _ in pieces]

    def place(position: int) -> int:
        start, original = pieces[bisect_right(starts, position) - 1]
        return original + position - start

    for start, end in reversed(found):
        text = text[: place(start)] + mask + text[place(end - 1) + 1 :]
    return text, len(found)


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans in order, those that overlap as one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _pieces(text: str) -> list[tuple[int, int]]:
    """Return the offsets of each piece of a text between its breaks: in the text without them, and in the text."""
    pieces, length, end = [(0, 0)], 0, 0
    for match in _BREAK.finditer(text):
        start, after = match.span()
        length, end = length + start - end, after
        pieces.append((length, end))
    return pieces


def _decode(run: str) -> str:
    """Return the text that a run of encoded bytes represents."""
    if run.startswith("&"):
        return html.unescape(html.unescape(run))
    if "%" in run:
        return unquote(run)
    numbers = (
        re.findall(r"\d+", run) if "," in run else re.findall(r"(?<![A-Za-z0-9])(?:x|u00)?([0-9A-Fa-f]{2})", run)
    )
    base = 10 if "," in run else 16
    return bytes(n for n in (int(number, base) for number in numbers) if n < 256).decode("utf-8", "replace")
