"""Bar charts as SVG, legible on light and dark pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

Tone = Literal["ours", "theirs"]

WIDTH: Final = 760
_LABELS: Final = 170
_VALUES: Final = 150
_WORDS: Final = 110  # the width of the text behind a bar
_BAR: Final = 18
_STEP: Final = 26
_ATTRIBUTES: Final = 'xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title"'
_STYLE: Final = """
svg { color-scheme: light dark; font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; }
.page { fill: #ffffff; } text { fill: #1f2328; } .quiet { fill: #59636e; }
.head { font-weight: 600; font-size: 15px; } .ours { fill: #0969da; } .theirs { fill: #818b98; }
.spread { stroke: #1f2328; } .mark { stroke: #bc4c00; } .note { fill: #bc4c00; }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117; } text { fill: #f0f6fc; } .quiet { fill: #9198a1; }
  .ours { fill: #4493f8; } .theirs { fill: #656c76; }
  .spread { stroke: #f0f6fc; } .mark { stroke: #f0883e; } .note { fill: #f0883e; }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar with a whisker from `low` to `high`, and `note` behind the value.

    `mark` is a bound that the bar cannot pass, drawn as a line across it.
    """

    label: str
    value: float
    low: float
    high: float
    tone: Tone
    note: str = ""
    mark: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Bars of one kind on a common scale from zero."""

    title: str
    bars: tuple[Bar, ...]


def svg(title: str, subtitle: str, panels: Sequence[Panel], footnote: str = "") -> str:
    """Draw all panels, one below the other. Raises ValueError for a panel without bars."""
    parts: list[str] = []
    top = 62
    for panel in panels:
        parts.append(_panel(panel, top))
        top += 34 + _STEP * len(panel.bars)
    height = top + (34 if footnote else 10)
    if footnote:
        parts.append(_text(20, top + 14, footnote, "quiet"))
    return "\n".join(
        [
            f'<svg {_ATTRIBUTES} viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
            f'<title id="title">{escape(title)}</title>',
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
            _text(20, 30, title, "head"),
            _text(20, 49, subtitle, "quiet"),
            *parts,
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, top: float) -> str:
    if not panel.bars:
        raise ValueError(f"no bars in {panel.title!r}")
    longest = max(max(bar.high, bar.value, bar.mark or 0.0) for bar in panel.bars)
    scale = (WIDTH - _LABELS - _VALUES - 40) / longest if longest else 0.0
    lines = [_text(20, top + 20, panel.title, "")]
    for index, bar in enumerate(panel.bars):
        lines += _bar(bar, top + 30 + _STEP * index, scale)
    return "\n".join(lines)


def _bar(bar: Bar, top: float, scale: float) -> list[str]:
    left = 20 + _LABELS
    middle = top + _BAR / 2
    end = left + max(bar.value, bar.high) * scale
    mark = left + (bar.mark or 0.0) * scale
    if end <= mark < end + _WORDS:
        end = mark
    lines = [
        _text(left - 10, middle + 4.5, bar.label, "", anchor="end"),
        f'<rect class="{bar.tone}" x="{left}" y="{top:.1f}" width="{bar.value * scale:.1f}" height="{_BAR}" rx="2"/>',
        f'<path class="spread" d="M{left + bar.low * scale:.1f} {middle:.1f}H{left + bar.high * scale:.1f}"/>',
        _text(end + 8, middle + 4.5, f"{number(bar.value)}  {bar.note}".rstrip(), ""),
    ]
    if bar.mark is not None:
        lines.append(f'<path class="mark" stroke-width="2" d="M{mark:.1f} {top - 3:.1f}v{_BAR + 6}"/>')
    return lines


def number(value: float) -> str:
    """Format three figures, with separators: 1,234, 12.3, 0.123."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    kind = f' class="{style}"' if style else ""
    where = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}{where}>{escape(text)}</text>'
