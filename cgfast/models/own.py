"""Our own models that come with cgfast: folders of the package, found by looking."""

from __future__ import annotations

from pathlib import Path

PREFIX = "cgfast/"
DEFAULT_MODEL = "cgfast/formation-energy"
WEIGHTS_FOLDER = Path(__file__).resolve().parent / "weights"


def own_names() -> list[str]:
    """The names `cgfast/<property>` of the models in this installation, in alphabetical order."""
    folder = WEIGHTS_FOLDER
    if not folder.is_dir():
        return []
    return [PREFIX + path.name for path in sorted(folder.iterdir()) if (path / "model.json").is_file()]


def own_folder(name: str) -> Path:
    """The checkpoint folder of one of own_names()."""
    return WEIGHTS_FOLDER / name.removeprefix(PREFIX)
