"""What stands in a drawn figure, for the tests of figures."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


def texts(figure) -> list[str]:
    return [
        t.get_text() for ax in figure.axes for t in [*ax.texts, *ax.get_yticklabels(), ax.title]
    ]


def overlaps(figure) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes share more than a sliver when the figure is drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    ticks = [
        (tick, axis.get_view_interval())
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for tick in axis.get_major_ticks()
    ]
    out_of_view = {
        id(tick.label1) for tick, ends in ticks if not min(ends) <= tick.get_loc() <= max(ends)
    }
    drawn = [
        t
        for t in figure.findobj(Text)
        if t.get_text().strip()
        and id(t) not in out_of_view
        and (t.axes is None or t.axes.get_visible())
    ]
    # The box of an annotation holds its thread too: ask for the letters only.
    boxes = [
        (t.get_text(), Text.get_window_extent(t, canvas.get_renderer()))
        for t in drawn
        if t.get_visible()
    ]
    return [
        (a, b)
        for i, (a, x) in enumerate(boxes)
        for b, y in boxes[i + 1 :]
        if min(x.x1, y.x1) - max(x.x0, y.x0) > 1 and min(x.y1, y.y1) - max(x.y0, y.y0) > 2
    ]
