"""The scenarios' names and titles, apart from what they import: the command line lists them."""

TITLES = {
    "harborshield": "HarborShield: canary of an insurance fraud model",
    "urbancart": "UrbanCart: sizing, release and retirement of a recommendation model",
    "pinecare": "PineCare: validated and approved release of a triage model",
}
