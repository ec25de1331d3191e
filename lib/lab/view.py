"""A view and the controls that redraw it: in JupyterLab the two together, on a page without a
kernel the view alone."""

from collections.abc import Callable, Mapping
from html import escape

from IPython.display import HTML
from ipywidgets import HTML as Area
from ipywidgets import HBox, VBox, Widget

from lib.common.errors import InputError

WIDE = {"description_width": "initial"}
"""Style of a control whose name is not cut off."""


ROW = {"flex_flow": "row wrap", "grid_gap": "0 1.2rem"}
"""Layout of controls beside each other."""


class View:
    """Controls over a view. One output offers both: JupyterLab takes the widget, a page that runs
    nothing the HTML beside it."""

    def __init__(self, widget: Widget, static: str):
        self.widget, self.static = widget, static

    def _repr_mimebundle_(self, **_) -> dict:
        return {**self.widget._repr_mimebundle_(), "text/html": self.static}


def live(
    draw: Callable[..., list[HTML]],
    controls: dict[str, Widget],
    rows: list[list[Widget]],
    follow: Mapping[str, Callable[[], None]] = {},
) -> View:
    """What `draw` gives for the values of the controls, by name, drawn again at every change of
    one.

    Args: rows, how the controls stand; follow, what else moves when a control moves: it may set
    other controls, and the view is
        drawn once after that.
    """
    area, names = Area(), {control: name for name, control in controls.items()}
    moving = False

    def current() -> list[HTML]:
        return draw(**{name: control.value for name, control in controls.items()})

    def moved(change) -> None:
        nonlocal moving
        if moving:
            return
        moving = True
        try:
            first = follow.get(names[change.owner], lambda: None)
            area.value = shown(lambda: (first(), current())[1])
        finally:
            moving = False

    for control in controls.values():
        control.observe(moved, names="value")
    area.value = shown(current)
    return View(VBox([*(HBox(row, layout=ROW) for row in rows), area]), area.value)


def offer(control: Widget, options: list, value=None) -> None:
    """Give a list of choices, and choose `value`, or the first."""
    first = options[0] if options else None
    control.options = options
    control.value = value if value is not None else first[1] if isinstance(first, tuple) else first


def shown(draw: Callable[[], list[HTML]]) -> str:
    """The HTML of a view, or the one line that says why there is none."""
    try:
        return "".join(part.data for part in draw())
    except InputError as error:
        return said(str(error), "alert")
    except Exception as error:  # of a callback nothing would be seen anywhere else
        return said(f"{type(error).__name__}: {error}", "alert")


def said(line: str, role: str = "status") -> str:
    """A line of text as HTML; screen readers say an `alert` at once, a `status` when they have
    time."""
    return f'<p role="{role}" style="line-height: 1.5">{escape(line)}</p>'
