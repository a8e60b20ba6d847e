"""What imports what below opslib/, read from the source."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "opslib"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


DATA = {"harborshield", "urbancart", "pinecare"}
"""Folders of scoring scripts, which instances run."""

MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if not DATA & set(path.parts)}


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, late imports included; what is imported for types alone is not."""
    return tuple(_imports(ast.parse(path.read_text())))


def _imports(node: ast.AST) -> Iterator[str]:
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.If) and isinstance(inner.test, ast.Name) and inner.test.id == "TYPE_CHECKING":
            continue
        if isinstance(inner, ast.Import):
            yield from (alias.name for alias in inner.names)
        elif isinstance(inner, ast.ImportFrom) and inner.module:
            for alias in inner.names:
                yield inner.module
                yield f"{inner.module}.{alias.name}"
        elif isinstance(inner, ast.stmt | ast.ExceptHandler | ast.match_case):  # what holds statements
            yield from _imports(inner)


def importers_of(*names: str) -> set[str]:
    """Modules below opslib that import one of the modules or a part of it."""
    return {
        module
        for module, path in MODULES.items()
        if any(i == name or i.startswith(f"{name}.") for i in imports_of(path) for name in names)
    }


def edges() -> Iterator[tuple[str, str]]:
    """Each pair of modules of which the first imports the second; a name in a module counts as its module."""
    for module, path in MODULES.items():
        for name in set(imports_of(path)):
            if name in MODULES and name not in {"opslib", module} and not _only_a_package(name, path):
                yield module, name


def _only_a_package(name: str, path: Path) -> bool:
    """Whether `from package import module` names the package only on the way to its module."""
    return MODULES[name].name == "__init__.py" and any(
        i.startswith(f"{name}.") for i in imports_of(path) if i in MODULES
    )


def room(module: str) -> str:
    """The folder that a module lives in, dotted; a module at the top level is a room of its own."""
    package = MODULES[module].name == "__init__.py"
    folder = module if package else module.rpartition(".")[0]
    return module if folder == "opslib" else folder


def circle(arrows: set[tuple[str, str]]) -> list[str]:
    """A circle among arrows, or nothing: what is left when all that leads nowhere has been taken away."""
    while True:
        sources = {source for source, _ in arrows}
        kept = {(source, target) for source, target in arrows if target in sources}
        if kept == arrows:
            return sorted(sources)
        arrows = kept
