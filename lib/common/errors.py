"""The exceptions that a user is meant to see. Each is one line, also in a notebook."""


def _one_line(error: BaseException) -> list[str]:
    # IPython calls this method where there is one, and shows its lines instead of a traceback.
    return [f"{type(error).__name__}: {error}"]


class InputError(ValueError):
    """Something that the user gave is wrong. The message is one line: the file, the key, and what
    is allowed."""

    _render_traceback_ = _one_line


class Stopped(KeyboardInterrupt):
    """A training was asked to stop, by Ctrl-C or by a cluster. The message says after which step,
    and how it continues."""

    _render_traceback_ = _one_line


class Diverged(FloatingPointError):
    """The loss, a gradient or a weight is not finite, or the loss exploded. The message says the
    step, the batch and the last good checkpoint."""

    _render_traceback_ = _one_line
