"""Azure Resource Graph: one query over everything that the caller may read, 1,000 records per request.

It needs no role of its own, and leaves out what the caller may not read without an error. Its content can be some
minutes old.
"""

from collections.abc import Sequence

from opslib.azure.arm import ArmClient, Json
from opslib.azure.resource import spelled, unexpected

GRAPH_API_VERSION = "2022-10-01"
PATH = "/providers/Microsoft.ResourceGraph/resources"


def query_graph(arm: ArmClient, kql: str, subscriptions: Sequence[str] = ()) -> list[Json]:
    """Return all records of a query, each as a mapping by column.

    Parameters
    ----------
    arm
        Client of Azure Resource Manager.
    kql
        The query; with `id` among its columns and ordered by it, so that pages do not overlap.
    subscriptions
        Ids of subscriptions; empty: all that the caller can read.

    Raises
    ------
    UnexpectedAnswer
        If an answer holds no records, or pages form a loop.
    """
    body: Json = {"query": kql, "options": {"$top": 1000, "resultFormat": "objectArray"}}
    if subscriptions:
        body["subscriptions"] = list(subscriptions)
    rows: list[Json] = []
    seen: set[str] = set()
    while True:
        answer = spelled(arm.post(PATH, GRAPH_API_VERSION, body), ("data", "$skipToken"))
        rows += _records(answer.get("data"))
        token = answer.get("$skipToken")
        if not token:
            return rows
        if token in seen:
            raise unexpected("Azure Resource Graph: $skipToken", "another page, or none", token)
        seen.add(token)
        body["options"]["$skipToken"] = token


def _records(data: object) -> list[Json]:
    """Return the records of a page: objects, or the rows of a table, which is the other form of an answer."""
    if isinstance(data, dict) and isinstance(data.get("rows"), list) and isinstance(data.get("columns"), list):
        names = [str(column.get("name")) for column in data["columns"]]
        return [dict(zip(names, row, strict=True)) for row in data["rows"]]
    if data is None:
        return []
    if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
        raise unexpected("Azure Resource Graph: data", "a list of objects", data)
    return data
