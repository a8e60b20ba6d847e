"""Expressions of templates: values of Microsoft's documentation, and what is refused."""

from typing import Any

import pytest

from opslib.sandbox.templates.evaluate import resolve
from opslib.sandbox.templates.scope import NeedsResource, Place, Scope
from opslib.sandbox.templates.syntax import TemplateError
from opslib.sandbox.templates.template import read_template

PLACE = Place("sub", "examplegroup", "westus", "main")
SCOPE = Scope(
    PLACE,
    {"name": "x", "items": ["one", "two"], "data": {"Inner": {"list": [1, 2]}}},
    {"base": "[concat('b', parameters('name'))]", "twice": "[concat(variables('base'), variables('base'))]"},
)
GROUP = "/subscriptions/sub/resourceGroups/examplegroup"

EXAMPLES = [
    ("plain", "plain"),
    ("[[not an expression]", "[not an expression]"),
    ("['it''s']", "it's"),
    ("[concat('a', 1, true())]", "a1True"),
    ("[concat(createArray(1), createArray(2, 3))]", [1, 2, 3]),
    ("[variables('twice')]", "bxbx"),
    ("[parameters('DATA').inner.list[1]]", 2),
    ("[parameters('items')[sub(length(parameters('items')), 1)]]", "two"),
    ("[if(equals('a', 'A'), div(1, 0), 'lazy')]", "lazy"),
    ("[and(false(), div(1, 0))]", False),
    ("[coalesce(null(), 'first', div(1, 0))]", "first"),
    ("[not(contains('OneTwo', 'Two'))]", False),
    (
        "[format('{0}, {1}. Formatted number: {2}', 'Hello', 'User', 8175133)]",
        "Hello, User. Formatted number: 8175133",
    ),
    ("[split('one;two,three', createArray(',', ';'))]", ["one", "two", "three"]),
    ("[substring('one two three', 4, 3)]", "two"),
    ("[padLeft('123', 10, '0')]", "0000000123"),
    ('[union(json(\'{"one":"a"}\'), json(\'{"two":"b"}\'))]', {"one": "a", "two": "b"}),
    ("[intersection(createArray(1, 2, 3), createArray(2, 3))]", [2, 3]),
    ("[base64ToString(base64('one, two'))]", "one, two"),
    ("[range(5, 3)]", [5, 6, 7]),
    ("[join(createArray('one', 'two'), ',')]", "one,two"),
    ("[lastIndexOf('abcdef', 'AB')]", 0),
    ("[uri('http://contoso.org/firstpath/', 'x')]", "http://contoso.org/firstpath/x"),
    ("[tryGet(parameters('data'), 'none', 'deeper')]", None),
    (
        "[resourceId('Microsoft.Storage/storageAccounts', 'store')]",
        f"{GROUP}/providers/Microsoft.Storage/storageAccounts/store",
    ),
    (
        "[resourceId('other', 'A.B/xs/ys', 'x', 'y')]",
        "/subscriptions/sub/resourceGroups/other/providers/A.B/xs/x/ys/y",
    ),
    (
        "[resourceId('s2', 'other', 'A.B/xs', 'x')]",
        "/subscriptions/s2/resourceGroups/other/providers/A.B/xs/x",
    ),
    ("[subscriptionResourceId('A.B/xs', 'x')]", "/subscriptions/sub/providers/A.B/xs/x"),
    (
        "[extensionResourceId(resourceGroup().id, 'A.B/locks', 'l')]",
        f"{GROUP}/providers/A.B/locks/l",
    ),
    (
        {"copy": [{"name": "disks", "count": 2, "input": {"lun": "[copyIndex('disks', 1)]"}}], "kept": 1},
        {"kept": 1, "disks": [{"lun": 1}, {"lun": 2}]},
    ),
    ({"[parameters('name')]": ["[length('four')]"]}, {"x": [4]}),
]


@pytest.mark.parametrize(("value", "expected"), EXAMPLES, ids=str)
def test_values(value: Any, expected: Any):
    """Those of the documentation, and the rules of the language."""
    assert resolve(value, SCOPE) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[concat('a']", "expected ',' or ')', got the end"),
        ("[concat('a') 'b']", "expected the end of the expression, got 'b'"),
        ("[a b()]", "expected '('"),
        ("[concat('a', #)]", "the text '#)' is not expected"),
        ("[nowhere('a')]", "function 'nowhere'"),
        ("[parameters('none')]", "parameter 'none' is not found"),
        ("[variables('none')]", "variable 'none' is not found"),
        ("[parameters('data').outer]", "available properties are 'Inner'"),
        ("[parameters('items')[2]]", "property '2' can't be evaluated"),
        ("[add('a', 1)]", "'add' does not take these 2 arguments"),
        ("[if(true())]", "'if' takes 3 arguments, got 1"),
        ("[copyIndex()]", "in no loop"),
        ("[reference('none')]", "resource 'none' is not defined"),
        ("[resourceId('A.B/xs/ys', 'x')]", "incorrect segment lengths"),
        ("[range(0, 100000000)]", "more than 10000"),
        ("[format('{0.__class__}{1}', 'a')]", "'format' does not take these 2 arguments"),
        ("[" + "concat(" * 100 + ")" * 100 + "]", "nested more than 64 deep"),
        ({"copy": [{"name": "a", "count": 801, "input": 1}]}, "between 0 and 800, got 801"),
    ],
    ids=str,
)
def test_refusals(value: Any, words: str):
    """The message names what is not right."""
    with pytest.raises(TemplateError) as refused:
        resolve(value, SCOPE)
    assert words in str(refused.value)


