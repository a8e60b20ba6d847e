"""Words that a tired person reads twice, and where they are: in strings, docstrings, comments, prose and notebooks.

`python tests/unit/words.py [PATH ...]` lists them.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]

REFUSED = re.compile(
    r"\b(nobody|somebody|whoever|whomever|anew|mend(s|ed|ing)?|tells?|told|stands?|stood|asks|asked|likelier"
    r"|times as likely|likely as none|lay|lays|laid|says?|said|vouch(es|ed)?|doors?|silent|politely|honest(ly)?"
    r"|leads? nowhere|have (its|their) way|alas|thereof|hence|ere)\b",
    re.IGNORECASE,
)
"""Personification, archaic and poetic words; "stands for" and "stand-in" are plain English."""

ALLOWED = re.compile(r"\bstands? for\b|\bstand-in\b|\bstandstill\b", re.IGNORECASE)


def find_words(text: str) -> Iterator[str]:
    """Every refused word of a text."""
    for match in REFUSED.finditer(ALLOWED.sub("", text)):
        yield match.group(0)


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """The text that a person reads in a file, with line numbers."""
    if path.suffix == ".py":
        yield from _of_source(path.read_text())
    elif path.suffix == ".ipynb":
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
            if cell.cell_type == "code":
                yield from ((number, text) for _, text in _of_source(cell.source))
            else:
                yield number, cell.source
    else:
        yield from enumerate(re.sub(r"`[^`\n]*`", "", path.read_text()).splitlines(), start=1)


def _of_source(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def places() -> list[Path]:
    """Every file that a user, an auditor or a contributor reads."""
    found = [path for pattern in ("*.py", "*.md", "*.j2", "*.yml") for path in (ROOT / "opslib").rglob(pattern)]
    found += [*(ROOT / "notebooks").glob("*.ipynb"), ROOT / "README.md", ROOT / "runs/README.md"]
    return sorted(found)


def may_hold(path: Path) -> bool:
    """Whether a file holds a refused word anywhere: few do, as a name in code, and only those are parsed."""
    return any(find_words(re.sub(r"\\[nrt]", " ", path.read_text())))


def listed(paths: list[Path]) -> list[str]:
    """Lines of ``path:line: word: text``."""
    return [
        f"{path}:{line}: {word}: {' '.join(text.split())[:140]}"
        for path in filter(may_hold, paths)
        for line, text in texts_of(path)
        for word in find_words(text)
    ]


if __name__ == "__main__":
    roots = [Path(argument) for argument in sys.argv[1:]]
    wanted = [inner for root in roots for inner in ([root] if root.is_file() else root.rglob("*"))]
    print("\n".join(listed([p for p in wanted if p.suffix in {".py", ".md", ".ipynb", ".j2", ".yml"}] or places())))
