"""The one exception a user is meant to see."""


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line: the file, the key, and what is allowed."""

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this method first, so a notebook shows the one line and no wall of frames.
        return [f"InputError: {self}"]
