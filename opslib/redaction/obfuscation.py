"""Values in disguise: written byte by byte (as URLs, pages, dumps and reprs do), or with something in between.

What a terminal colours, a page highlights, a line wraps or UTF-16 spells is read by anybody, and is found by nobody
who looks for the value as it is. Pure: text and values in, text out.
"""

import html
import re
from bisect import bisect_right
from collections.abc import Collection
from urllib.parse import unquote

_BREAK = re.compile(
    # the first character once, so that it is found fast; what follows decides. JSON in JSON doubles backslashes
    r"[\x1b\x00\r\n\u200b-\u200d\u00ad\ufeff<&\\](?:"
    r"(?<=[\x00\u200b-\u200d\u00ad\ufeff\r\n])"  # every other byte of UTF-16, what nobody sees, line ends
    r"|(?<=\x1b)\[[0-9;:]*m"  # colours of a terminal
    r"|(?<=<)/?(?:span|b|i|em|strong|mark|code|wbr|font|a)\b[^<>]*>"  # highlighted code
    r"|(?<=&)lt;/?(?:span|b|i|em|strong|mark|code|wbr|font|a)\b[^<>]{0,200}?&gt;"  # the same, shown as text
    r"|(?<=\\)\\{0,15}(?:(?:u001b|x1b|033)\[[0-9;:]*m|u0000|x00|u(?:200[b-d]|00ad|feff)"  # in JSON
    r'|r(?=\\)|n(?:",\s*")?))'  # line ends there, and between the lines of a notebook
)

_SPELLED = tuple(
    re.compile(pattern)
    for pattern in (
        # each begins with a character of its own, so that it is found fast: of a dump it misses the first byte
        r"%[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2}){7,}",
        r"&(?:amp;)?#(?:\d{1,3}|[xX][0-9A-Fa-f]{2});(?:&(?:amp;)?#(?:\d{1,3}|[xX][0-9A-Fa-f]{2});){7,}",
        r"\\{1,16}(?:x|u00)[0-9A-Fa-f]{2}(?:\\{1,16}(?:x|u00)[0-9A-Fa-f]{2}){7,}",
        r":[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){6,}",
        r" [0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2}){6,}",
        r",\s*\d{1,3}(?:,\s*\d{1,3}){6,}",
    )
)
"""Runs of bytes, each written as a number."""


def mask_encoded_bytes(text: str, values: Collection[str], mask: str) -> tuple[str, int]:
    """Mask runs that spell a value; return the text and how many they were."""
    count = 0

    def judge(run: "re.Match[str]") -> str:
        nonlocal count
        said = _read(run[0])
        if not any(value[1:] in said for value in values):
            return run[0]
        count += 1
        return (
            ", 0" if run[0].startswith(",") else mask
        )  # a list of numbers stays one, or the JSON around it breaks

    for runs in _SPELLED:
        text = runs.sub(judge, text)
    return text, count


def mask_interrupted(text: str, values: "re.Pattern[str]", mask: str) -> tuple[str, int]:
    """Mask values that something stands in the middle of, with what stands there; numbers are left alone.

    Two numbers in two lines are two numbers, and not one that was wrapped.
    """
    pieces, whole = _without_breaks(text)
    starts = [start for start, _ in pieces]

    def place(position: int) -> int:
        start, original = pieces[bisect_right(starts, position) - 1]
        return original + position - start

    found = [match.span() for match in values.finditer(whole) if not match[0].isdigit()]
    for start, end in reversed(found):
        text = text[: place(start)] + mask + text[place(end - 1) + 1 :]
    return text, len(found)


def _without_breaks(text: str) -> tuple[list[tuple[int, int]], str]:
    """A text without its breaks, and where each piece of it begins: in what is left, and in the text."""
    pieces, parts, length, end = [(0, 0)], list[str](), 0, 0
    for match in _BREAK.finditer(text):
        start, after = match.span()
        parts.append(text[end:start])
        length, end = length + start - end, after
        pieces.append((length, end))
    return pieces, "".join([*parts, text[end:]])


def _read(run: str) -> str:
    """What a run of bytes spells."""
    if run.startswith("&"):
        return html.unescape(html.unescape(run))
    if "%" in run:
        return unquote(run)
    numbers = (
        re.findall(r"\d+", run) if "," in run else re.findall(r"(?<![A-Za-z0-9])(?:x|u00)?([0-9A-Fa-f]{2})", run)
    )
    base = 10 if "," in run else 16
    return bytes(n for n in (int(number, base) for number in numbers) if n < 256).decode("utf-8", "replace")
