"""Pages are fetched within the rules: from the public internet only, bounded in size and time, as robots.txt allows."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

import pytest
from research.page_server import PageServer, Write, page, redirect, serving
from research.pdf_file import pdf_file

from glm_gguf.errors import CorpusError, RequestError
from glm_gguf.research.fetch_rules import FetchRules
from glm_gguf.research.page_fetcher import PageFetcher
from glm_gguf.research.public_addresses import system_addresses

ARTICLE = f"<html><head><title>The quarry</title></head><body><nav>Menu</nav><p>{'Slate splits thin. ' * 9}</p></body>"
MANY = b"a" * 2**16


@pytest.fixture(scope="module")
def running() -> Iterator[PageServer]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: PageServer) -> PageServer:
    running.answers = {"/page": page(ARTICLE), "/secret": page("<p>a secret of this machine, which nobody may read")}
    running.asked.clear()
    running.heads.clear()
    return running


class Names:
    """A resolver of names that are made up: each answers with the next of its lists of addresses."""

    def __init__(self, **known: Sequence[str] | list[Sequence[str]]) -> None:
        self._known = {name.replace("_", "."): cycle([[*one] for one in lists]) for name, lists in known.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host.count(":") > 1 or host.replace(".", "").isdecimal():
            return system_addresses(host, port)  # a number needs no look-up
        if host not in self._known:
            raise OSError(f"no such name: {host}")
        return next(self._known[host])


LOCAL = [["127.0.0.1"]]


def fetcher(names: Names | None = None, **rules: object) -> PageFetcher:
    """Return a fetcher for which `wiki.test` is a host of the intranet: the server of these tests."""
    given = FetchRules(**{"private_hosts": ("wiki.test",), "seconds": 10.0, **rules})  # type: ignore[arg-type]
    return PageFetcher(given, names or Names(wiki_test=LOCAL))


def test_a_page_is_its_title_and_its_main_text(server: PageServer) -> None:
    found = fetcher().open(f"http://wiki.test:{server.port}/page#part")
    assert found.title == "The quarry"
    assert found.address == f"http://wiki.test:{server.port}/page"
    assert "Slate splits thin." in found.text
    assert "Menu" not in found.text
    assert server.asked == ["/robots.txt", "/page"]
    assert f"host: wiki.test:{server.port}" in server.heads[-1].lower()


DOCUMENTS = {
    "plain text": (page("Plain 文本", "text/plain"), "Plain 文本"),
    "a PDF": (page(pdf_file(["Peat burns"], "P"), "application/pdf"), "Peat burns"),
    "gzip": (page(gzip.compress(ARTICLE.encode()), more="Content-Encoding: gzip\r\n"), "Slate"),
    "deflate": (page(zlib.compress(ARTICLE.encode()), more="Content-Encoding: deflate\r\n"), "Slate"),
    "GBK by its header": (page("南桥的灯塔".encode("gbk"), "text/plain; charset=gbk"), "南桥的灯塔"),
    "GBK by its meta": (page(f'<meta charset="gbk"><p>{"南桥的灯塔。" * 30}'.encode("gbk"), "text/html"), "南桥的灯塔"),
    "an unknown character set": (page("南桥", "text/plain; charset=nonsense"), "南桥"),
    "no character set but base64": (page("南桥", "text/plain; charset=base64"), "南桥"),
    "an encoding of Python's own": (page("b-cher-kva", "text/plain; charset=punycode"), "b-cher-kva"),
    "escapes of Python's": (page(r"a\ud800b", "text/plain; charset=unicode_escape"), r"a\ud800b"),
    "a short page": (page("<p>Short.</p>"), "Short."),
    "a redirect to the page": (redirect("/page"), "Slate"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_pages_of_several_forms_are_read(server: PageServer, name: str) -> None:
    server.answers["/one"], text = DOCUMENTS[name]
    assert text in fetcher().open(f"http://wiki.test:{server.port}/one").text


def endless(write: Write) -> None:
    write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
    while True:
        write(MANY)


def chunked(write: Write) -> None:
    write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        write(b"%x\r\n%s\r\n" % (len(MANY), MANY))


def silent(server: PageServer) -> Callable[[Write], None]:
    return lambda write: server.closing.wait(30) and None


def trickling(server: PageServer, head: bytes) -> Callable[[Write], None]:
    def answer(write: Write) -> None:
        write(head)
        while not server.closing.wait(0.02):
            write(b"x")

    return answer


BOMB = gzip.compress(bytes(50 * 2**20))
FAULTS: dict[str, tuple[Callable[[PageServer], object], str]] = {
    "ten gigabytes, announced": (
        lambda _: b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 10737418240\r\n\r\n",
        "more than",
    ),
    "an endless page": (lambda _: endless, "more than"),
    "endless chunks": (lambda _: chunked, "more than"),
    "a gzip bomb": (lambda _: page(BOMB, more="Content-Encoding: gzip\r\n"), "more than"),
    "damaged gzip": (lambda _: page(b"\x1f\x8bnothing", more="Content-Encoding: gzip\r\n"), "damaged"),
    "an unknown encoding": (lambda _: page("x", more="Content-Encoding: br\r\n"), "encoding br"),
    "a silent server": (silent, "longer than"),
    "a head that trickles": (lambda server: trickling(server, b"HTTP/1.1 200 OK\r\nX: "), "longer than"),
    "a body that trickles": (
        lambda server: trickling(server, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"),
        "longer than",
    ),
    "a cut page": (lambda _: b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99\r\n\r\nx", "failed"),
    "no HTTP": (lambda _: b"SSH-2.0-OpenSSH_9.2\r\n", "failed"),
    "a picture": (lambda _: page(b"\x89PNG", "image/png"), "image/png"),
    "no type": (lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "type none"),
    "an empty page": (lambda _: page(""), "no text"),
    "a damaged PDF": (lambda _: page(b"%PDF-1.4 garbage", "application/pdf"), "PDF cannot be read"),
    "not found": (lambda _: page("gone", status="404 Not Found"), "status 404"),
    "a fault of the server": (lambda _: page("oh", status="500 Oh"), "status 500"),
    "a circle of redirects": (lambda _: redirect("/one"), "redirects"),
    "a redirect to a file": (lambda _: redirect("file:///etc/passwd"), "file"),
    "a redirect to gopher": (lambda _: redirect("gopher://wiki.test/x"), "gopher"),
    "a redirect to loopback": (lambda server: redirect(f"http://127.0.0.1:{server.port}/secret"), "public"),
    "a redirect to IPv6 loopback": (lambda server: redirect(f"http://[::1]:{server.port}/secret"), "public"),
    "a redirect to a private name": (lambda server: redirect(f"http://inside.test:{server.port}/secret"), "public"),
    "a redirect with a password": (lambda server: redirect(f"http://a:b@wiki.test:{server.port}/page"), "password"),
    "a redirect to no address": (lambda _: redirect("http://[::1"), "no address"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_and_nothing_else_is_fetched(server: PageServer, name: str) -> None:
    make, match = FAULTS[name]
    server.answers["/one"] = make(server)  # type: ignore[assignment]
    names = Names(wiki_test=LOCAL, inside_test=LOCAL)
    seconds = 0.5 if match == "longer than" else 20.0
    with pytest.raises(CorpusError, match=match):
        fetcher(names, seconds=seconds, most_bytes=2**20).open(f"http://wiki.test:{server.port}/one")
    assert "/secret" not in server.asked


def literal(host: str, port: int) -> list[str]:
    """Resolve numbers as the system does; look no name up."""
    return system_addresses(host, port) if host.strip("0123456789abcdefxX.:") == "" else ["10.0.0.1"]


REFUSED = [
    "http://127.0.0.1:{}/secret",
    "127.0.0.1:{}/secret",
    "http://127.1:{}/secret",
    "http://2130706433:{}/secret",
    "http://0x7f000001:{}/secret",
    "http://0x7f.0.0.1:{}/secret",
    "http://0177.0.0.1:{}/secret",
    "http://127.0.0.1.:{}/secret",
    "http://0.0.0.0:{}/secret",
    "http://0:{}/secret",
    "http://１２７.０.０.１:{}/secret",
    "http://[::1]:{}/secret",
    "http://[::]:{}/secret",
    "http://[::ffff:127.0.0.1]:{}/secret",
    "http://[::ffff:7f00:1]:{}/secret",
    "http://[::127.0.0.1]:{}/secret",
    "http://[64:ff9b::7f00:1]:{}/secret",
    "http://[2002:7f00:1::]:{}/secret",
    "http://[2001:0:7f00:1::]:{}/secret",
    "http://[fe80::1%25lo]:{}/secret",
    "http://[fd00::1]:{}/secret",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://localhost:{}/secret",
    "http://name.test:{}/secret",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "gopher://127.0.0.1:{}/secret",
    "ftp://127.0.0.1/secret",
    "data:text/html,secret",
    "javascript:alert(1)",
    "http://user@127.0.0.1:{}/secret",
    "http://example.org@127.0.0.1:{}/secret",
    "http://8.8.8.8:25/",
    "http:///secret",
    "http://",
    "",
    "http://[::1/secret",
    "http://exa mple.org/",
    "http://127.0.0.1:99999/",
    "\0",
]


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_of_the_public_web_is_refused(server: PageServer, address: str) -> None:
    with pytest.raises(CorpusError):
        PageFetcher(FetchRules(seconds=2), literal).open(address.format(server.port))
    assert server.asked == []


@pytest.mark.parametrize("address", ["2001:4860:4860::8888", "8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_let_in(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def connect(target: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(target)
        raise OSError("this test has no internet")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(CorpusError, match="no internet"):
        PageFetcher(FetchRules(), Names(public_test=[[address]])).open("https://public.test/")
    assert tried == [(address, 443)]


def test_every_address_of_a_name_is_checked(server: PageServer) -> None:
    names = Names(mixed_test=[["8.8.8.8", "127.0.0.1"]])
    with pytest.raises(CorpusError, match=r"127\.0\.0\.1, which is not"):
        PageFetcher(FetchRules(), names).open(f"http://mixed.test:{server.port}/secret")
    assert server.asked == []


def test_a_name_that_changes_behind_the_check_gains_nothing(
    server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket connects to what was checked, never to the name."""
    connected: list[object] = []

    def connect(target: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(target)
        raise OSError("this test has no internet")

    monkeypatch.setattr(socket, "create_connection", connect)
    names = Names(rebinding_test=[["8.8.8.8"], ["127.0.0.1"]])
    with pytest.raises(CorpusError):
        PageFetcher(FetchRules(obey_robots=False), names).open(f"http://rebinding.test:{server.port}/secret")
    assert connected == [("8.8.8.8", server.port)]
    assert names.asked == ["rebinding.test"]
    with pytest.raises(CorpusError, match="which is not"):  # the next look-up is checked again
        PageFetcher(FetchRules(obey_robots=False), names).open(f"http://rebinding.test:{server.port}/secret")
    assert server.asked == []


def test_an_allow_list_keeps_other_hosts_out(server: PageServer) -> None:
    names = Names(wiki_test=LOCAL, docs_test=LOCAL, evildocs_test=LOCAL)
    rules = {"hosts": ("*.docs.test",), "private_hosts": ("a.docs.test", "docs.test")}
    with pytest.raises(CorpusError, match="not among the allowed"):
        fetcher(names, **rules).open(f"http://evildocs.test:{server.port}/page")
    assert fetcher(names, **rules).open(f"http://DOCS.test:{server.port}/page").title == "The quarry"


ROBOTS = {
    "forbids it": (page("User-agent: *\nDisallow: /pa*e$\n", "text/plain"), False),
    "forbids it to us": (page("User-agent: glm-gguf\nDisallow: /\n", "text/plain"), False),
    "forbids it to others": (page("User-agent: other\nDisallow: /\n", "text/plain"), True),
    "allows it again": (page("User-agent: *\nDisallow: /\nAllow: /page\nAllow: /one\n", "text/plain"), True),
    "is not there": (page("", status="404 Not Found"), True),
    "is forbidden itself": (page("", status="403 Forbidden"), True),
    "fails": (page("", status="503 Busy"), False),
    "leads to loopback": (redirect("http://127.0.0.1/robots.txt"), False),
    "is garbage": (page(bytes(range(256)) * 9, "text/plain"), True),
}


@pytest.mark.parametrize("name", ROBOTS)
def test_robots_txt_is_obeyed(server: PageServer, name: str) -> None:
    server.answers["/robots.txt"], allowed = ROBOTS[name]
    server.answers["/one"] = redirect("/page")
    given = fetcher()
    for path in ("/page", "/one"):
        if allowed:
            assert given.open(f"http://wiki.test:{server.port}{path}").title == "The quarry"
        else:
            with pytest.raises(CorpusError, match="robots" if name != "leads to loopback" else "public"):
                given.open(f"http://wiki.test:{server.port}{path}")
    assert ("/page" in server.asked) is allowed
    assert fetcher(obey_robots=False).open(f"http://wiki.test:{server.port}/page").title == "The quarry"


def test_a_proxy_of_the_environment_is_not_asked(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would look the name up itself, and reach what the check keeps out."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.port}")
    with pytest.raises(CorpusError, match="which is not"):
        fetcher(Names(inside_test=LOCAL)).open("http://inside.test/secret")
    assert server.asked == []


@pytest.mark.parametrize(
    "given", [{"most_bytes": 0}, {"seconds": -1}, {"hosts": "example.org"}, {"private_hosts": "x"}], ids=str
)
def test_rules_that_make_no_sense_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(RequestError, match=next(iter(given))):
        FetchRules(**given)  # type: ignore[arg-type]
