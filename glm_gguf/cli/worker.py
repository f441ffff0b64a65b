"""`glm-gguf worker`: lend this machine to a model that runs elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from glm_gguf.cli.amounts import SIZE
from glm_gguf.cli.completed_values import devices
from glm_gguf.cli.listener import listener
from glm_gguf.cli.printable import say
from glm_gguf.cli.size_text import size_text
from glm_gguf.cli.termination import terminable
from glm_gguf.cpus import usable_cores
from glm_gguf.errors import OutputError, RequestError
from glm_gguf.home_directory import user_path
from glm_gguf.workers.address import DEFAULT_PORT, LOOPBACK, Address, is_loopback
from glm_gguf.workers.block_cache import BlockCache

CACHE_SIZE = 64 * 10**9


@click.command(name="worker")
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--threads", type=click.IntRange(1, 512), metavar="N", help="CPU threads. Default: all but slow cores.")
@click.option(
    "--device",
    metavar="NAME",
    multiple=True,
    shell_complete=devices,
    help="GPU to lend, such as CUDA0; may be repeated. Default: all, or the CPU where there is none.",
)
@click.option(
    "--memory",
    type=SIZE,
    metavar="SIZE",
    help="Memory to lend a client at most, of each device. Default: what is free.",
)
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where to keep weights, so that they are sent once. Default: in the user's cache directory.",
)
@click.option("--cache-size", type=SIZE, metavar="SIZE", help="Size of what is kept at most. Default: 64G.")
@click.option("--no-cache", is_flag=True, help="Keep no weights.")
def command(
    host: str,
    port: int,
    threads: int | None,
    device: tuple[str, ...],
    memory: float | None,
    cache_dir: Path | None,
    cache_size: float | None,
    no_cache: bool,
) -> None:
    """Lend this machine's memory and processors to a model that runs elsewhere, with --worker HOST:PORT there.

    It needs no model file: it gets the layers that it computes. Both machines need the same version.

    Whoever reaches the port may use this machine, and there is no encryption. It listens on this machine alone unless
    --host says otherwise; docs/workers.md tells how to reach it through SSH. Ctrl-C ends it.
    """
    from glm_gguf.llama.devices import named_gpus, rpc_function
    from glm_gguf.llama.required_version import VERSION
    from glm_gguf.workers.lent_session import Lent
    from glm_gguf.workers.worker_port import Lending, WorkerPort

    rpc_function("ggml_backend_rpc_start_server", None)  # raises where there is none
    if device:
        named_gpus(device)
    for name, given in (("--cache-dir", cache_dir), ("--cache-size", cache_size)):
        if no_cache and given is not None:
            raise RequestError("nothing is kept", field=name, fix="leave out one of it and --no-cache")
    cache_size = CACHE_SIZE if cache_size is None else cache_size
    cache = None if no_cache else _cache(cache_dir, int(cache_size))
    lent = Lent(threads or usable_cores(), device, None if memory is None else int(memory))
    with terminable(), listener(host, port) as listening:
        where = Address(host, listening.getsockname()[1])
        if not is_loopback(host):
            _warn(where)
        kept = "keeps no weights" if cache is None else f"keeps up to {size_text(int(cache_size))} of weights"
        click.echo(f"worker at {where}, {kept}; Ctrl-C ends it", err=True)
        with WorkerPort(listening, Lending(lent, cache, VERSION), say) as served:
            served.run()


def _warn(where: Address) -> None:
    lines = (
        f"WARNING: everyone who reaches {where} may use this machine's memory and processors,",
        "and may send ggml's RPC server messages that it was never hardened against. Nothing is encrypted.",
        "Listen so in a network of your own alone; else use the default address and an SSH tunnel (docs/workers.md).",
    )
    for line in lines:
        click.secho(line, err=True, fg="red", bold=True)


def _cache(directory: Path | None, most_bytes: int) -> BlockCache | None:
    """Open the directory of weights; None where the user has no cache directory."""
    found = directory
    if found is None and (users := user_path("cache")) is not None:
        found = users / "worker"
    if found is None:
        return None
    try:
        return BlockCache(found, most_bytes)
    except OSError as error:
        what = f"weights cannot be kept there ({error.strerror})"
        raise OutputError(what, path=found, fix="give another --cache-dir, or --no-cache") from error