def test_a_variable_that_refers_to_itself_is_refused():
    """It cannot loop."""
    with pytest.raises(TemplateError, match="variable 'one' is not found"):
        resolve("[variables('one')]", Scope(PLACE, {}, {"one": "[variables('two')]", "two": "[variables('one')]"}))


def test_a_value_of_a_resource_is_wanted_until_it_was_read():
    """By its id, which a name of the template stands for; the rest of the answer with 'Full'."""
    target = f"{GROUP}/providers/A.B/xs/x"
    scope = Scope(PLACE, {}, known={"x": target})
    with pytest.raises(NeedsResource) as wanted:
        resolve("[reference('x').state]", scope)
    assert wanted.value.wanted == target
    read = {(target.lower(), ""): {"location": "here", "properties": {"state": "on"}}}
    scope = Scope(PLACE, {}, known={"x": target}, read=read)
    assert resolve("[reference('x').state]", scope) == "on"
    assert resolve("[reference('x', '2024-01-01', 'Full').location]", scope) == "here"


def test_a_template_is_read_with_its_loops_children_and_conditions():
    """Children have their parent's name and wait for it; a resource whose condition fails is not wanted."""
    template = {
        "parameters": {"count": {"type": "int", "defaultValue": 2}},
        "variables": {"copy": [{"name": "names", "count": 2, "input": "[concat('n', copyIndex('names'))]"}]},
        "resources": [
            {
                "type": "A.B/xs",
                "name": "[variables('names')[copyIndex()]]",
                "apiVersion": "1",
                "copy": {"name": "loop", "count": "[parameters('count')]"},
                "resources": [{"type": "ys", "name": "y", "apiVersion": "1", "properties": {}}],
            },
            {"type": "A.B/zs", "name": "z", "condition": "[equals(1, 2)]", "dependsOn": ["loop"]},
        ],
    }
    found = read_template(template, {}, PLACE).resources
    assert [one.id.removeprefix(f"{GROUP}/providers/A.B/") for one in found] == [
        "xs/n0",
        "xs/n0/ys/y",
        "xs/n1",
        "xs/n1/ys/y",
        "zs/z",
    ]
    assert found[1].after == (found[0].id.lower(),)
    assert not found[-1].wanted
    assert found[-1].after == ("loop",)


@pytest.mark.parametrize(
    ("rule", "sent", "words"),
    [
        ({"type": "string"}, {}, "parameter 'p' at line '1' and column '1' is not provided"),
        ({"type": "string"}, {"p": {"value": "a"}, "q": {"value": "b"}}, "parameters 'q' in the parameters file"),
        ({"type": "int"}, {"p": {"value": "3"}}, "Expected a value of type 'Integer'"),
        ({"type": "int"}, {"p": {"value": True}}, "received a value of type 'Boolean'"),
        ({"type": "string", "allowedValues": ["a", "b"]}, {"p": {"value": "c"}}, "allowed value(s): 'a,b'"),
        ({"type": "int", "maxValue": 3}, {"p": {"value": 4}}, "between any and 3, got 4"),
        ({"type": "string", "minLength": 2}, {"p": {"value": "a"}}, "between 2 and any, got 1"),
        ({"type": "secureString"}, {"p": {"reference": {"keyVault": {}}}}, "key vault's secret"),
    ],
)
def test_parameters_are_held_against_their_declaration(rule: dict[str, Any], sent: dict[str, Any], words: str):
    """In Azure's words."""
    with pytest.raises(TemplateError) as refused:
        read_template({"parameters": {"p": rule}, "resources": []}, sent, PLACE)
    assert words in str(refused.value)


VAULT = {"type": "Microsoft.KeyVault/vaults", "name": "v"}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({}, "missing required field `resources`"),
        ({"resources": 1}, r"got `int` - at `\$.resources`"),
        ({"resources": [{"name": "v"}]}, "missing required field `type`"),
        ({"resources": [{**VAULT, "dependsOn": 3}]}, r"\$.resources\[0\].dependsOn"),
        (
            {"resources": [{**VAULT, "dependsOn": "[parameters('n')]"}], "parameters": {"n": {"type": "int"}}},
            "array",
        ),
        ({"resources": [VAULT], "variables": {"copy": [{"name": "a", "count": 1}]}}, "`input`"),
        ({"resources": [{**VAULT, "condition": "[reference('/x').on]"}]}, "'reference'"),
        ({"resources": [{**VAULT, "name": "[listKeys('/x', '1')]"}]}, "'listkeys' is not expected"),
        ({"resources": [{**VAULT, "name": "[resourceId()]"}]}, "expected a resource type"),
        ({"resources": [{**VAULT, "name": "[extensionResourceId()]"}]}, "does not take these 0 arguments"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_template_of_another_shape_is_refused_with_the_place(template: dict[str, Any], words: str):
    sent = {"n": {"value": 1}} if "parameters" in template else {}
    with pytest.raises(TemplateError, match=words):
        read_template(template, sent, PLACE)
