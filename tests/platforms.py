"""Linux without what macOS and Windows lack, for a process that has not imported glm_gguf yet."""

from __future__ import annotations

import builtins
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LINUX_ALONE = {
    os: (
        *("fdatasync", "posix_fallocate", "posix_fadvise", "RWF_NOWAIT", "sched_getaffinity", "sched_setaffinity"),
        *("copy_file_range", "O_TMPFILE", "O_DIRECT", "eventfd", "memfd_create", "splice", "pidfd_open"),
        *("POSIX_FADV_RANDOM", "POSIX_FADV_WILLNEED", "POSIX_FADV_DONTNEED"),
    ),
    mmap: ("MADV_HUGEPAGE",),
    signal: ("SIGPWR", "SIGSTKFLT", "SIGPOLL"),
}
"""What macOS lacks."""

POSIX_ALONE = {
    os: (
        *("pread", "pwrite", "preadv", "pwritev", "fork", "mkfifo", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"),
        *("O_DIRECTORY", "sysconf", "sysconf_names", "getuid", "geteuid", "getpgid", "setsid", "getloadavg"),
        *("fchmod", "fchown", "chown", "register_at_fork", "WNOHANG"),
    ),
    signal: ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "setitimer"),
    socket: ("SO_REUSEPORT",),
}
"""What Windows lacks beside that, without what the event loop of this system is made of."""

NO_MODULES = ("fcntl", "resource", "termios", "tty", "pwd", "grp", "readline", "syslog", "pty")


def become(platform: str) -> None:
    """Take away what `platform` (darwin or win32) does not have, and refuse what it refuses."""
    _import_others()
    _hide_files("/proc", "/sys")
    _take(LINUX_ALONE)
    if platform == "win32":
        _take(POSIX_ALONE)
        for name in NO_MODULES:
            sys.modules[name] = None  # type: ignore[assignment]
        for name in ("replace", "rename", "unlink", "remove"):
            setattr(os, name, _refusing_open_files(getattr(os, name)))


def _import_others() -> None:
    """The libraries that would look for Windows' own calls as soon as they are imported."""
    import asyncio.unix_events
    import multiprocessing.util
    import subprocess
    import tempfile

    import click.testing
    import gguf
    import httpx
    import huggingface_hub
    import llama_cpp
    import numba
    import numpy
    import psutil
    import rich.progress
    import uvicorn

    imported = (asyncio, multiprocessing, subprocess, tempfile, click, gguf, httpx, huggingface_hub, llama_cpp)
    assert all((*imported, numba, numpy, rich, uvicorn))
    memory = psutil.virtual_memory()  # which it asks the system's own calls for elsewhere
    psutil.virtual_memory = lambda: memory


def _take(names: dict[Any, tuple[str, ...]]) -> None:
    for module, attributes in names.items():
        for name in attributes:
            if hasattr(module, name):
                delattr(module, name)


def _hide_files(*roots: str) -> None:
    """Let nothing be found below the roots, by the ways in which it is looked for."""

    def hiding(call: Callable[..., Any]) -> Callable[..., Any]:
        def hidden(path: Any, *arguments: Any, **options: Any) -> Any:
            if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(roots):
                raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
            return call(path, *arguments, **options)

        return hidden

    builtins.open = hiding(builtins.open)
    os.stat = hiding(os.stat)
    Path.open = hiding(Path.open)  # type: ignore[method-assign]


LIST = os.listdir
READ = os.readlink


def _refusing_open_files(call: Callable[..., Any]) -> Callable[..., Any]:
    """Windows neither renames, replaces nor removes a file that is open or mapped, nor opens a directory."""

    def refusing(*paths: Any, **options: Any) -> Any:
        ours = {os.path.abspath(os.fspath(path)) for path in paths if not isinstance(path, int)}
        if options.get("dir_fd") is None and ours & _open_files():
            raise PermissionError(13, "The process cannot access the file", str(paths[0]))
        return call(*paths, **options)

    return refusing


def _open_files() -> set[str]:
    files = set()
    for number in LIST("/proc/self/fd"):
        try:
            files.add(READ(f"/proc/self/fd/{number}"))
        except OSError:  # the one that lists
            continue
    for entry in LIST("/proc/self/map_files"):
        try:
            files.add(READ(f"/proc/self/map_files/{entry}"))
        except OSError:
            continue
    return files
