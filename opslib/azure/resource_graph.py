"""Azure Resource Graph: one query over everything that the caller may read, 1,000 records per request.

It needs no role of its own, and leaves out what the caller may not read without an error. Its content can be some
minutes old.
"""

from collections.abc import Sequence

from opslib.azure.arm import ArmClient, Json

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
    """
    body: Json = {"query": kql, "options": {"$top": 1000, "resultFormat": "objectArray"}}
    if subscriptions:
        body["subscriptions"] = list(subscriptions)
    answer = arm.post(PATH, GRAPH_API_VERSION, body)
    rows: list[Json] = list(answer.get("data", []))
    while token := answer.get("$skipToken"):
        body["options"]["$skipToken"] = token
        answer = arm.post(PATH, GRAPH_API_VERSION, body)
        rows += answer.get("data", [])
    return rows
