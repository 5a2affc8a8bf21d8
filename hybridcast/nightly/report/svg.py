"""Figures as inline SVG: small, of text that can be selected, and without a name that another figure has too."""

from __future__ import annotations

import io
import re
from itertools import count

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.figure import Figure

#: Okabe and Ito's colours, which the colour-blind tell apart, less the yellow, which is too pale on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a5195")
MARKERS = ("o", "^", "D", "v", "P", "X", "*")
GREY = "#555555"
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_numbers = count(1)


def figure(width: float, height: float) -> Figure:
    """Return an empty figure, inches, with room for the words around one axes: looking for it takes half the time."""
    drawn = Figure(figsize=(width, height))
    room = {"left": 0.55 / width, "right": 1 - 0.12 / width, "bottom": 0.47 / height, "top": 1 - 0.26 / height}
    drawn.subplots_adjust(**room, hspace=0.12)
    return drawn


def inline(drawn: Figure, label: str) -> Markup:
    """Return a figure as an ``<svg>`` to put into a page.

    Parameters
    ----------
    drawn
        The figure. It is shown as wide as its place allows, up to a quarter more than its own width.
    label
        What a screen reader says instead of it.
    """
    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "hybridcast"}):
        drawn.savefig(text, format="svg", metadata=_METADATA, transparent=True)
    width = 1.25 * drawn.get_figwidth()
    head = f'<svg role="img" aria-label="{escape(label)}" style="max-width:{width:.1f}in"'
    body = _smaller(text.getvalue(), next(_numbers))
    return Markup(re.sub(r'<svg[^>]*(viewBox="[^"]*")[^>]*>', rf"{head} \1>", body, count=1))


def _smaller(svg: str, number: int) -> str:
    """Leave out what a page has no use for, and give what is referred to names of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.S)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.S)
    used = set(re.findall(r"#([mpch][0-9a-f]{8,})", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="f{number}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r"#([mpch][0-9a-f]{8,})", rf"#f{number}-\1", svg).replace("xlink:href", "href")
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", svg)
    svg = re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.1f}", svg)
    return re.sub(r">\s+<", "><", re.sub(r"\s*\n", " ", svg)).strip()


def style_of(place: int, *, baseline: bool = False) -> dict[str, object]:
    """Return how lines of a nowcaster look: no two share both colour and marker."""
    if baseline:
        return {"color": "#000000", "marker": "s", "linestyle": (0, (4, 2)), "linewidth": 1.4, "markersize": 4}
    line = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]}
    wide = {"linestyle": "-", "linewidth": 2.2, "markersize": 5.5}
    return line | (wide if place == 0 else {"linestyle": "-", "linewidth": 1.1, "markersize": 4.5})


def key(style: dict[str, object], name: str) -> Markup:
    """Draw a line of this style for a legend."""
    drawn = Figure(figsize=(0.5, 0.16))
    axes = drawn.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(-1, 1), ylim=(-1, 1))
    axes.plot([-0.9, 0, 0.9], [0, 0, 0], markevery=[1], **style)  # type: ignore[arg-type]
    return inline(drawn, f"line of {name}")
