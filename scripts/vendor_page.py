"""Fetch the page's libraries from the npm registry into glm_gguf/server/page/static/vendor/, with their licences.

    python scripts/vendor_page.py

Versions and hashes are pinned below. Nobody edits the folder by hand; a second run changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "glm_gguf" / "server" / "page" / "static" / "vendor"


@dataclass(frozen=True, slots=True)
class Library:
    """One npm package: its pinned version, its hash in the registry, and the files that the page uses."""

    package: str
    version: str
    licence: str
    sha512: str
    files: tuple[str, ...]

    @property
    def folder(self) -> str:
        return self.package.rpartition("/")[2]


LIBRARIES = (
    Library(
        "markdown-it",
        "15.0.3",
        "MIT",
        "+Az7Ojz3iRGu8KYMvJ6xVhvrxP3eE+vEtJX75Ow88XBpcQNV/0lGX5ZynIIBftREo4DC2jsveAMDaeltmm8QvQ==",
        ("dist/browser/markdown-it.esm.min.mjs",),
    ),
    Library(
        "@highlightjs/cdn-assets",
        "11.12.0",
        "BSD-3-Clause",
        "KvOKXODaiFmId9xaq3xc5xCL66wVLUuOngDbO9B/kewbFTqdGbn2nJxNhN3H5R1cgDTVj6R8vH0zgiNDEGjpDw==",
        ("es/highlight.min.js",),
    ),
    Library(
        "temml",
        "0.13.5",
        "MIT",
        "aPkDDgunanpLNL0ql32HbolqLep+w8DRcVXRql7rWrMt/PhczdLgL4UBYYVU3BYjCNjkGq4EqwIicu/zWr1iOg==",
        ("dist/temml.mjs", "dist/Temml-Local.css", "dist/Temml.woff2"),
    ),
    Library(
        "@fontsource/noto-sans-math",
        "5.3.0",
        "OFL-1.1",
        "CzodkZ4R2VC73rqbNbVpiI94fXZJLFEMNBTAM3DFadjAKrjLQ2Fr+s2yM2c5uS+frBZ2IM+LyMo6COhAzV7hCA==",
        ("files/noto-sans-math-latin-400-normal.woff2",),
    ),
)


def main() -> None:
    shutil.rmtree(VENDOR, ignore_errors=True)
    VENDOR.mkdir(parents=True)
    for library in LIBRARIES:
        with tempfile.TemporaryDirectory() as scratch:
            unpack(library, fetched(library, Path(scratch)))
    (VENDOR / "VERSIONS").write_text("".join(f"{entry(library)}\n" for library in LIBRARIES))


def fetched(library: Library, scratch: Path) -> Path:
    """Return the package's archive; end the program if its hash is not the pinned one."""
    command = ["npm", "pack", "--silent", "--pack-destination", str(scratch), f"{library.package}@{library.version}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (archive,) = scratch.iterdir()
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != library.sha512:
        raise SystemExit(f"{library.package} {library.version}: sha512-{found} is not the pinned hash")
    return archive


def unpack(library: Library, archive: Path) -> None:
    """Copy the wanted files and the licence out of the archive."""
    target = VENDOR / library.folder
    target.mkdir()
    with tarfile.open(archive) as tar:
        for name in (*library.files, "LICENSE"):
            member = tar.extractfile(f"package/{name}")
            assert member is not None
            (target / Path(name).name).write_bytes(member.read())


def entry(library: Library) -> str:
    return f"{library.package} {library.version} {library.licence} sha512-{library.sha512}"


if __name__ == "__main__":
    main()
