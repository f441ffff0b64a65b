#!/usr/bin/env python3
"""Mixed load over all APIs of a server, with kills of clients, of the server itself and of a worker.

    scripts/soak_all.py [--minutes 60] [--clients 12] [--seed 0] [--out soak]

Clients ask the tiny model, with and without LoRA adapters, whole and streamed, and a part of them leaves half way; a
batch runs beside them. In some lives of the server a worker computes its layers. Each round ends at rest, where memory,
file handles and threads are measured, and a prompt that needs every cell must find room. Writes soak.json, soak.md and
soak.svg. Exits with 1 where a greedy answer differs from the one given alone, a line of a batch is lost or doubled,
a request fails without a fault, or memory, handles or threads of one server grew from rest to rest.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import httpx
from lora_adapters import factors, write_adapter

from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from scripts.soak_apis import APIS, Body, Case, cases
from scripts.soak_report import Findings
from scripts.soak_server import Tally, fill
from scripts.soak_service import Place, Services, read_gauges

ROUND = 15.0
"""Seconds of load until a rest."""
LIVES = (3, 3, 6, 30)
"""Rounds of a server's life."""
BATCH = 40
UNFINISHED = ("validating", "in_progress", "finalizing")


@dataclass
class Soak:
    """One run: its servers, what they must answer, and what happened."""

    services: Services
    findings: Findings
    clients: int
    random: random.Random
    tally: Tally = field(default_factory=Tally)
    alone: dict[Case, str] = field(default_factory=dict)

    async def run(self, seconds: float) -> None:
        """Run lives until the time is over; the first has no worker, the second has one."""
        life = 0
        while self.services.seconds < seconds:
            with_worker = life == 1 or (life > 1 and self.random.random() < 0.5)
            await asyncio.to_thread(self.services.start, with_worker=with_worker)
            if not self.alone:
                await self._learn()
            rounds = 4 if life < 2 else self.random.choice(LIVES)
            for number in range(rounds):
                last = number == rounds - 1
                await self._round(kill="server" if last else "worker" if with_worker and number % 2 else None)
                if self.services.seconds >= seconds:
                    break
            life += 1
            if self.services.seconds < seconds:
                self.services.kill_server()
        code = await asyncio.to_thread(self.services.stop)
        self.tally.expect("server ended by a signal", code == 0, code)

    async def _learn(self) -> None:
        """Ask every case alone."""
        async with self._http() as http:
            for case in cases(8):
                response = await http.post(APIS[case.api].path, json=case.body())
                if response.status_code != 200:
                    raise SystemExit(f"{case}: {response.text[:300]}")
                self.alone[case] = case.text(response.json())

    async def _round(self, kill: str | None) -> None:
        """Load, at most one fault, and a rest."""
        end = self.services.seconds + ROUND
        async with self._http() as http:
            batch, wanted = await self._begin_batch(http)
            watcher = asyncio.create_task(self._watch())
            work = [self._live(http, self.random.randrange(2**31), end) for _ in range(self.clients)]
            await asyncio.gather(self._strike(kill), *work)
            await self._end_batch(http, batch, wanted)
            watcher.cancel()
            await self._settle()
            await fill(http, self.tally)
        await self._rest()

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.services.url, timeout=300, limits=httpx.Limits(max_connections=None))

    async def _strike(self, kill: str | None) -> None:
        """Kill the server or the worker at some moment, and wait until requests are answered again."""
        if kill is None:
            return
        await asyncio.sleep(self.random.uniform(0.1, 0.6) * ROUND)
        services, began = self.services, self.services.seconds
        services.faults, services.broken = services.faults + 1, True
        if kill == "server":
            services.kill_server()
            await asyncio.to_thread(services.start, with_worker=services.has_worker)
        else:
            await asyncio.to_thread(services.kill_worker)
            await asyncio.to_thread(services.wait_ready)
        services.broken, seconds = False, services.seconds - began
        restored = (await asyncio.to_thread(read_gauges, services.url)).get("host_tokens", 0)
        self.findings.faults.append({"kind": f"{kill} killed", "at": began, "seconds": seconds, "restored": restored})

    async def _live(self, http: httpx.AsyncClient, seed: int, end: float) -> None:
        """One client, which asks one thing after another."""
        client = Client(self, http, random.Random(seed))
        while self.services.seconds < end:
            await client.act()

    async def _begin_batch(self, http: httpx.AsyncClient) -> tuple[str, dict[str, Case]]:
        able = [case for case in self.alone if case.api == "chat"]
        wanted = {f"line-{number}": self.random.choice(able) for number in range(BATCH)}
        path = APIS["chat"].path
        lines = [
            json.dumps({"custom_id": name, "method": "POST", "url": path, "body": case.body()})
            for name, case in wanted.items()
        ]
        files = {"file": ("in.jsonl", "\n".join(lines).encode())}
        file = (await http.post("/v1/files", files=files, data={"purpose": "batch"})).raise_for_status().json()
        asked = {"input_file_id": file["id"], "endpoint": path, "completion_window": "24h"}
        return (await http.post("/v1/batches", json=asked)).raise_for_status().json()["id"], wanted

    async def _end_batch(self, http: httpx.AsyncClient, batch: str, wanted: dict[str, Case]) -> None:
        """Wait for a batch; it must have each line once, and each answer as it was alone."""
        while (found := (await http.get(f"/v1/batches/{batch}")).raise_for_status().json())["status"] in UNFINISHED:
            await asyncio.sleep(0.1)
        fine = found["status"] == "completed" and found["error_file_id"] is None
        self.tally.expect("batches", fine, found)
        if found["output_file_id"] is None:
            return
        content = (await http.get(f"/v1/files/{found['output_file_id']}/content")).raise_for_status()
        results = [json.loads(line) for line in content.text.splitlines()]
        names = [result["custom_id"] for result in results]
        self.tally.expect("batch without a line lost or doubled", sorted(names) == sorted(wanted), names)
        for result in results:
            case = wanted[result["custom_id"]]
            self.compare("batch lines", case, case.text(result["response"]["body"]))
        for file in (found["input_file_id"], found["output_file_id"]):
            (await http.delete(f"/v1/files/{file}")).raise_for_status()

    def compare(self, kind: str, case: Case, text: str) -> None:
        """Count an answer, and keep it where it differs from that given alone."""
        self.tally.expect(kind, text == self.alone[case], f"{case}: {text!r}, alone {self.alone[case]!r}")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1)
            sample = await asyncio.to_thread(self.services.sample, rest=False)
            if sample is not None:
                self.findings.samples.append(sample)

    async def _settle(self) -> None:
        """Wait until the server computes nothing; what nobody waits for must end within a minute."""
        for _ in range(600):
            gauges = await asyncio.to_thread(read_gauges, self.services.url)
            if not any(gauges.get(name, 1) for name in ("running", "waiting", "embeddings")):
                return
            await asyncio.sleep(0.1)
        self.tally.expect("rests", False, "answers are still being written, though nobody waits for them")

    async def _rest(self) -> None:
        """Measure at rest, after connections and idle threads have ended; that may take ten seconds."""
        own = [sample for sample in self.findings.samples if sample.rest and sample.life == self.services.life]
        for _ in range(100):
            sample = await asyncio.to_thread(self.services.sample, rest=True)
            if not own or (sample and sample.files <= own[0].files and sample.threads <= own[0].threads):
                break
            await asyncio.sleep(0.1)
        self.tally.expect("rests", sample is not None, "the server does not answer at rest")
        if sample is not None:
            self.findings.samples.append(sample)


