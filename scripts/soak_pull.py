#!/usr/bin/env python3
"""kill -9 pulls at random moments, go on, and compare what is in the store with what the hub has.

    scripts/soak_pull.py [--kills 30] [--seed 0]

A hub of this machine has a split model. After each kill the store holds the whole model or none, and what was fetched
is never fetched again. The exit status is 1 where that does not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from hub_server import serving
from store.killing import kill_pulls

from glm_gguf.store.store import Store


def main() -> None:
    """Pull, kill, go on, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="glm-gguf-pull-") as made, serving() as hub:
        os.environ |= {"GLM_GGUF_STORE": made, "HF_ENDPOINT": hub.hub_url}
        completed = kill_pulls(hub, Store(made), options.kills, options.seed)
    seconds = time.monotonic() - begun
    print(f"{options.kills} kills, {completed} pulls completed in {seconds:.0f} s: the same bytes as the hub's")


if __name__ == "__main__":
    main()
