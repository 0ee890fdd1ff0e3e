"""Bundles: config.json, and the name that it may have for the container.

Format: OCI runtime specification, "Filesystem Bundle" and "Configuration".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from conmon.host.place import Place

_LIMIT = 16 << 20

# Annotations in which engines keep the name that people gave
_NAMES = (
    "io.kubernetes.cri-o.ContainerName",
    "io.kubernetes.cri-o.Name",
    "io.kubernetes.cri.container-name",
    "nerdctl/name",
)


def read_config(place: Place, bundle: str) -> str | None:
    """The text of the bundle's config.json, None if it cannot be read."""
    try:
        return place.read(f"{bundle}/config.json", _LIMIT).decode(errors="surrogateescape")
    except OSError:
        return None


def parse_config(text: str | None) -> Mapping[str, Any] | None:
    """The configuration as Python objects; None if it is no JSON object."""
    try:
        config = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) else None


def name_of(config: Mapping[str, Any] | None) -> str:
    """The container's name by the annotations, empty if they have none."""
    annotations = (config or {}).get("annotations")
    if not isinstance(annotations, dict):
        return ""
    found = (annotations.get(key) for key in _NAMES)
    return next((name for name in found if isinstance(name, str) and name), "")
