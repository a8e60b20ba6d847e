"""The bodies of a notice: a CloudEvent, a card for Microsoft Teams, blocks for Slack.

Sources: CloudEvents 1.0.2, JSON format and HTTP binding (structured content mode); Microsoft Learn, "Create
incoming webhooks with Workflows" (an Adaptive Card in a message); Slack, "Incoming webhooks", "Reference: blocks".
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from opslib.notify.notice import URGENT, WANTS_A_PERSON, Form, Notice

TYPE_PREFIX = "opslib.run."

HEADER_LIMIT = 150
SECTION_LIMIT = 3000
"""Longest text of Slack's header and section blocks [characters]."""

REASON_LIMIT = 2000
"""Longest reason in a chat; the whole one is in the record [characters]. Teams refuses messages of over 28 KB."""


@dataclass(frozen=True)
class Body:
    """What is posted, and its media type."""

    content_type: str
    content: str


def write_body(notice: Notice, form: Form) -> Body:
    """Return a notice in the form that a receiver reads."""
    media_type = "application/cloudevents+json" if form == "cloudevents" else "application/json"
    content = json.dumps(_WRITERS[form](notice), ensure_ascii=False)
    return Body(f"{media_type}; charset=utf-8", content)


def cloud_event(notice: Notice) -> dict[str, Any]:
    """Return the notice as a CloudEvent; source and id together identify it."""
    return {
        "specversion": "1.0",
        "id": notice.id,
        "source": notice.source,
        "type": f"{TYPE_PREFIX}{notice.event}",
        "subject": notice.run_id,
        "time": notice.at,
        "datacontenttype": "application/json",
        "data": {
            "endpoint": notice.endpoint,
            "runbook": notice.runbook,
            "run_id": notice.run_id,
            "title": notice.title,
            "reason": notice.reason,
            "counts": [asdict(count) for count in notice.counts],
            "commands": list(notice.commands),
        },
    }


def teams_message(notice: Notice) -> dict[str, Any]:
    """Return the notice as a message with one Adaptive Card."""
    body: list[dict[str, Any]] = [
        _text(notice.title, size="Large", weight="Bolder", color=_colour(notice)),
        _text(_shorten(notice.reason, REASON_LIMIT)),
        {"type": "FactSet", "facts": [{"title": name, "value": value} for name, value in _facts(notice)]},
        *(_text(command, fontType="Monospace") for command in notice.commands),
    ]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": f"{notice.title}. {_shorten(notice.reason, REASON_LIMIT)}",
        "msteams": {"width": "Full"},
        "body": body,
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def slack_message(notice: Notice) -> dict[str, Any]:
    """Return the notice as blocks; `text` is what notifications and screen readers use."""
    reason = _escape(_shorten(notice.reason, REASON_LIMIT))
    facts = [{"type": "mrkdwn", "text": f"*{name}*\n{_escape(value)}"} for name, value in _facts(notice)]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _shorten(notice.title, HEADER_LIMIT)}},
        {"type": "section", "text": {"type": "mrkdwn", "text": _shorten(reason, SECTION_LIMIT)}},
        {"type": "section", "fields": facts[:10]},
    ]
    if notice.commands:
        typed = _escape("\n".join(notice.commands))
        code = f"```{_shorten(typed, SECTION_LIMIT - 6)}```"
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": code}})
    return {"text": f"{_escape(notice.title)}. {reason}", "blocks": blocks}


def _facts(notice: Notice) -> list[tuple[str, str]]:
    counts = [("judged", str(count)) for count in notice.counts]
    return [("endpoint", notice.endpoint), ("run", notice.run_id), ("time", notice.at), *counts]


def _text(text: str, **style: str) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True, **style}


def _colour(notice: Notice) -> str:
    if notice.event in URGENT:
        return "Attention"
    return "Warning" if notice.event in WANTS_A_PERSON else "Default"


def _escape(text: str) -> str:
    """Escape the characters that Slack reads as markup. Source: "Formatting text for app surfaces"."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


_WRITERS: Mapping[Form, Callable[[Notice], dict[str, Any]]] = {
    "cloudevents": cloud_event,
    "teams": teams_message,
    "slack": slack_message,
}
