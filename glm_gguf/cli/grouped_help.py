"""Options in groups: `--help` shows a command's own first, then those it shares with others, under their headings."""

from __future__ import annotations

from typing import Any

import click


class GroupedOption(click.Option):
    """An option that is shown under the heading `group`."""

    def __init__(self, *declarations: Any, group: str, **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help has a section for every group of options, in the order of their names in `groups`."""

    groups = ("Sampling", "Model and engine")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections; options without a group are the command's own."""
        rows: dict[str, list[tuple[str, str]]] = {group: [] for group in ("Options", *self.groups)}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and row is not None:
                rows[parameter.group if isinstance(parameter, GroupedOption) else "Options"].append(row)
        for heading, records in rows.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records, col_max=26)
