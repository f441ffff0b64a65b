"""A second model drafts: answers are those of plain decoding, in as many steps fewer as it is right."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from answers.random_model import write_random_model
from click.testing import CliRunner
from engine.conversations import EXACT, GREEDY, random_prompts
from loading import context_of

from glm_gguf import GLM, RequestError, SamplingParams
from glm_gguf.cli.error_line import error_line
from glm_gguf.cli.main import cli
from glm_gguf.engine.draft_model import DraftModel
from glm_gguf.engine.open_engine import open_engine
from glm_gguf.errors import GgufError
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.model_handle import ModelHandle

QUESTIONS = ("Tell me a joke.", "What is 37 plus 58?", "北京的天气怎么样？")
SHORT = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
SAMPLED = SamplingParams(temperature=1.0, top_p=0.95, seed=5, max_tokens=24, ignore_eos=True)


@contextmanager
def _draft_model(model: ModelHandle, options: EngineOptions) -> Iterator[DraftModel]:
    with context_of(model, options) as context:
        yield DraftModel(context)


@pytest.mark.parametrize("type_", ["F32", "Q2_K"])
@pytest.mark.parametrize("draft", ["auto", 4])
@pytest.mark.parametrize("sampling", [SHORT, SAMPLED], ids=["greedy", "sampled"])
def test_answers_are_those_of_plain_decoding(
    tiny_gguf: Callable[[str], Path], type_: str, draft: int | str, sampling: SamplingParams
) -> None:
    path = tiny_gguf("F32")
    with GLM(path, options=replace(EXACT, draft=0)) as plain:
        expected = [plain.chat(question, sampling=sampling) for question in QUESTIONS]
    with GLM(path, options=replace(EXACT, draft=draft, draft_model=tiny_gguf(type_))) as glm:
        found = [glm.chat(question, sampling=sampling) for question in QUESTIONS]
    assert [answer.content for answer in found] == [answer.content for answer in expected]


def test_a_model_that_is_right_saves_steps(tiny_gguf: Callable[[str], Path]) -> None:
    path = tiny_gguf("F32")
    with GLM(path, options=replace(EXACT, draft=5, draft_model=path)) as glm:
        usage = glm.chat(QUESTIONS[0], sampling=SHORT).usage
        assert usage.accepted_tokens >= 15
        assert glm.status.steps <= 12


def test_what_it_writes_follows_the_tokens_as_they_change(exact_model: ModelHandle) -> None:
    prompts = random_prompts(exact_model, 10, seed=4)
    options = replace(EXACT, n_ctx=600, n_parallel=1, n_batch=32)
    with _draft_model(exact_model, options) as drafting:
        for prompt in [*prompts, *prompts[::-1]]:
            drafted = _drafted(drafting, prompt)
            assert drafting.draft([*prompt, *drafted[:2]], 2) == drafted[2:]
            with _draft_model(exact_model, options) as fresh:
                assert _drafted(fresh, prompt) == drafted


def _drafted(model: DraftModel, prompt: list[int]) -> list[int]:
    """A long prompt takes several calls."""
    for _ in range(len(prompt) // 32 + 1):
        if drafted := model.draft(prompt, 4):
            return drafted
    raise AssertionError("no draft")


def test_a_sequence_beyond_its_context_gets_no_draft(exact_model: ModelHandle) -> None:
    with _draft_model(exact_model, replace(EXACT, n_ctx=256, n_parallel=1)) as drafting:
        assert len(drafting.draft(range(300, 540), 4)) == 4
        assert drafting.draft(range(300, 553), 4) == []


def test_another_vocabulary_is_refused_by_name(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    other = write_random_model(tmp_path)
    with pytest.raises(RequestError, match=r"random\.gguf.*vocabulary is not that of .*tiny-Q8_0\.gguf"):
        GLM(tiny_gguf("Q8_0"), options=replace(EXACT, draft_model=other))
    result = CliRunner().invoke(cli, ["run", str(tiny_gguf("Q8_0")), "Hi", "--draft-model", str(other)])
    assert "--draft-model" in error_line(result.exception)


def test_a_file_that_is_none_is_refused(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="missing"):
        GLM(tiny_gguf("Q8_0"), options=replace(EXACT, draft_model=tmp_path / "missing.gguf"))


def test_a_model_that_would_never_draft_is_refused(tiny_gguf: Callable[[str], Path]) -> None:
    path = tiny_gguf("Q8_0")
    with pytest.raises(RequestError, match="draft_model: nothing is drafted"):
        EngineOptions(draft=0, draft_model=path)
    result = CliRunner().invoke(cli, ["run", str(path), "Hi", "--draft", "off", "--draft-model", str(path)])
    assert "--draft-model: nothing is drafted" in error_line(result.exception)


def test_the_command_takes_a_name_for_it(tiny_gguf: Callable[[str], Path]) -> None:
    result = CliRunner().invoke(cli, ["run", str(tiny_gguf("Q8_0")), "Hi", "--draft-model", "no-such-model"])
    assert "'no-such-model': the store has no such model" in error_line(result.exception)


def test_the_plan_leaves_memory_for_it(tiny_gguf: Callable[[str], Path]) -> None:
    path = tiny_gguf("Q8_0")
    memory = []
    for options in (EXACT, replace(EXACT, draft_model=path)):
        with ExitStack() as stack:
            memory.append(open_engine(path, options, stack).plan.memory or 0)
    assert memory[0] - memory[1] > path.stat().st_size // 2


def test_beside_other_answers_it_is_not_asked(tiny_gguf: Callable[[str], Path]) -> None:
    path = tiny_gguf("F32")
    with GLM(path, options=replace(EXACT, draft=3, draft_model=path)) as glm:
        answers = glm.choices(3, "Hello", sampling=replace(GREEDY, temperature=1.0, seed=2))
        assert len(answers) == 3
