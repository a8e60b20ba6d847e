"""What a change costs: before, during and after it, against the ceiling, and what is billed without use."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from worlds import deployment, endpoint

from opslib.azure.retail_prices import only_price, read_prices
from opslib.cost.estimate import cost_change, cost_results, endpoint_cost, waste, with_deployment, with_instances
from opslib.cost.infracost import RESOURCE_TYPE, as_infracost
from opslib.cost.text import describe_change, describe_prices
from opslib.displayed import view
from opslib.errors import PlanError
from opslib.model import Level, Overlap, Price, PriceList
from opslib.parameters.canary import CanaryParameters
from opslib.policy.policy import CostLimit
from opslib.runbooks.costs import longest_bake_s
from opslib.runbooks.steps.cost_preflight import check_cost
from opslib.show.costs import cost_table

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
DS3 = Price("Standard_DS3_v2", Decimal("0.293"), "2025-01-01T00:00:00Z")
PRICES = PriceList("https://127.0.0.1/api/retail/prices", "eastus", "USD", NOW, {"standard_ds3_v2": DS3})
UNPRICED = replace(PRICES, prices={}, missing={"standard_ds3_v2": "the source does not answer"})
FRAUD = endpoint({"blue": 100}, deployment("blue", instances=2), deployment("green"))


def scaled(**instances):
    """The cost of FRAUD with other numbers of instances."""
    now = endpoint_cost(FRAUD, PRICES)
    return cost_change(now, with_instances(now, instances), PRICES)


def test_an_hour_and_a_month_by_deployment():
    """A month is 730 h; a deployment without traffic costs as much as one with it."""
    cost = endpoint_cost(FRAUD, PRICES)
    assert [(one.per_hour, one.per_month) for one in cost.deployments] == [
        (Decimal("0.586"), Decimal("427.78")),
        (Decimal("0.293"), Decimal("213.89")),
    ]
    assert (cost.per_hour, cost.per_month) == (Decimal("0.879"), Decimal("641.67"))


@pytest.mark.parametrize(
    ("change", "before", "during", "after"),
    [
        (scaled(blue=3), 3, 4, 4),
        (scaled(Blue=1), 3, 3, 2),
        (scaled(green=0), 3, 3, 2),
        (scaled(blue=1, green=2), 3, 4, 3),
        (scaled(), 3, 3, 3),
    ],
    ids=["out", "in", "deleted", "both ways", "unchanged"],
)
def test_both_states_are_billed_during_a_change(change, before, during, after):
    """During it, each deployment counts with the larger number of its instances."""
    states = (change.before, change.during, change.after)
    assert [cost.per_hour / DS3.per_hour for cost in states] == [before, during, after]


def test_a_new_deployment_is_billed_from_its_start():
    """The cost during the change is already that after it."""
    now = endpoint_cost(FRAUD, PRICES)
    change = cost_change(now, with_deployment(now, PRICES, "amber", "STANDARD_DS3_V2", 2), PRICES)
    assert change.during == change.after
    assert change.after.per_hour - change.before.per_hour == 2 * DS3.per_hour
    with pytest.raises(PlanError, match="the endpoint has: blue, green"):
        with_instances(now, {"violet": 1})


def test_savings_and_the_overlap_are_in_the_description():
    """A scale in names what it saves; a canary what both versions cost for its stages."""
    assert "before 641.67, during 641.67, after 427.78 USD per month" in describe_change(scaled(green=0))
    assert "213.89 saved per month" in describe_change(scaled(green=0))
    assert "saved" not in describe_change(scaled(blue=3))
    overlap = Overlap("green", DS3.per_hour, planned_s=5400, longest_s=36000)
    both = replace(scaled(), overlap=overlap)
    assert "green costs 0.44 to 2.93 USD while both versions run (1.5 h planned, 10 h at most)" in describe_change(
        both
    )
    unknown = replace(both, overlap=replace(overlap, per_hour=None))
    assert "its price is unknown" in describe_change(unknown)


@pytest.mark.parametrize(
    ("on_hold", "longest_s"), [("rollback", 3900), ("extend", 7500), ("smaller step", 6500), ("ask", 14700)]
)
def test_the_longest_bake_follows_the_hold_policy(on_hold, longest_s):
    """Three stages of at most 1200 s and 100 s for late data; then what the policy adds."""
    settings = {"bake_s": 600.0, "max_bake_s": 1200.0, "late_data_s": 100.0, "answer_s": 3600.0}
    p = CanaryParameters.check({"endpoint": "fraud", "canary": "green", "on_hold": on_hold, **settings})
    assert longest_bake_s(p) == longest_s


@pytest.mark.parametrize(
    ("change", "ceiling", "level", "evidence"),
    [
        (scaled(blue=3), None, Level.OK, "before 641.67, during 855.56, after 855.56 USD per month of 730 h"),
        (scaled(blue=3), 900, Level.OK, "within the ceiling of 900.00"),
        (scaled(blue=3), 855.56, Level.OK, "in force since 2025-01-01"),
        (scaled(blue=3), 855.55, Level.BLOCKER, "855.56 is above the ceiling of 855.55 USD"),
        (scaled(), 600, Level.BLOCKER, "641.67 is above the ceiling of 600.00 USD"),
        (scaled(blue=1), 400, Level.WARNING, "641.67 is above the ceiling of 400.00 USD"),
    ],
    ids=["no ceiling", "below", "equal", "above", "above already", "lower than before"],
)
def test_the_ceiling(change, ceiling, level, evidence):
    """What exceeds the ceiling is blocked, except a change that lowers the cost."""
    found = check_cost(change, CostLimit(max_per_month=ceiling) if ceiling else None)
    assert (found.check, found.level) == ("cost", level)
    assert evidence in found.evidence
    assert bool(found.fix) == (level is not Level.OK)


def test_a_missing_price_is_named_and_never_0():
    """It warns; what is known may still exceed the ceiling; totals are unknown or a lower bound."""
    now = endpoint_cost(FRAUD, UNPRICED)
    found = check_cost(cost_change(now, now, UNPRICED), CostLimit(max_per_month=1))
    assert found.level is Level.WARNING
    assert "the cost of blue, green is unknown, and it is not compared with the ceiling of 1.00" in found.evidence
    assert "before unknown, during unknown, after unknown" in found.evidence
    assert "none of standard_ds3_v2: the source does not answer" in found.evidence
    known = endpoint_cost(FRAUD, PRICES)
    partly = cost_change(known, with_deployment(known, PRICES, "amber", "Standard_NC6", 1), PRICES)
    assert "after at least 641.67" in describe_change(partly)
    assert check_cost(partly, CostLimit(max_per_month=600)).level is Level.BLOCKER
    assert cost_results(partly, FRAUD)["cost_per_month_after"] == 641.67
    assert cost_results(partly, FRAUD)["cost_per_month_planned"] is None
    assert cost_results(scaled(green=0), FRAUD)["cost_per_month_planned"] == 427.78
    assert cost_results(replace(partly, prices=UNPRICED), FRAUD)["cost_per_month_after"] is None


@pytest.mark.parametrize(
    ("found", "requests", "remark"),
    [
        (endpoint({}, deployment("green")), 0, "idle: takes no traffic, 0 requests in the last 24 h"),
        (endpoint({}, deployment("green")), 7, ""),
        (endpoint({}, deployment("green")), None, "takes no traffic; its requests are unknown"),
        (endpoint({"green": 1}, deployment("green")), 0, ""),
        (endpoint({}, deployment("green"), mirror={"green": 10}), 0, ""),
        (endpoint({}, deployment("green", "Failed")), 0, "failed, and billed until it is deleted"),
    ],
    ids=["idle", "called directly", "unknown", "live", "mirrored", "failed"],
)
def test_what_is_billed_without_use(found, requests, remark):
    """Idle is what takes no traffic and answered no request; a failed deployment is billed too."""
    (cost,) = endpoint_cost(found, PRICES).deployments
    assert waste(cost, requests, 24) == remark


def test_the_table_has_each_deployment_the_sum_and_the_source():
    """What a person reads in a notebook and in a terminal."""
    text = cost_table("Cost of endpoint fraud", scaled(green=0), {"blue": "looked at"}).text
    assert all(shown in text for shown in ("blue", "427.78", "looked at", "total", "per month [USD]"))
    assert "213.89 saved per month" in text
    assert "read 2026-11-02 09:00 UTC, in force since 2025-01-01" in text
    assert "A month has 730 h" in view(scaled()).text


def test_json_has_the_form_of_infracost():
    """Amounts are text, the past and the difference are beside the present, what has no price is counted."""
    found = as_infracost(scaled(blue=3, green=0), "/x/onlineEndpoints/fraud", NOW)
    assert json.loads(json.dumps(found)) == found
    assert (found["version"], found["currency"]) == ("0.2", "USD")
    totals = ("totalHourlyCost", "totalMonthlyCost", "pastTotalMonthlyCost", "diffTotalMonthlyCost")
    assert [found[name] for name in totals] == ["0.879", "641.67", "641.67", "0"]
    (project,) = found["projects"]
    (blue,) = project["breakdown"]["resources"]
    assert (blue["name"], blue["resourceType"]) == ("blue", RESOURCE_TYPE)
    assert (blue["hourlyCost"], blue["monthlyCost"]) == ("0.879", "641.67")
    (component,) = blue["costComponents"]
    assert (component["monthlyQuantity"], component["price"]) == ("2190", "0.293")
    assert [(one["name"], one["monthlyCost"]) for one in project["diff"]["resources"]] == [
        ("blue", "213.89"),
        ("green", "-213.89"),
    ]
    now = endpoint_cost(FRAUD, UNPRICED)
    unknown = as_infracost(cost_change(now, now, UNPRICED), "/x/onlineEndpoints/fraud", NOW)
    assert unknown["projects"][0]["breakdown"]["resources"][0]["monthlyCost"] is None
    assert unknown["summary"]["totalNoPriceResources"] == 2


def item(price, meter="DS3 v2", product="Virtual Machines DSv2 Series", unit="1 Hour", currency="USD"):
    return {
        "retailPrice": Decimal(price),
        "skuName": meter,
        "productName": product,
        "unitOfMeasure": unit,
        "currencyCode": currency,
        "effectiveStartDate": "2025-01-01T00:00:00Z",
    }


def test_one_price_is_left_of_all_meters_of_a_size():
    """Spot, Windows and other units are other prices; equal duplicates are one price."""
    others = [
        item("0.03", "DS3 v2 Spot"),
        item("0.05", "DS3 v2 Low Priority"),
        item("0.477", product="Virtual Machines DSv2 Series Windows"),
        item("0.4", product="DSv2 Series Cloud Services"),
        item("9.9", unit="1 Month"),
        item("0.27", currency="EUR"),
    ]
    found = only_price([item("0.293"), *others, item("0.293")], "Standard_DS3_v2", "USD")
    assert found == DS3
    with pytest.raises(LookupError, match="no price in USD for this region"):
        only_price(others, "Standard_DS3_v2", "USD")
    with pytest.raises(LookupError, match="2 different prices"):
        only_price([item("0.293"), item("0.3")], "Standard_DS3_v2", "USD")


@pytest.fixture
def in_region(workspace):
    """An endpoint in a region, whose deployments are not read."""

    def at(region):
        return replace(
            FRAUD, arm={"id": f"{workspace.scope.workspace_id}/onlineEndpoints/fraud", "location": region}
        )

    return at


def test_prices_are_read_from_the_clouds_own_source(workspace, in_region):
    """Whatever the case of the name; with source, date and currency."""
    found = read_prices(workspace, in_region("East US"), ["standard_ds3_V2", "Standard_F2s_v2"])
    assert found.source == f"{workspace.scope.resource_manager}/api/retail/prices"
    assert (found.region, found.currency, found.missing) == ("eastus", "USD", {})
    assert found.find("STANDARD_DS3_V2") == replace(DS3, instance_type="standard_ds3_V2")
    assert found.prices["standard_f2s_v2"].per_hour == Decimal("0.0846")
    assert "in force since 2025-01-01" in describe_prices(found)


def test_what_the_source_does_not_have_is_missing_with_its_reason(workspace, in_region):
    """Another region, another currency, no answer: each has its own reason, and none is an error."""
    elsewhere = read_prices(workspace, in_region("westeurope"), ["Standard_DS3_v2"])
    assert elsewhere.missing == {"standard_ds3_v2": "the source has no price in USD for this region, expected one"}
    in_euro = read_prices(workspace, in_region("eastus"), ["Standard_DS3_v2"], "EUR")
    assert "answered 400 The sandbox knows prices in USD only" in in_euro.missing["standard_ds3_v2"]
    nowhere = replace(workspace, scope=replace(workspace.scope, resource_manager="https://127.0.0.1:1"))
    for_both = read_prices(nowhere, in_region("eastus"), ["Standard_DS3_v2", "Standard_F2s_v2"])
    assert for_both.missing.keys() == {"standard_ds3_v2", "standard_f2s_v2"}
    assert "does not answer" in for_both.missing["standard_f2s_v2"]
