"""Figures of the ablation study (002, Table 4). Ours in colour, the paper's own numbers hollow and grey."""

import pandas as pd

from lib import papers
from lib.ablation import ABOUT, TEMPERATURES, macro
from lib.figures import DIAMOND, ink, leave_room_for_numbers, legend, panels, plain, seeds_column, seeds_row
from lib.statistics import interval, paired_differences
from lib.wording import with_interval

COLOURS = {  # Okabe and Ito's; the teacher, which is not here, is drawn in the ink of the page
    "triple": "#0072b2",
    "without_soft": "#d55e00",
    "without_cosine": "#e69f00",
    "without_mlm": "#56b4e9",
    "random_init": "#cc79a7",
    "equal_weights": "#009e73",
    "layers_to_top": "#a0845c",
    "temperature1": "#0072b2",  # triple's, whose temperature is 2: told apart by their dashes
    "temperature4": "#0072b2",
    "temperature8": "#0072b2",
}


def figure_ablation(results: pd.DataFrame):
    """Change of the macro score against `triple`, in points: a row per scenario, paired differences by seed."""
    changes, triple = papers.table("002", "ablation")["glue_change"], macro(results, "triple")
    gone = {name: paired_differences(macro(results, name), triple) for name in ABOUT if name != "triple"}
    shown = [name for name in gone if len(gone[name])]
    figure, (ax,) = panels(1, row_height=0.9 + 0.36 * max(len(shown), 1))
    for row, name in enumerate(shown):
        seeds_row(ax, gone[name], row, COLOURS.get(name, ink()))
        if name in changes.index:
            ax.plot(changes[name], row + 0.1, **DIAMOND)
        text = with_interval(interval(gone[name]), 2)
        ax.text(1.0, row, text, transform=ax.get_yaxis_transform(), ha="right", va="center", fontsize=8)
    ax.plot([0], [-0.4], ls="")  # zero belongs on the axis, wherever the differences lie
    leave_room_for_numbers(ax)
    ax.axvline(0, color=ink(), lw=0.8, alpha=0.6, zorder=1)
    plain(ax, "", grid="x")
    ax.spines["left"].set_visible(False)
    ax.set_yticks(range(len(shown)), [ABOUT[name] for name in shown], fontsize=8)
    ax.set_ylim(max(len(shown), 1) - 0.5, -0.5)
    ax.set_xlabel("macro score less that of the triple loss, points", fontsize=9)
    legend(figure, "the paper")
    return figure


def figure_temperature(results: pd.DataFrame):
    """Macro score in percent against the temperature of the soft targets, on a logarithmic axis."""
    figure, (ax,) = panels(1, row_height=2.4)
    means = {}
    for name, temperature in TEMPERATURES.items():
        ours = macro(results, name)
        if len(ours):
            seeds_column(ax, ours, temperature, COLOURS["triple"], offset=0.95)
            means[temperature] = ours.mean()
    ax.plot(list(means), list(means.values()), color=COLOURS["triple"], lw=1, alpha=0.6, zorder=1)
    plain(ax, "", grid="y")
    ax.set_xscale("log", base=2)
    ax.set_xlim(0.8, 10)
    ax.set_xticks(list(TEMPERATURES.values()), [str(temperature) for temperature in TEMPERATURES.values()])
    ax.minorticks_off()
    ax.set_xlabel("temperature", fontsize=9)
    ax.set_ylabel("macro score in percent", fontsize=9)
    return figure


def describe_temperature(results: pd.DataFrame) -> str:
    """The figure of temperatures in words."""
    means = {t: macro(results, name).mean() for name, t in TEMPERATURES.items()}
    spoken = ", ".join(f"{value:.1f} at {t}" for t, value in means.items() if value == value)
    return f"Macro score by temperature: {spoken or 'nothing measured'}."
