"""The held-out requests and the judging of a checkpoint on them, greedily, calls and final answers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import Glm4ForCausalLM

from tiny import answers, checkpoint, dialogues, requests, template

SEED = 414
REQUESTS, UNSEEN_REQUESTS = 100, 50
BATCH, NEW_TOKENS = 25, 110


@dataclass(frozen=True, slots=True)
class Case:
    """One held-out request, its conversation's beginning and the names of the tools it declares."""

    request: requests.Request
    messages: list[dict[str, Any]]
    tools: list[str]

    def prompt(self, more: Sequence[dict[str, Any]] = ()) -> str:
        """Render the conversation up to the assistant's turn."""
        declared = [dialogues.ALL_TOOLS[name] for name in self.tools]
        return template.render(template.CHAT, [*self.messages, *more], declared, prompt=True)

    def judged_calls(self, reply: str) -> bool:
        """Tell whether a reply makes exactly the expected calls."""
        expected = [(call.name, call.arguments) for call in self.request.calls]
        return calls(reply) == expected

    def judged_answer(self, reply: str) -> bool:
        """Tell whether a reply is an answer that holds every observed fact."""
        whole = reply.startswith("\n") and reply.endswith("<|user|>") and "<|assistant|>" not in reply
        return whole and all(fact in reply for call in self.request.calls for fact in answers.facts(call))

    def record(self) -> dict[str, Any]:
        """Return the case as the golden file holds it."""
        return {
            "messages": self.messages,
            "tools": self.tools,
            "calls": [{"name": call.name, "arguments": call.arguments} for call in self.request.calls],
            "observations": [json.dumps(call.observation(), ensure_ascii=False) for call in self.request.calls],
            "facts": [fact for call in self.request.calls for fact in answers.facts(call)],
        }


@dataclass(frozen=True, slots=True)
class Score:
    """How many of the cases had the right calls, and how many of all a right answer after them."""

    cases: int
    calls: int
    answers: int
    failures: tuple[str, ...]


def draw_cases(count: int, unseen: bool = False) -> list[Case]:
    """Draw held-out cases, all different; unseen ones have cities and names that training never uses."""
    dice = Random(f"held out {SEED} {unseen}")
    cases: dict[tuple[str, requests.Values], Case] = {}
    while len(cases) < count:
        language = len(cases) % 2
        request = requests.draw(dice, language, unseen)
        tools = dialogues.draw_tools(dice, dict.fromkeys(call.name for call in request.calls))
        messages = [{"role": "user", "content": request.text}]
        if dice.random() < 0.25:
            messages.insert(0, {"role": "system", "content": dice.choice(answers.SYSTEMS[language])})
        case = Case(request, messages, [tool["function"]["name"] for tool in tools])
        cases.setdefault(request.key, case)
    return list(cases.values())


def exclusion() -> dialogues.Exclusion:
    """Return the keys (phrase, values) of all held-out requests: no training dialogue is drawn with one of them."""
    cases = draw_cases(REQUESTS) + draw_cases(UNSEEN_REQUESTS, unseen=True)
    return dialogues.Exclusion(frozenset(case.request.key for case in cases))


def write_golden(path: Path) -> None:
    """Write the held-out set: one case a line, tools by name, their declarations once."""
    lists = {"requests": draw_cases(REQUESTS), "unseen_requests": draw_cases(UNSEEN_REQUESTS, unseen=True)}
    parts = [f'"seed": {SEED}']
    tools = ",\n".join(f"{_line(name)}: {_line(tool)}" for name, tool in dialogues.ALL_TOOLS.items())
    parts.append(f'"tools": {{\n{tools}\n}}')
    for name, cases in lists.items():
        lines = ",\n".join(_line(case.record()) for case in cases)
        parts.append(f'"{name}": [\n{lines}\n]')
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _line(value: Any) -> str:
    """Serialise on one line."""
    return json.dumps(value, ensure_ascii=False)


def calls(reply: str) -> list[tuple[str, Any]] | None:
    """Read `name newline JSON` calls from a reply, or None where it is not calls and nothing but calls."""
    if not reply.endswith("<|observation|>"):
        return None
    found = []
    for part in reply.removesuffix("<|observation|>").split("<|assistant|>"):
        name, _, arguments = part.partition("\n")
        try:
            found.append((name, json.loads(arguments)))
        except json.JSONDecodeError:
            return None
    return found


@torch.no_grad()
def generate(model: Glm4ForCausalLM, tokenizer: Tokenizer, prompts: list[str]) -> list[str]:
    """Continue prompts greedily until an end token, which the replies keep."""
    replies = []
    generator: Any = model
    ends = {tokenizer.token_to_id(token) for token in checkpoint.END_TOKENS}
    for start in range(0, len(prompts), BATCH):
        encoded = [tokenizer.encode(prompt).ids for prompt in prompts[start : start + BATCH]]
        length = max(map(len, encoded))
        ids = torch.tensor([[0] * (length - len(each)) + each for each in encoded])
        mask = torch.tensor([[0] * (length - len(each)) + [1] * len(each) for each in encoded])
        output: torch.Tensor = generator.generate(ids, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False)
        for row in output[:, length:].tolist():
            stop = next((index + 1 for index, token in enumerate(row) if token in ends), len(row))
            replies.append(tokenizer.decode(row[:stop], skip_special_tokens=False))
    return replies


def judge(model: Glm4ForCausalLM, tokenizer: Tokenizer, cases: list[Case]) -> Score:
    """Run every case through the whole loop: call, observations of our functions, answer."""
    replies = generate(model, tokenizer, [case.prompt() for case in cases])
    right = [case for case, reply in zip(cases, replies, strict=True) if case.judged_calls(reply)]
    failures = [_failure(case, reply) for case, reply in zip(cases, replies, strict=True) if case not in right]
    prompts = [case.prompt(dialogues.served(case.request, announce=False)[1:-1]) for case in right]
    finals = generate(model, tokenizer, prompts)
    answered = [case.judged_answer(reply) for case, reply in zip(right, finals, strict=True)]
    failures += [_failure(case, reply) for case, reply, good in zip(right, finals, answered, strict=True) if not good]
    return Score(len(cases), len(right), sum(answered), tuple(failures))


def _failure(case: Case, reply: str) -> str:
    """Describe a wrong reply on one line."""
    return f"{case.request.text} -> {reply!r}"
