"""Controls that redraw a view in JupyterLab, and the view alone on a page without a kernel."""

from collections.abc import Callable, Mapping
from html import escape

from IPython.display import HTML, Markdown
from ipywidgets import HTML as Area
from ipywidgets import HBox, VBox, Widget

from lib.common.errors import InputError
from lib.report.page import show

ROW = {"flex_flow": "row wrap", "grid_gap": "0 1.2rem"}
"""Layout of controls in a row."""


class View:
    """Controls over a view. Its output offers both: JupyterLab shows the widget, a page that runs
    nothing shows the HTML."""

    def __init__(self, widget: Widget, static: str):
        self.widget, self.static = widget, static

    def _repr_mimebundle_(self, **_) -> dict:
        return {**self.widget._repr_mimebundle_(), "text/html": self.static}


def live(
    draw: Callable[..., list[HTML]],
    controls: dict[str, Widget],
    rows: list[list[Widget]],
    before: Mapping[str, Callable[[], None]] = {},
) -> View:
    """The output of `draw(**values of the controls)`, drawn again whenever a control changes.

    rows: how the controls are arranged.
    before: what to do when a control changes, before drawing; it may set other controls.
    """
    area, names = Area(), {control: name for name, control in controls.items()}
    busy = False

    def current(changed: str = "") -> list[HTML]:
        if changed in before:
            before[changed]()
        return draw(**{name: control.value for name, control in controls.items()})

    def redraw(change) -> None:
        nonlocal busy
        if busy:  # `before` is setting this control
            return
        busy = True
        area.value = render(lambda: current(names[change.owner]))
        busy = False

    for control in controls.values():
        control.observe(redraw, names="value")
    area.value = render(current)
    return View(VBox([*(HBox(row, layout=ROW) for row in rows), area]), area.value)


def control(kind: type[Widget], name: str, width: str = "", **settings) -> Widget:
    """A control whose name is not cut off."""
    layout = {"width": width} if width else {}
    style = {"description_width": "initial"}
    return kind(description=name, style=style, layout=layout, **settings)


def offer(control: Widget, options: list, value=None) -> None:
    """Set a control's options, and choose `value` or the first."""
    control.options = options
    if value is None and options:
        value = options[0][1] if isinstance(options[0], tuple) else options[0]
    control.value = value


def render(draw: Callable[[], list[HTML]]) -> str:
    """The HTML of a view, or one line with the error."""
    try:
        return "".join(part.data for part in draw())
    except InputError as error:
        return message(str(error), "alert")
    except Exception as error:  # an error in a callback is shown nowhere else
        return message(f"{type(error).__name__}: {error}", "alert")


def message(text: str, role: str = "status") -> str:
    """A line of text as HTML. Screen readers read an `alert` at once, a `status` when they are
    idle."""
    return f'<p role="{role}" style="line-height: 1.5">{escape(text)}</p>'


def nothing_yet(problem: str) -> Markdown:
    """What a widget shows instead of itself while its data are missing."""
    return show.prose(
        f"{problem} yet: run `make report` first, or `make report STUDIES=herbert` (some minutes), "
        f"then this cell again."
    )
