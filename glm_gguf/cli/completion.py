"""`glm-gguf completion`: the script by which a shell completes commands, options and names."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

COMPLETE_VARIABLE: Final = "_GLM_GGUF_COMPLETE"
SHELLS: Final = ("bash", "zsh", "fish")


@click.command(name="completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script for SHELL, by which Tab completes commands, options, types, GPUs and models of the store.

    \b
    bash  eval "$(glm-gguf completion bash)"      in ~/.bashrc
    zsh   eval "$(glm-gguf completion zsh)"       in ~/.zshrc, behind compinit
    fish  glm-gguf completion fish | source       in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    group = click.get_current_context().find_root().command
    click.echo(kind(group, {}, "glm-gguf", COMPLETE_VARIABLE).source(), nl=False)
