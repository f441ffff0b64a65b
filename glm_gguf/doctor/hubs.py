"""Whether the hubs answer from here. As a program: the child that asks them."""

from __future__ import annotations

import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from glm_gguf.doctor.child import Reply, print_answer
from glm_gguf.doctor.section import Fact, Section
from glm_gguf.gguf_file.finding import Finding, advice

SECONDS: Final = 4.0
HUBS: Final = {
    "Hugging Face": ("HF_ENDPOINT", "https://huggingface.co"),
    "ModelScope": ("MODELSCOPE_ENDPOINT", "https://modelscope.cn"),
}
"""Hub → the variable that names a mirror, and its own address."""
VARIABLES: Final = ("HF_HUB_OFFLINE", "HF_TOKEN", "MODELSCOPE_API_TOKEN")
PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
REACHED: Final = "reachable"


def hubs(reply: Reply | None) -> Section:
    """Judge the answer of the child; None where nobody asked for it."""
    facts: dict[str, Fact] = {
        "proxy": any(os.environ.get(name) or os.environ.get(name.lower()) for name in PROXIES),
        "mirrors": [variable for variable, _ in HUBS.values() if os.environ.get(variable)],
        **{name: "set" if os.environ.get(name) else "not set" for name in VARIABLES},
    }
    if reply is None:
        return Section("hubs", {"asked": False, **facts})
    if reply.failure is not None:
        why = "convert hf:// and pull need it"
        finding = advice(f"the hubs cannot be asked: {reply.failure}", why, "pip install httpx2 huggingface_hub")
        return Section("hubs", {"asked": True, "failure": reply.failure, **facts}, (finding,))
    return Section("hubs", {"asked": True, **reply.found, **facts}, tuple(_unreached(reply.found)))


def _unreached(found: object) -> list[Finding]:
    assert isinstance(found, dict)
    missing = [f"{name} ({state})" for name, state in found.items() if state != REACHED]
    if not missing:
        return []
    mend = "check network and proxy (HTTPS_PROXY), or name a mirror by HF_ENDPOINT or MODELSCOPE_ENDPOINT"
    return [advice(f"not reachable: {', '.join(missing)}", "nothing can be fetched from there", mend)]


def _state(hub: str) -> str:
    """Ask a hub for its headers; no address is told, which may be one inside a company."""
    import httpx2

    variable, own = HUBS[hub]
    address = os.environ.get(variable, "").strip() or own
    try:
        httpx2.head(address if "://" in address else f"https://{address}", timeout=SECONDS)
    except httpx2.TimeoutException:
        return f"no answer within {SECONDS:g} s"
    except httpx2.HTTPError as error:
        tls = isinstance(error.__cause__, ssl.SSLError) or "CERTIFICATE" in str(error)
        return "its certificate is refused" if tls else f"the connection fails, {type(error).__name__}"
    except (httpx2.InvalidURL, ValueError):
        return f"{variable} is no address"
    return REACHED


def main() -> None:
    """Print the state of each hub."""
    with ThreadPoolExecutor(len(HUBS)) as pool:
        print_answer(dict(zip(HUBS, pool.map(_state, HUBS), strict=True)))


if __name__ == "__main__":
    main()
