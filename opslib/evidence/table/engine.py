"""SQL over Parquet files in DuckDB, which can read these files and nothing else.

A query is one SELECT. The connection is in memory, opens only the given files, loads no extension, sees no variable
of this program, and its settings are locked before the query is parsed. Source:
https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.errors import ParameterError, RecordError
from opslib.evidence.archive.run_row import COLUMNS, TYPES

if TYPE_CHECKING:
    import duckdb

MEMORY = "2GB"
"""Most memory that a query may use; nothing is written to the disk."""

_SETTINGS: Mapping[str, str | bool] = {
    "allow_community_extensions": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "memory_limit": MEMORY,
    "python_enable_replacements": False,
    "temp_directory": "",
}

_SQL_TYPES = {float: "DOUBLE", int: "BIGINT", bool: "BOOLEAN"}

TABLE_COLUMNS = ", ".join(
    f"{name}::{_SQL_TYPES[TYPES[name]] if name in TYPES else 'VARCHAR'} AS {name}" for name in COLUMNS
)
"""The columns of the table as SQL, each with its type: a file may hold anything."""


@dataclass(frozen=True)
class Answer:
    """The result of a query; `more` is whether it has further rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool = False


@contextmanager
def opened(views: Mapping[str, Sequence[Path]], *, writes: bool = False) -> Iterator["duckdb.DuckDBPyConnection"]:
    """Open a connection with a view for each name, over its Parquet files; only these files can be read.

    Parameters
    ----------
    writes
        Whether it may write files and read others: for statements of this program alone.

    Raises
    ------
    RecordError
        If DuckDB is not installed, or a file or a statement is not valid.
    """
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise RecordError("SQL over published runs needs DuckDB: pip install 'opslib[archive]'") from error
    try:
        with duckdb.connect(":memory:", config=dict(_SETTINGS)) as connection:
            connection.execute("SET enable_progress_bar = false")  # it goes to stdout, into the answer
            paths = [str(path) for files in views.values() for path in files]
            for name, files in views.items():
                if files:
                    listed = [str(path) for path in files]
                    connection.read_parquet(listed, hive_partitioning=False, union_by_name=True).create_view(name)
            if not writes:
                connection.execute(f"SET allowed_paths = {_literal(paths)}")
                connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection
    except duckdb.Error as error:
        raise RecordError(f"DuckDB: {error}") from error


def select(files: Sequence[Path], sql: str, limit: int = 0) -> Answer:
    """Run one SELECT over the view ``runs``, the table of runs in some files.

    Parameters
    ----------
    limit
        Most rows that are returned; 0 means all.

    Raises
    ------
    ParameterError
        If it is not one SELECT.
    RecordError
        If it fails.
    """
    import duckdb  # noqa: PLC0415 - an extra; `opened` reports where it is missing

    with opened({"files": files}) as connection:
        source = "files" if files else f"(SELECT {', '.join(f'NULL AS {name}' for name in COLUMNS)} LIMIT 0)"
        connection.execute(f"CREATE VIEW runs AS SELECT {TABLE_COLUMNS} FROM {source}")  # noqa: S608 - ours
        statements = connection.extract_statements(sql)
        kinds = ", ".join(str(statement.type).rpartition(".")[2] for statement in statements) or "nothing"
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            raise ParameterError(f"expected one SELECT over the table runs ({', '.join(COLUMNS)}); got {kinds}")
        cursor = connection.execute(statements[0])
        columns = tuple(column[0] for column in cursor.description or ())
        rows = cursor.fetchmany(limit + 1) if limit else cursor.fetchall()
    return Answer(columns, tuple(rows[: limit or None]), more=bool(limit) and len(rows) > limit)


def _literal(texts: Sequence[str]) -> str:
    """Return texts as a list in SQL."""
    return "[" + ", ".join("'" + text.replace("'", "''") + "'" for text in texts) + "]"
