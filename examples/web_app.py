"""A small web app that embeds a model, with the standard library: `python examples/web_app.py model.gguf 8000`."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from glm_gguf import GLM, GlmGgufError, TextDelta

PAGE = """<!doctype html><meta charset="utf-8"><title>Ask</title>
<form><input name="question" size="60" autofocus><button>Ask</button></form><pre id="answer"></pre>
<script type="module">
const answer = document.querySelector("#answer");
document.forms[0].addEventListener("submit", async (event) => {
  event.preventDefault();
  answer.textContent = "";
  const response = await fetch("/ask", { method: "POST", body: event.target.question.value });
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) answer.append(text);
});
</script>"""
LONGEST_QUESTION = 10_000


class App(ThreadingHTTPServer):
    """One model for all threads: it answers several requests at the same time."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], glm: GLM) -> None:
        super().__init__(address, Handler)
        self.glm = glm


class Handler(BaseHTTPRequestHandler):
    """GET gives the page, POST the answer as it is written."""

    server: App

    def do_GET(self) -> None:
        """Send the page."""
        self._begin("text/html")
        self.wfile.write(PAGE.encode())

    def do_POST(self) -> None:
        """Send text as the model writes it; a client that leaves stops the model."""
        length = min(int(self.headers.get("Content-Length", "0")), LONGEST_QUESTION)
        question = self.rfile.read(length).decode(errors="replace")
        try:
            with self.server.glm.stream(question, max_tokens=256) as events:
                self._begin("text/plain")
                for event in events:
                    if isinstance(event, TextDelta):
                        self.wfile.write(event.text.encode())
        except GlmGgufError as error:
            self.send_error(400, explain=str(error))
        except ConnectionError:
            print("the client left", file=sys.stderr)

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.end_headers()


def main(path: str, port: int) -> None:
    """Serve until Ctrl-C; 0 takes a free port."""
    with GLM(path, n_parallel=4) as glm, App(("127.0.0.1", port), glm) as app:
        print(f"http://127.0.0.1:{app.server_port}/", flush=True)
        app.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python examples/web_app.py model.gguf [PORT]")
    try:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8000)
    except GlmGgufError as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        print()
