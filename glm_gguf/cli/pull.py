"""`glm-gguf pull`: fetch a model into the store."""

from __future__ import annotations

import json

import click

from glm_gguf.cli.completed_values import file_types, short_names
from glm_gguf.cli.model_json import model_json
from glm_gguf.cli.termination import terminable
from glm_gguf.cli.user_store import user_store
from glm_gguf.gguf_file.report import finding_json
from glm_gguf.store.known_models import DEFAULT_TYPE, KNOWN_MODELS

SHORT_NAMES = "\b\nShort names:\n" + "\n".join(
    f"  {name:<22} {known.source.partition('://')[2]:<34} {known.about}" for name, known in KNOWN_MODELS.items()
)


@click.command(name="pull", epilog=SHORT_NAMES)
@click.argument("model", shell_complete=short_names)
@click.option(
    "--type",
    "type_",
    metavar="TYPE",
    shell_complete=file_types,
    help=f"File type. Of a short name by default {DEFAULT_TYPE}.",
)
@click.option("--force", is_flag=True, help="Fetch again what is not, or no longer, what the hub has.")
@click.option("--json", "as_json", is_flag=True, help="Print the model as a JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the name of the model.")
def command(model: str, type_: str | None, force: bool, as_json: bool, quiet: bool) -> None:
    """Fetch MODEL into the store, from which chat, run, serve and others take it by its name.

    MODEL is hf://OWNER/NAME or ms://OWNER/NAME, with @REVISION and :TYPE or without, or a short name. Of a repository
    with GGUFs it fetches the one of that type. A checkpoint in safetensors is converted to TYPE while it streams.

    The same command goes on after an interruption. The environment variable GLM_GGUF_STORE names another directory.
    """
    from glm_gguf.cli.pull_view import QuietView, pull_view, tell_of_faults
    from glm_gguf.store.model_address import to_pull
    from glm_gguf.store.pull import pull

    address, store = to_pull(model, type_), user_store()
    store.models()  # a store that cannot be read is an error before a hub is asked
    with terminable():
        if quiet:
            pulled = pull(store, address, QuietView(), force=force)
        else:
            with pull_view() as view:
                pulled = pull(store, address, view, force=force)
    if as_json:
        found = {"was_there": pulled.was_there, "newer_commit": pulled.newer_commit}
        findings = [finding_json(finding) for finding in pulled.findings]
        click.echo(json.dumps({**model_json(pulled.model), **found, "findings": findings}, indent=2))
        return
    click.echo(pulled.model.name)
    if not quiet:
        tell_of_faults(pulled)
        state = "is there already" if pulled.was_there else "is in the store"
        name = model if model in KNOWN_MODELS and store.look_up(model) == pulled.model else pulled.model.name
        click.echo(f"{pulled.model.path} {state}; next: glm-gguf chat {name}", err=True)