class Client:
    """One client; an error is wrong only where no fault happened during its request."""

    def __init__(self, soak: Soak, http: httpx.AsyncClient, chosen: random.Random) -> None:
        self._soak = soak
        self._http = http
        self._random = chosen

    async def act(self) -> None:
        """Ask in one of several ways."""
        ways: tuple[Callable[[Case], Awaitable[None]], ...] = (self._whole, self._stream, self._leave, self._nonsense)
        way = self._random.choices(ways, (30, 40, 20, 5))[0]
        services = self._soak.services
        before, broken = services.faults, services.broken
        try:
            await way(self._random.choice(list(self._soak.alone)))
        except (httpx.HTTPError, Failed) as error:
            excused = (broken or services.faults != before) and getattr(error, "status", 503) == 503
            self._soak.tally.expect("failed during a fault" if excused else "failed", excused, repr(error))
            await asyncio.sleep(0.2)

    async def _whole(self, case: Case) -> None:
        response = await self._http.post(APIS[case.api].path, json=case.body())
        if await self._accepted(response):
            self._soak.compare(case.api, case, case.text(response.json()))

    async def _stream(self, case: Case) -> None:
        if APIS[case.api].part is None:
            return await self._whole(case)
        async with self._http.stream("POST", APIS[case.api].path, json=case.body() | {"stream": True}) as response:
            if not await self._accepted(response):
                return None
            lines = [line async for line in response.aiter_lines()]
        text = case.streamed_text(lines)
        if text is not None:
            self._soak.compare(f"{case.api}, streamed", case, text)
        elif "tools" not in case.body():
            raise Failed(f"{case}: a stream without its end: {lines[-3:]}", 503)
        return None

    async def _leave(self, case: Case) -> None:
        """Drop the connection somewhere in a long answer."""
        long: Body = {"messages": [{"role": "user", "content": f"{case.number} tell me a story"}], "stream": True}
        long |= {"max_tokens": 2000, "temperature": 2, "top_p": 1, "ignore_eos": True}
        count = self._random.randrange(30)
        async with self._http.stream("POST", APIS["chat"].path, json=long) as response:
            if await self._accepted(response):
                async for _ in response.aiter_lines():
                    count -= 1
                    if count < 0:
                        break
        self._soak.tally.done["left"] += 1

    async def _nonsense(self, case: Case) -> None:
        response = await self._http.post(APIS[case.api].path, json={"messages": 3, "prompt": {}, "input": {}})
        self._soak.tally.expect("nonsense refused", response.status_code in (400, 422, 429, 503), response.text)

    async def _accepted(self, response: httpx.Response) -> bool:
        """Tell whether it was answered; a full queue is no failure, other errors raise Failed."""
        if response.status_code == 200:
            return True
        await response.aread()
        if response.status_code == 429:
            self._soak.tally.done["429"] += 1
            await asyncio.sleep(self._random.random())
            return False
        raise Failed(response.text[:300], response.status_code)


