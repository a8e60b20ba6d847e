"""What a person sees of a diagnosis, and its JSON. Importing this module registers the view."""

import json
from dataclasses import asdict, dataclass

from opslib.diagnosis.cause import Cause, Certainty, Diagnosis
from opslib.displayed import view
from opslib.show.table import Cell, Table, Tone

_TONES: dict[Certainty, Tone] = {Certainty.CERTAIN: "bad", Certainty.LIKELY: "warning", Certainty.POSSIBLE: ""}


@dataclass(frozen=True)
class DiagnosisView:
    """Several tables in a notebook; in a terminal a paragraph for each cause, so that commands stay on one line."""

    diagnosis: Diagnosis

    @property
    def text(self) -> str:
        """The causes, what was seen, and what could not be read."""
        found = self.diagnosis
        lines = [f"Diagnosis{_when(found)}"]
        for number, cause in enumerate(found.causes, start=1):
            lines += ["", *_paragraph(number, cause)]
        if not found.causes:
            lines += ["", "No fault was found."]
        if found.observed:
            lines += ["", "Seen:", *(f"  {one}" for one in found.observed)]
        if found.unread:
            lines += ["", "Not read:", *(f"  {one.part}: {one.reason}" for one in found.unread)]
        return "\n".join(lines)

    @property
    def html(self) -> str:
        """The causes as a table, and below it what was seen."""
        return _causes(self.diagnosis).html + _layers(self.diagnosis).html + _seen(self.diagnosis).html


@view.register
def _diagnosis(found: Diagnosis) -> DiagnosisView:
    return DiagnosisView(found)


def diagnosis_json(found: Diagnosis) -> str:
    """Return the diagnosis as JSON."""
    content = {
        "endpoint": found.endpoint or None,
        "since": found.since.isoformat(timespec="seconds"),
        "at": found.at.isoformat(timespec="seconds"),
        "conclusion": found.sentence,
        "causes": [asdict(one) for one in found.causes],
        "observed": list(found.observed),
        "unread": [asdict(one) for one in found.unread],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def _paragraph(number: int, cause: Cause) -> list[str]:
    return [
        f"{number}. {cause.subject}: {cause.summary} [{cause.id}, {cause.certainty}]",
        *(f"   seen   {one}" for one in cause.evidence),
        *(f"   {'error ' if at == 0 else '      '} {'  ' * at}{one}" for at, one in enumerate(cause.layers)),
        f"   next   {cause.command}",
        f"          {cause.advice}",
    ]


def _causes(found: Diagnosis) -> Table:
    rows = [
        (
            Cell(str(one.certainty), _TONES[one.certainty]),
            one.subject,
            one.summary,
            "\n".join(map(str, one.evidence)),
            Cell(one.command, code=True),
            one.advice,
        )
        for one in found.causes
    ]
    columns = ("certainty", "of", "cause", "evidence", "next", "then")
    title = f"Likely causes{_when(found)}"
    return Table(title, columns, rows, note="" if rows else "No fault was found.")


def _when(found: Diagnosis) -> str:
    """Return the time that was looked at; of a text there is none."""
    return f", {found.since:%F %H:%M} to {found.at:%F %H:%M} UTC" if found.endpoint else " of an error's text"


def _layers(found: Diagnosis) -> Table:
    rows = [
        (cause.subject, layer.name, layer.code, layer.message) for cause in found.causes for layer in cause.layers
    ]
    return Table("Errors, from the outermost layer", ("of", "layer", "code", "message"), rows)


def _seen(found: Diagnosis) -> Table:
    rows: list[tuple[str | Cell, str]] = [
        *(("seen", one) for one in found.observed),
        *((Cell("not read", "warning"), f"{one.part}: {one.reason}") for one in found.unread),
    ]
    return Table("What was read", ("", "value"), rows)
