"""How every picture looks: one color per cluster, one mark per estimator, quiet axes.

Pictures are made without pyplot, so that none is left open and no global setting is changed.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK = "#1f2933"
MUTED = "#616e7c"
LINES = "#e4e7eb"
BAND = "#9aa5b1"

# Okabe and Ito's palette, which color-blind people can tell apart, without its yellow and black,
# and two of Paul Tol's.
PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#7A7F1E",
)
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
# Shape, face and height above an interval bar: estimates that coincide hide no other.
ESTIMATORS = (("v", INK, 0.13), ("^", "#FFFFFF", -0.13), ("o", BAND, 0.0), ("D", "#FFFFFF", 0.0))

TEXT = 9
SMALL = 8
DOTS_PER_INCH = 150


class Picture(Figure):
    """A figure that a notebook shows although pyplot doesn't know it."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def picture(width: float, height: float) -> Picture:
    """Make an empty figure."""
    figure = Picture(
        figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white"
    )
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)  # type: ignore[call-arg, union-attr]
    return figure


def short(name: str, most: int = 28) -> str:
    """Cut a long name in its middle: names that are alike at the start often differ at the end."""
    if len(name) <= most:
        return name
    end = most // 3
    return f"{name[: most - end - 1]}…{name[-end:]}"


def color(cluster: int) -> str:
    """Color of a cluster, the same in all pictures."""
    return PALETTE[cluster % len(PALETTE)]


def marker(cluster: int) -> str:
    """Mark of a cluster: it changes where the colors start again."""
    return MARKERS[cluster // len(PALETTE) % len(MARKERS)]


def blend(one: str, other: str, share: float) -> tuple[float, ...]:
    """Mix two colors, `share` of the first."""
    pairs = zip(to_rgb(one), to_rgb(other), strict=True)
    return tuple(share * a + (1 - share) * b for a, b in pairs)


def estimator_mark(position: int) -> dict[str, Any]:
    """Mark of the first, second, ... point estimate, as arguments of ``Axes.plot``."""
    shape, face, _ = ESTIMATORS[position % len(ESTIMATORS)]
    return {
        "marker": shape,
        "markersize": 6.5,
        "markerfacecolor": face,
        "markeredgecolor": INK,
        "markeredgewidth": 1.0,
        "linestyle": "none",
    }


def estimator_height(position: int) -> float:
    """How far above an interval bar the mark is drawn, where the posterior's peak is at 1."""
    return ESTIMATORS[position % len(ESTIMATORS)][2]


def tidy(
    axes: Axes,
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    grid: str | None = "both",
    ticks: int = 6,
    heights: bool = True,
) -> None:
    """Give axes their labels and a light look; without `heights` they have no vertical scale.

    Settings are made on the axes themselves: matplotlib makes ticks late, when a temporary
    rcParams would be gone.
    """
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(BAND)
        spine.set_linewidth(0.8)
    axes.tick_params(labelsize=SMALL, color=BAND, labelcolor=MUTED, length=3, width=0.8)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "linear":
            axis.set_major_locator(MaxNLocator(ticks))
    if grid:
        axes.grid(True, axis=grid, color=LINES, linewidth=0.8)  # type: ignore[arg-type]
    if not heights:
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    axes.set_xlabel(xlabel, fontsize=TEXT, color=INK)
    axes.set_ylabel(ylabel, fontsize=TEXT, color=INK)
    if title:
        axes.set_title(title, fontsize=TEXT, color=INK, loc="left", pad=6)


def headline(figure: Figure, title: str, note: str = "") -> None:
    """Write the title of a figure, and under it what the reader must know."""
    text = f"{title}\n{note}" if note else title
    figure.suptitle(text, fontsize=TEXT + 1, color=INK, x=0.01, ha="left")


def key(figure: Figure, handles: Sequence[Any], columns: int = 4) -> None:
    """Put the legend under the panels, where it covers nothing."""
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=min(columns, max(len(handles), 1)),
        fontsize=SMALL,
        labelcolor=INK,
        frameon=False,
        handlelength=1.6,
        columnspacing=1.4,
    )


def key_in(axes: Axes, handles: Sequence[Any]) -> None:
    """Put the legend where a grid of panels has a place to spare."""
    axes.set_axis_off()
    axes.legend(handles=list(handles), loc="center", fontsize=SMALL, labelcolor=INK, frameon=False)