class Failed(Exception):
    """A request that was not answered. During a fault only 503 is right, and a stream that breaks off."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what, status)
        self.status = status


def main() -> None:
    """Make the model and its adapters, soak, write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("soak"), help="directory of the report")
    given = parser.parse_args()
    findings = Findings({"minutes": given.minutes, "clients": given.clients, "seed": given.seed})
    with tempfile.TemporaryDirectory(prefix="glm-gguf-soak-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        model = directory / "soak.gguf"
        checkpoint = Path(__file__).resolve().parent.parent / "glm_gguf" / "demo" / "checkpoint"
        convert(checkpoint, model, ConvertOptions(types=TypeChoices(type="F32")))
        adapters = [
            write_adapter(directory / f"{one}.gguf", factors(model, n)) for n, one in enumerate(("first", "second"))
        ]
        services = Services(Place(model, tuple(adapters), directory))
        stack.callback(services.close)
        soak = Soak(services, findings, given.clients, random.Random(given.seed))
        try:
            asyncio.run(soak.run(given.minutes * 60))
        finally:
            findings.done, findings.wrong = dict(soak.tally.done), soak.tally.wrong
            findings.check_flat()
            findings.write(given.out)
    print(*findings.wrong[:20], f"{len(findings.wrong)} wrong; see {given.out / 'soak.md'}", sep="\n")
    sys.exit(bool(findings.wrong))


if __name__ == "__main__":
    main()
