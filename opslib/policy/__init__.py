"""An endpoint's operating rules: who owns it, what it must hold, when and how it may change."""

FILE = "policy.yml"
