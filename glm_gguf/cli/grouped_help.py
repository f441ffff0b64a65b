"""Options in groups: `--help` shows a command's own first, then the others under their headings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


class GroupedOption(click.Option):
    """An option that is shown under the heading `group`."""

    def __init__(self, *declarations: Any, group: str, **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help has a section for every group of options; those without a group are its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then the groups in the order of their first options."""
        rows: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and row is not None:
                group = parameter.group if isinstance(parameter, GroupedOption) else "Options"
                rows.setdefault(group, []).append(row)
        for heading, records in rows.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=28)


def grouped_option(group: str, *declarations: str, **attributes: Any) -> Callable[[Function], Function]:
    """Add an option under the heading `group`, as click.option does."""
    return click.option(*declarations, cls=GroupedOption, group=group, **attributes)
