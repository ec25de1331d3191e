"""The exceptions a user is meant to see: each is one line, also in a notebook."""


def _one_line(error: BaseException) -> list[str]:
    # IPython asks for this method first, so a notebook shows the one line and no wall of frames.
    return [f"{type(error).__name__}: {error}"]


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line: the file, the key, and what is
    allowed."""

    _render_traceback_ = _one_line


class Stopped(KeyboardInterrupt):
    """A training was asked to stop, by Ctrl-C or a cluster's cancel. The message says after which
    step, and what becomes of it."""

    _render_traceback_ = _one_line


class Diverged(FloatingPointError):
    """The loss, a gradient or a weight is no number any more, or the loss exploded: step, batch and
    last good checkpoint."""

    _render_traceback_ = _one_line
