"""Batches over Ray, as far as they can be tested without it; scripts/try_ray_batch.py has two actors and kills one."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from batch_runs import chat_line, mixed_lines, write_lines, wrong_output
from click.testing import CliRunner
from lending import worker
from workers.test_workers import options

from glm_gguf.cli.main import cli
from glm_gguf.errors import EngineError, GgufError, RequestError
from glm_gguf.ray import BatchActor
from glm_gguf.ray.actor import TellingBatchActor, told_error
from glm_gguf.ray.cluster import RayCluster


@pytest.fixture(scope="module")
def actor(tiny_gguf: Callable[[str], Path]) -> Iterator[BatchActor]:
    made = BatchActor(tiny_gguf("Q8_0"), {"threads": 1}, {"max_tokens": 3})
    yield made
    made.close()


def rows(lines: list[dict[str, object]]) -> dict[str, np.ndarray]:
    """Rows as Ray Data gives them."""
    return {"request": np.array([json.dumps(line) for line in lines], object), "other": np.arange(len(lines))}


def test_an_actor_answers_the_rows_that_it_gets_in_their_order(actor: BatchActor) -> None:
    lines = mixed_lines(14)
    answered = actor(rows(lines))
    assert wrong_output(lines, [json.loads(line) for line in answered["result"]]) is None
    assert answered["other"].tolist() == list(range(14))
    assert answered["ok"].tolist() == [not line["custom_id"].startswith("wrong") for line in lines]
    assert (answered["prompt_tokens"] >= answered["cached_tokens"]).all()


def test_the_actors_defaults_hold_for_what_requests_leave_out(actor: BatchActor) -> None:
    line = chat_line("a", "Tell me a story.")
    del line["body"]["max_tokens"]
    assert actor(rows([line]))["completion_tokens"].tolist() == [3]


def test_several_threads_call_an_actor_at_once(actor: BatchActor) -> None:
    calls = [[chat_line(f"{call}-{n}", f"Hi {n}", max_tokens=2) for n in range(6)] for call in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answered = list(pool.map(actor, map(rows, calls)))
    for lines, given in zip(calls, answered, strict=True):
        assert wrong_output(lines, [json.loads(line) for line in given["result"]]) is None


def test_an_actor_ends_where_its_worker_stays_away(tiny_gguf: Callable[[str], Path]) -> None:
    with worker() as lender:
        made = BatchActor(tiny_gguf("F16"), options(lender.address), lost_seconds=0)
        try:
            made(rows([chat_line("a", "Hi")]))
            lender.kill()
            with pytest.raises(EngineError, match=f"{lender.address}: a worker was lost, and the model could not"):
                made(rows([chat_line(f"b-{n}", "Hi") for n in range(4)]))
        finally:
            made.close()


def test_the_error_of_an_actor_is_a_row(tmp_path: Path) -> None:
    made = TellingBatchActor(tmp_path / "none.gguf")
    told = told_error(made(rows([chat_line("a", "Hi")])))
    assert isinstance(told, GgufError | RequestError)
    assert str(tmp_path / "none.gguf") in str(told)


def test_rows_without_requests_are_refused_by_name(actor: BatchActor) -> None:
    with pytest.raises(RequestError, match="request: the rows have prompt"):
        actor({"prompt": np.array(["Hi"])})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--ray", "ray://head:10001"], "ray: Ray Data does not run through a Ray client"),
        (["--ray", "local", "--ray-actors", "0"], "ray_actors: 0 actors"),
        (["--ray-actors", "2"], "ray_actors: there is no cluster"),
        (["--ray", "local", "--session", "{session}"], "session: actors read no session"),
    ],
    ids=["a client's address", "no actors", "actors without a cluster", "a session"],
)
def test_options_that_nothing_would_heed_are_refused(
    tiny_gguf: Callable[[str], Path], tmp_path: Path, given: list[str], told: str
) -> None:
    (tmp_path / "session").write_text("")
    source = write_lines(tmp_path / "in.jsonl", [chat_line("a", "Hi")])
    given = [one.format(session=tmp_path / "session") for one in given]
    command = ["batch", str(tiny_gguf("Q8_0")), str(source), str(tmp_path / "out.jsonl"), *given]
    assert told in str(CliRunner().invoke(cli, command).exception)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_without_its_extra_one_line_says_what_to_install(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    source, out = write_lines(tmp_path / "in.jsonl", [chat_line("a", "Hi")]), tmp_path / "out.jsonl"
    result = CliRunner().invoke(cli, ["batch", str(tiny_gguf("Q8_0")), str(source), str(out), "--ray", "local"])
    assert "ray cannot be imported" in str(result.exception)
    assert "glm-gguf[server,ray]" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_cluster_has_an_address_and_perhaps_a_number_of_actors() -> None:
    assert RayCluster("auto").actors is None
    assert RayCluster("10.0.0.2:6379", 3).actors == 3
