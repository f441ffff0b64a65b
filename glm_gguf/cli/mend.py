"""`glm-gguf mend`: keys of a GGUF file that are at fault, put right."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from glm_gguf.cli.inspect import PROBLEM_EXIT, finding_lines, value_text
from glm_gguf.cli.printable import print_line, say
from glm_gguf.cli.termination import terminable
from glm_gguf.cli.user_store import user_store
from glm_gguf.errors import StoreError
from glm_gguf.gguf_file.finding import Severity
from glm_gguf.gguf_file.head_replacement import restore_head
from glm_gguf.gguf_file.mending import MendedKey, Mending, require_own_file
from glm_gguf.gguf_file.parts import first_by_name, open_all_parts
from glm_gguf.gguf_file.values import NumberArray, Value, type_label

SHOWN: Final = 4
"""Items of an array that are shown."""


@click.command(name="mend")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--dry-run", is_flag=True, help="Show each key before and after, and change nothing.")
def command(file: Path, dry_run: bool) -> None:
    """Put right what inspect finds in FILE, where its keys alone are at fault.

    Keys change in place, and the weights stay. Where the new keys need more room, a copy takes the file's name. Of a
    split model, name any part. An interrupted mend leaves FILE.mending; the same command goes on from there.

    The exit code is 3 where a problem is left that keys cannot put right.
    """
    from glm_gguf.chat.template import bundled_template

    for part in () if dry_run else dict.fromkeys((file, first_by_name(file))):
        if restore_head(part):
            say(f"{part}: an interrupted mend is undone")
    mending = Mending.plan(open_all_parts(file), bundled_template)
    require_own_file(mending.file)
    _refuse_stored(file)
    for line in _lines(mending):
        print_line(line)
    if mending.keys and not dry_run:
        with terminable():
            mending.write()
        print_line(f"mended {mending.file.path}")
    if any(finding.severity is Severity.PROBLEM for finding in mending.left):
        print_line("")
        for line in finding_lines(mending.left):
            print_line(line)
        sys.exit(PROBLEM_EXIT)


def _refuse_stored(file: Path) -> None:
    """Raise StoreError for a file of the store, which knows the size and the hash of its files."""
    if user_store().directory.resolve() in file.resolve().parents:
        raise StoreError("the store knows this file as it is", path=file, fix="copy it, and mend the copy")


def _lines(mending: Mending) -> Iterator[str]:
    """Each key before and after, and what becomes of the weights."""
    if not mending.keys:
        yield "No key has to change."
        return
    for key in mending.keys:
        yield key.key
        yield from _both(key)
    yield "the weights stay in place" if mending.in_place else "the new keys need more room: the file is copied"


def _both(key: MendedKey) -> Iterator[str]:
    """A key before and after; of an array that keeps its length, the items that change."""
    before, after = key.before, key.after
    if isinstance(before, NumberArray) and isinstance(after, NumberArray) and len(before.items) == len(after.items):
        pairs = zip(before.items, after.items, strict=True)
        changed = [(number, old, new) for number, (old, new) in enumerate(pairs) if old != new]
        shown = ", ".join(f"[{number}] {old} → {new}" for number, old, new in changed[:SHOWN])
        rest = len(changed) - SHOWN
        yield f"  changed {type_label(after)}  {shown}" + (f" and {rest} more" if rest > 0 else "")
        return
    yield f"  before  {_shown(before)}"
    yield f"  after   {_shown(after)}"


def _shown(value: Value | None) -> str:
    return "missing" if value is None else f"{type_label(value)}  {value_text(value)}"
