"""Figures of the herbert study. They take their ink from matplotlib's settings, so that they follow light or dark."""

import pandas as pd

from lib.claims import MEAN
from lib.figures import DIAMOND, draw_lines, ink, leave_room_for_numbers, legend, panels, plain, seeds_row
from lib.herbert import ABOUT, PROTOCOLS, SCENARIOS, TASKS, herbert_scores, paper_scores
from lib.ledger_herbert import HERBERT_TASKS
from lib.statistics import pm

COLOURS = {  # Okabe and Ito's; T1, which is not here, is drawn in the ink of the page
    "S0": "#e69f00",
    "S1": "#d55e00",
    "S2": "#56b4e9",
    "S3": "#0072b2",
    "S4": "#009e73",
    "truncated": "#cc79a7",
    "T2": "#a0845c",
}


def figure_tasks(results: pd.DataFrame, protocol: str = "final"):
    """Accuracy by scenario: a panel per task and one for their mean. Dots are seeds, bars mean and 95 % interval.

    Hollow grey diamonds are the paper's single runs (at T1 a test score). The numbers are mean ± half-width.
    """
    theirs, tasks = paper_scores(), [*HERBERT_TASKS, MEAN]
    ours = {name: herbert_scores(results, name, protocol) for name in SCENARIOS}
    shown = [name for name in SCENARIOS if len(ours[name])]
    figure, axes = panels(len(tasks), row_height=0.55 + 0.36 * max(len(shown), 1), sharey=True)
    for ax, task in zip(axes, tasks):
        for row, name in enumerate(shown):
            values = ours[name][task]
            seeds_row(ax, values, row, COLOURS.get(name, ink()))
            if name in theirs.index:
                ax.plot(theirs.loc[name, task], row + 0.1, **DIAMOND)
            ax.text(1.0, row, pm(values), transform=ax.get_yaxis_transform(), ha="right", va="center", fontsize=8)
        leave_room_for_numbers(ax)
        plain(ax, TASKS.get(task, task), grid="x")
        ax.spines["left"].set_visible(False)
    axes[0].set_yticks(range(len(shown)), [f"{name}\n{ABOUT[name]}" for name in shown])
    axes[0].set_ylim(max(len(shown), 1) - 0.5, -0.5)
    for ax in axes:
        ax.tick_params(axis="y", labelsize=7.5)
    figure.supxlabel(f"accuracy in percent, {PROTOCOLS[protocol]}", fontsize=9)
    legend(figure, "the paper: best epoch on dev; at T1 a test score")
    return figure


def figure_finetuning(epochs: pd.DataFrame):
    """Accuracy after each fine-tuning epoch, per task and for their mean. Thin lines are seeds, thick ones their mean.

    Columns: scenario, task, seed, epoch (from 1), value (percent).
    """
    from matplotlib.ticker import MaxNLocator

    wide = epochs.pivot_table(index=["scenario", "seed", "epoch"], columns="task", values="value")
    wide = wide.reindex(columns=HERBERT_TASKS)
    wide[MEAN] = wide.mean(axis=1, skipna=False)
    figure, axes = panels(4, row_height=2.7)
    for ax, task in zip(axes, wide.columns):
        runs = wide[task].dropna()
        for (name, _), run in runs.groupby(["scenario", "seed"]):
            ax.plot(run.index.get_level_values("epoch"), run, color=COLOURS.get(name, ink()), lw=0.6, alpha=0.3)
        draw_lines(ax, runs.groupby(["epoch", "scenario"]).mean().unstack(), width=1.8, gap=0.063, colours=COLOURS)
        plain(ax, TASKS.get(task, task), grid="y")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supylabel("accuracy in percent", fontsize=9)
    figure.supxlabel("fine-tuning epoch", fontsize=9)
    return figure


def describe_finetuning(epochs: pd.DataFrame) -> str:
    """The figure of epochs in words: every scenario's mean over tasks and seeds after the first and the last epoch."""
    means = epochs.groupby(["scenario", "epoch"], sort=False)["value"].mean()
    spoken = [
        f"{name} {at.iloc[0]:.1f} to {at.iloc[-1]:.1f}" for name, at in means.groupby(level="scenario", sort=False)
    ]
    return f"Accuracy by epoch and task, a line a scenario. From the first epoch to the last: {', '.join(spoken)}."
