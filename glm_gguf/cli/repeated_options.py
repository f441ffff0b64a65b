"""Options of one value that are given twice: click would take the last one, and pass the first over in silence."""

from __future__ import annotations

from collections.abc import Sequence

import click

from glm_gguf.errors import RequestError


def require_single(command: click.Command, arguments: Sequence[str], parent: click.Context) -> None:
    """Raise RequestError for an option that is given twice and has one value; another mistake is click's to tell."""
    context = command.context_class(command, parent=parent, **command.context_settings)
    try:
        _, _, given = command.make_parser(context).parse_args(args=[*arguments])
    except click.UsageError:
        return
    if any(parameter.is_eager for parameter in given):  # --help is answered whatever stands beside it
        return
    for parameter in dict.fromkeys(given):
        if given.count(parameter) > 1 and _has_one_value(parameter):
            name = max(parameter.opts, key=len)
            raise RequestError(f"it is given {given.count(parameter)} times", field=name, fix="give it once")


def _has_one_value(parameter: click.Parameter) -> bool:
    """Tell whether a second use of a parameter would replace the first; that of a switch says the same again."""
    return isinstance(parameter, click.Option) and not (parameter.multiple or parameter.count or parameter.is_flag)
