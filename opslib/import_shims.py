"""Skip slow imports of other packages that nothing here uses."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, ClassVar

_PLUGIN_LOADER = "pydantic.plugin._loader"

_UNUSED_BY_A_RUN = (
    # jsonschema's checkers of formats; a schema of notebooks has none of these formats
    *("rfc3987_syntax", "rfc3986_validator", "isoduration", "uri_template", "webcolors"),
    # papermill's readers of remote files; a runbook and its executed notebook are local files
    *("papermill.s3", "papermill.adl", "papermill.abs", "gcsfs", "pyarrow.fs", "github"),
)


def skip_iri_checks() -> None:
    """Keep jsonschema from importing `rfc3987_syntax`, which only the format check "iri" uses.

    No notebook schema has that format. The import takes up to three seconds of processor time, in each process.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def skip_unused_by_a_run() -> None:
    """Keep this process from importing what papermill and jsonschema offer and a run does not use.

    For the process of `opslib run` alone: a program that calls `execute` may use all of them.
    """
    for name in _UNUSED_BY_A_RUN:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def skip_pydantic_plugins() -> None:
    """Keep pydantic from reading the metadata of all installed packages, in search of plugins of pydantic.

    It takes 0.1 s when the first model is built. For the process of `opslib run` alone, as above.
    """
    loader: Any = ModuleType(_PLUGIN_LOADER)
    loader.get_plugins = tuple
    sys.modules.setdefault(_PLUGIN_LOADER, loader)


def allow_all() -> None:
    """Permit the imports again, in a process that runs a user's code."""
    for name in _UNUSED_BY_A_RUN:
        if name in sys.modules and sys.modules[name] is None:
            del sys.modules[name]
    if getattr(sys.modules.get(_PLUGIN_LOADER), "get_plugins", None) is tuple:
        del sys.modules[_PLUGIN_LOADER]


@contextmanager
def without_debugger() -> Iterator[None]:
    """Have ipykernel import no debugger, which nothing can attach to a run's kernel; later imports get it."""
    with _absent("debugpy"):
        yield


@contextmanager
def without_aiohttp() -> Iterator[None]:
    """Have azure-storage-blob import no aiohttp, half of its import, which its asynchronous clients alone use."""
    with _absent("aiohttp"):
        yield


@contextmanager
def _absent(name: str) -> Iterator[None]:
    absent = name not in sys.modules
    if absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules[name]


class _WithoutModules(ModuleType):
    """The module `sys`, except that no module is listed."""

    modules: ClassVar[dict[str, ModuleType]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(sys, name, value)


def skip_module_lists() -> None:
    """Keep a kernel from listing all modules, for a debugger that nothing can attach and for `%reset aggressive`.

    Each list has three thousand modules touched: in a fork, half of the memory that a kernel must copy.
    """
    for lister in ("ipykernel.ipkernel", "IPython.core.shellapp"):
        module: Any = sys.modules[lister]
        module.sys = _WithoutModules("sys")


def skip_httpx_command() -> None:
    """Keep httpx from importing its command line, with click, rich and pygments: three quarters of its import."""
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
