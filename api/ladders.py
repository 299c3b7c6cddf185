"""The forms of a ladder over HTTP: which suffix and which media type mean which drawing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from index.ladder import Ladder, layout
from index.ladder_json import render_json
from index.ladder_mermaid import render_mermaid
from index.ladder_svg import render_svg
from index.ladder_text import render_text
from index.trace import CallTrace
from sip.errors import SiptrailError


@dataclass(frozen=True, slots=True)
class Drawing:
    """One form."""

    suffix: str
    media_type: str
    draw: Callable[[Ladder], str | dict[str, Any]]

    def render(self, trace: CallTrace, headline: str) -> bytes:
        """The drawing as UTF-8."""
        drawn = self.draw(layout(trace, headline=headline))
        return (drawn if isinstance(drawn, str) else json.dumps(drawn, ensure_ascii=False)).encode("utf-8")


DRAWINGS = (
    Drawing("txt", "text/plain", render_text),
    Drawing("svg", "image/svg+xml", render_svg),
    Drawing("mmd", "text/vnd.mermaid", render_mermaid),
    Drawing("json", "application/json", render_json),
)
BY_TYPE = {d.media_type: d for d in DRAWINGS}
TEXT, SVG = DRAWINGS[0], DRAWINGS[1]
# A browser that opens the address asks for HTML; it can show the SVG.
ACCEPTED = {**BY_TYPE, "text/*": TEXT, "*/*": TEXT, "image/*": SVG, "application/*": DRAWINGS[3], "text/html": SVG}


def negotiate(accept: str) -> Drawing:
    """The form that an Accept header prefers (RFC 9110 section 12.5.1)."""
    wanted: list[tuple[float, str]] = []
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        wanted.append((weight, media_type or "*/*"))
    wanted.sort(key=lambda pair: -pair[0])
    for weight, media_type in wanted:
        if weight > 0 and media_type in ACCEPTED:
            return ACCEPTED[media_type]
    raise SiptrailError(f"a ladder comes as {', '.join(BY_TYPE)}, not as {accept}")
