"""Packages that an environment names and its instances may find imported: their import takes seconds of each.

Instances are forks (`launcher.py`). With these packages imported a fork is like a new process, where neither the
deployment nor its code names a variable that their import reads, and no module of its code has the name of one that
they import. What a fork could repeat or lack:

- threads: OpenBLAS ends its own before a fork and starts them again when they are needed; libgomp of scikit-learn
  starts none on import; pyarrow, which pandas imports, renews its pools in a fork
- random numbers: numpy's global generator is seeded again in each fork
- environment variables that they set: each fork has them

Sources: OpenBLAS, `driver/others/blas_server.c` and `memory.c` (pthread_atfork); numpy, `random/mtrand.pyx`; Arrow,
`cpp/src/arrow/util/atfork_internal.h`. The variables are those that a trace of the imports and the strings of the
shared libraries show, in numpy 2.4, scipy 1.17, pandas 3.1 and scikit-learn 1.9.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.machinery import all_suffixes
from itertools import chain
from pathlib import Path

_MODULES = {
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "scikit-learn": ("joblib", "sklearn.ensemble", "sklearn.feature_extraction", "sklearn.pipeline"),
    "scipy": ("scipy.optimize", "scipy.sparse", "scipy.stats"),
}
"""What is imported of a package, by the name of its distribution."""

_READ_ON_IMPORT = re.compile(
    r"\b(OMP|GOMP|KMP|OPENBLAS|GOTO|NPY|NUMPY|SCIPY|PANDAS|ARROW|JE_ARROW|MIMALLOC|SKLEARN|JOBLIB|LOKY|PSUTIL)_"
)
_SUFFIXES = tuple(all_suffixes())


@dataclass(frozen=True)
class Imports:
    """Modules that an instance may find imported, and the names that its own code has for modules."""

    modules: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()


def find_imports(packages: Iterable[str], variables: Iterable[str], files: Iterable[str], root: Path) -> Imports:
    """Return what an instance may find imported.

    Parameters
    ----------
    packages
        Packages that its environment names.
    variables
        Names of the deployment's own variables.
    files
        Its files, below `root`.
    """
    modules = tuple(module for name in sorted(packages) for module in _MODULES.get(name, ()))
    code = [Path(file) for file in files if file.endswith(_SUFFIXES)] if modules else []
    texts = ((root / path).read_text("latin-1") for path in code if path.suffix == ".py")
    if any(_READ_ON_IMPORT.search(text) for text in chain(variables, texts)):
        return Imports()
    return Imports(modules, frozenset(part.partition(".")[0] for path in code for part in path.parts))
