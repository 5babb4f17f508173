"""Pictures: the file's name checked before any work, one look, and written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError
from tutelage.storage import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Endings of a picture's name.
ENDINGS = (".svg", ".png", ".pdf")
#: Colours of lines, in order; told apart by people who see colours in other ways too.
COLOURS = ("#0067b1", "#c8500a", "#00805e", "#a8478a", "#8a6a00", "#6a4fb3", "#b02a37")


def picture_path(path: str | Path) -> Path:
    """Return where a picture goes.

    Raises:
        ConfigError: Another ending than ``.svg``, ``.png`` or ``.pdf``, or a folder that does not exist.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ConfigError(f"--plot {path}: the name must end in {', '.join(ENDINGS)}.")
    if not path.parent.is_dir():
        raise ConfigError(f"--plot {path}: there is no folder {path.parent}.")
    return path


def new_figure(width: float = 8, height: float = 4.5) -> Figure:
    """Return an empty figure of a size in inches, which needs no screen."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure, its axes open to the top and the right; the same figure gives the same file.

    Raises:
        StorageFull: No space is left; an older file at ``path`` is intact.
    """
    import matplotlib

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    # Without a date and with fixed ids, an unchanged figure gives an unchanged file.
    metadata: dict[str, Any] = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with matplotlib.rc_context({"svg.hashsalt": "tutelage", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=path.suffix[1:], metadata=metadata[path.suffix])
    write_atomically(path, buffer.getvalue())
