"""What a run is: everything that decides its output. A run is continued, and shards are joined, only where this agrees."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cgfast._files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "manifest.json"
# Of the input, what goes into the output: the rest differs between copies of the same files.
_SHOWN = ("files", "bytes", "crystals", "reader", "rows", "content")
_MAX_NAMED = 3


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write `manifest` into the folder of a run's parts, whole or not at all."""
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest in the folder; None if there is none that can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def output_metadata(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What of the manifest goes into the output, where it must be the same for equal runs on equal files."""
    shown = {key: value for key, value in manifest["input"].items() if key in _SHOWN}
    return {**manifest, "input": shown}


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in words how two manifests differ; empty if they do not."""
    now = json.loads(json.dumps(now))
    found = [
        f"{key} was {then.get(key)}, is {now.get(key)}"
        for key in ("version", "device", "batch_atoms")
        if then.get(key) != now.get(key)
    ]
    found += _models(then.get("models", []), now.get("models", []))
    before, after = then.get("options", {}), now.get("options", {})
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            found.append(f"{key} was {_shown(before.get(key))}, is {_shown(after.get(key))}")
    return found + _input(then.get("input", {}), now.get("input", {}))


def unverifiable(manifest: Mapping[str, Any]) -> list[str]:
    """Names of models without a hash: whether they are the same as before nobody can tell."""
    return [model["name"] for model in manifest.get("models", []) if not model.get("sha256")]


def _models(then: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    names_then, names_now = [model["name"] for model in then], [model["name"] for model in now]
    if names_then != names_now:
        return [f"the models were {', '.join(names_then)}, are {', '.join(names_now)}"]
    found = []
    for old, new in zip(then, now, strict=True):
        if old["sha256"] != new["sha256"]:
            found.append(f"the model {new['name']} has other weights ({old['sha256'][:8]}, now {new['sha256'][:8]})")
        elif old["graph"] != new["graph"]:
            changed = [
                f"{key} was {_shown(old['graph'].get(key))}, is {_shown(value)}"
                for key, value in new["graph"].items()
                if old["graph"].get(key) != value
            ]
            found.append(f"the graph of {new['name']} differs: {', '.join(changed)}")
        elif old != new:
            found.append(f"the columns of {new['name']} differ")
    return found


def _input(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    if then == now:
        return []
    for key in ("files", "crystals", "rows"):
        if then.get(key) != now.get(key):
            return [f"the number of {key} of the input was {_shown(then.get(key))}, is {_shown(now.get(key))}"]
    before, after = then.get("listed", []), now.get("listed", [])
    names = [
        f"{new[0]}" if old[0] == new[0] else f"{old[0]}, now {new[0]}"
        for old, new in zip(before, after, strict=False)
        if old != new
    ]
    if names:
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        return [f"the input has changed ({', '.join(names[:_MAX_NAMED])}{more})"]
    return ["the input has changed"]


def _shown(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return "not given" if value is None else str(value)
