"""The spec that builds settings again, where there is one."""

from __future__ import annotations

import dataclasses
from typing import Any

from tutelage.errors import ConfigError
from tutelage.specs import build, field_types, parse_spec, spell


def spec_of(name: str, settings: Any) -> str | None:
    """Return the spec of a settings dataclass, or ``None`` where a spec cannot hold it (a path with a comma).

    Args:
        name: The workload's spec name.
        settings: The dataclass.
    """
    kind: type = type(settings)
    kinds = field_types(kind)
    given = [
        f"{item.name}={spell(kinds[item.name], value)}"
        for item in dataclasses.fields(settings)
        if (value := getattr(settings, item.name)) != item.default
    ]
    spec = f"{name}:{','.join(given)}" if given else name
    try:
        return spec if build(kind, parse_spec(spec)) == settings else None
    except ConfigError:
        return None
