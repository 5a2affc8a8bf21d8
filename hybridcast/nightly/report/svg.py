"""Figures as inline SVG: small, with text that can be selected, and with ids that no other figure has."""

from __future__ import annotations

import io
import re
from itertools import count

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a5195")
"""Colours of Okabe and Ito, which can be distinguished with colour blindness, without the pale yellow."""
MARKERS = ("o", "^", "D", "v", "P", "X", "*")
GREY = "#555555"
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_numbers = count(1)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches, with margins for the labels of one axes.

    Fixed margins take half the time of an automatic layout.
    """
    figure = Figure(figsize=(width, height))
    margins = {"left": 0.55 / width, "right": 1 - 0.12 / width, "bottom": 0.47 / height, "top": 1 - 0.26 / height}
    figure.subplots_adjust(**margins, hspace=0.12)
    return figure


def to_svg(figure: Figure, label: str) -> Markup:
    """Return a figure as an ``<svg>`` element of a page.

    Parameters
    ----------
    figure
        The figure. It is shown as wide as its container allows, up to a quarter more than its own width.
    label
        Description that a screen reader reads out.
    """
    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "hybridcast"}):
        figure.savefig(text, format="svg", metadata=_METADATA, transparent=True)
    width = 1.25 * figure.get_figwidth()
    head = f'<svg role="img" aria-label="{escape(label)}" style="max-width:{width:.1f}in"'
    body = _shorten(text.getvalue(), next(_numbers))
    return Markup(re.sub(r'<svg[^>]*(viewBox="[^"]*")[^>]*>', rf"{head} \1>", body, count=1))


def _shorten(svg: str, number: int) -> str:
    """Return the SVG without parts that a page does not need, with the figure's `number` in the ids that are used."""
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


def line_style(number: int, *, baseline: bool = False) -> dict[str, object]:
    """Return the line style of the nowcaster with this number; no two share both colour and marker."""
    if baseline:
        return {"color": "#000000", "marker": "s", "linestyle": (0, (4, 2)), "linewidth": 1.4, "markersize": 4}
    marker = MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]
    line = {"color": COLOURS[number % len(COLOURS)], "marker": marker, "linestyle": "-"}
    return line | ({"linewidth": 2.2, "markersize": 5.5} if number == 0 else {"linewidth": 1.1, "markersize": 4.5})


def draw_legend_line(style: dict[str, object], name: str) -> Markup:
    """Draw a line of this style for a legend."""
    figure = Figure(figsize=(0.5, 0.16))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(-1, 1), ylim=(-1, 1))
    axes.plot([-0.9, 0, 0.9], [0, 0, 0], markevery=[1], **style)  # type: ignore[arg-type]
    return to_svg(figure, f"line of {name}")
