"""The parameters of each runbook: names, types, ranges and defaults; the notebook's parameters cell repeats them.

papermill ignores a misspelt name and does not check types. `opslib run` validates the parameters with these classes
before a kernel starts, and the notebook's bind cell validates them again for runs by papermill alone.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module

from opslib.runbook_names import RUNBOOK_NAMES
from opslib.runbook_parameters import RunbookParameters


class _Runbooks(Mapping[str, type[RunbookParameters]]):
    """The class of each runbook, imported at its first use: a run needs one of them."""

    def __getitem__(self, name: str) -> type[RunbookParameters]:
        if name not in RUNBOOK_NAMES:
            raise KeyError(name)
        module = import_module(f"{__name__}.{name}")
        found: type[RunbookParameters] = getattr(module, f"{name.capitalize()}Parameters")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(RUNBOOK_NAMES)

    def __len__(self) -> int:
        return len(RUNBOOK_NAMES)


RUNBOOKS: Mapping[str, type[RunbookParameters]] = _Runbooks()
