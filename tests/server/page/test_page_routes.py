"""The page's files come with their types and policies, and nothing else comes at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from fastapi import FastAPI
from server.page.listening import listening

from glm_gguf.server.page.files import page_files
from glm_gguf.server.page.routes import page_router

STATIC = Path(__file__).resolve().parents[3] / "glm_gguf" / "server" / "page" / "static"
FILES = sorted(page_files())
OWN = [name for name in FILES if not name.startswith("vendor/")]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = FastAPI()
    app.include_router(page_router())
    with listening(app) as found:
        yield found.removeprefix("http://")


def fetched(address: str, path: str, method: str = "GET", **headers: str) -> HTTPResponse:
    """Ask for a path just as it is written, as a browser does."""
    connection = HTTPConnection(address, timeout=10)
    given = {"Accept": "text/html,*/*;q=0.8"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=given)
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_handed_out_as_it_is(address: str, name: str) -> None:
    response = fetched(address, "/" if name == "index.html" else f"/page/{name}")
    assert response.status == 200
    assert response.body == (STATIC / name).read_bytes()  # type: ignore[attr-defined]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "no-referrer" in response.headers["Referrer-Policy"]


@pytest.mark.parametrize(
    ("ending", "media_type"),
    [
        ("html", "text/html"),
        ("css", "text/css"),
        ("js", "text/javascript"),
        ("mjs", "text/javascript"),
        ("svg", "image/svg+xml"),
        ("woff2", "font/woff2"),
        ("LICENSE", "text/plain"),
    ],
)
def test_browsers_are_told_what_a_file_is(address: str, ending: str, media_type: str) -> None:
    names = [name for name in FILES if name.endswith(ending) and name != "index.html"]
    assert names
    for name in names:
        assert fetched(address, f"/page/{name}").headers.get_content_type() == media_type


PATHS = [
    "/page/",
    "/page/index.html",
    "/page/none.js",
    "/page/../routes.py",
    "/page/%2e%2e/routes.py",
    "/page/..%2froutes.py",
    "/page/%252e%252e/routes.py",
    "/page/style/../../routes.py",
    "/page//etc/passwd",
    "/page/%2fetc%2fpasswd",
    "/page/app.js/",
    "/page/app.js%00",
    "/page/..\\routes.py",
    "/page/style",
]


@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_file_of_the_page_does_not_exist(address: str, path: str) -> None:
    assert fetched(address, path).status == 404


def test_a_file_that_the_browser_has_is_not_sent_again(address: str) -> None:
    first = fetched(address, "/page/app.js")
    again = fetched(address, "/page/app.js", If_None_Match=f'"other", W/{first.headers["ETag"]}')
    assert (again.status, again.body) == (304, b"")  # type: ignore[attr-defined]
    assert fetched(address, "/page/app.js", If_None_Match='"other"').status == 200


def test_head_answers_without_a_body(address: str) -> None:
    response = fetched(address, "/", "HEAD")
    assert (response.status, response.body) == (200, b"")  # type: ignore[attr-defined]
    assert int(response.headers["Content-Length"]) == len(page_files()["index.html"].body)


def test_the_page_may_run_nothing_but_its_own_files(address: str) -> None:
    rules = fetched(address, "/").headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"} <= set(rules)
    assert {"require-trusted-types-for 'script'", "trusted-types 'none'", "frame-ancestors 'none'"} <= set(rules)
    assert not any("unsafe" in rule or "*" in rule or "http" in rule for rule in rules)


def test_an_artifact_may_run_and_reach_nothing(address: str) -> None:
    headers = fetched(address, "/page/artifact.html").headers
    rules = headers["Content-Security-Policy"].split("; ")
    assert {"sandbox allow-scripts", "default-src 'none'", "form-action 'none'", "base-uri 'none'"} <= set(rules)
    assert not any("self" in rule or "http" in rule for rule in rules if not rule.startswith("frame-ancestors"))
    assert headers["Connection-Allowlist"] == "()"


@pytest.mark.parametrize("name", [name for name in OWN if name.endswith((".html", ".css", ".js"))])
def test_no_file_names_another_host(name: str) -> None:
    addresses = set(
        re.findall(
            r"(?:https?:|wss?:)?//[\w.-]+\.\w+", re.sub(r"^\s*//.*$", "", page_files()[name].body.decode(), flags=re.M)
        )
    )
    assert addresses <= {"http://www.w3.org"}  # the name of SVG's namespace


@pytest.mark.parametrize("name", [name for name in OWN if name.endswith(".js")])
def test_scripts_are_as_short_as_the_house_asks(name: str) -> None:
    assert page_files()[name].body.count(b"\n") < 300


@pytest.mark.parametrize("name", [name for name in OWN if name.endswith(".js")])
def test_no_script_makes_html_or_code_of_a_text(name: str) -> None:
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|DOMParser|\beval\(|new Function|setHTML"
    assert re.findall(sinks, page_files()[name].body.decode()) == []


def test_every_library_has_its_version_its_hash_and_its_licence() -> None:
    versions = page_files()["vendor/VERSIONS"].body.decode().splitlines()
    folders = {name.split("/")[1] for name in FILES if name.startswith("vendor/") and name != "vendor/VERSIONS"}
    assert {line.split()[0].rpartition("/")[2] for line in versions} == folders
    assert all(re.fullmatch(r"\S+ [\d.]+ [\w.-]+ sha512-[\w+/]{86}==", line) for line in versions)
    assert all(f"vendor/{folder}/LICENSE" in FILES for folder in folders)


def test_scripts_are_checked_with_the_types_of_the_libraries_that_they_use() -> None:
    lines = page_files()["vendor/VERSIONS"].body.decode().splitlines()
    libraries = {line.split()[0].replace("@highlightjs/cdn-assets", "highlight.js"): line.split()[1] for line in lines}
    package = json.loads((STATIC.parents[3] / "scripts" / "javascript" / "package.json").read_text("utf-8"))
    checked = {name: version for name, version in package["devDependencies"].items() if name in libraries}
    assert checked == {name: version for name, version in libraries.items() if "fontsource" not in name}
