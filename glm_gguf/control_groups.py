"""The control groups of this process on Linux: where their limits stand, in both versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A directory with limits; the files in it have other names in version 2, which is `unified`."""

    directory: Path
    unified: bool


def control_groups(root: Path, controller: str) -> Iterator[ControlGroup]:
    """Yield the groups that limit this process, parents too; none where there is no Linux.

    Source: /proc/self/cgroup, a line `hierarchy:controllers:path` each; the controllers are empty in version 2.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / controllers
        group = top / path.lstrip("/")
        # In a container the path is the host's, but the container's group is mounted at the top.
        for place in (group, *(parent for parent in group.parents if parent.is_relative_to(top))):
            yield ControlGroup(place, unified=not controllers)
