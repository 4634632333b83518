"""Learning from rewards: the questions, the rewards of answers, and a watch on prompts that no training saw."""

import itertools
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOConfig, RLOOConfig
from trl.models import unwrap_model_for_generation

from tasks.lib import precision, preferences, ranks, tracking
from tasks.lib.curve import Curve
from tasks.lib.errors import DataError
from tasks.lib.packing import Encoder, chat_ids
from tasks.lib.records import Row
from tasks.lib.rewards import LearnedReward, Rewards
from tasks.lib.score import Change

Chat = list[dict[str, str]]
ARGUMENTS = {"grpo": GRPOConfig, "rloo": RLOOConfig}  # whose arguments `trainer:` gives
SAMPLED = 16  # prompts that are answered before the training, to see whether rewards tell answers apart
KEPT = ("reward", "reward_std", "kl", "frac_reward_zero_std", "completions/mean_length", "completions/clipped_ratio", "entropy")


@dataclass
class Questions:
    """Rows that ask, as chats without an answer."""

    rows: list[Row] = field(default_factory=list)
    chats: list[Chat] = field(default_factory=list)

    def first(self, count: int) -> "Questions":
        """The first so many."""
        return Questions(self.rows[:count], self.chats[:count])

    def sample(self, rewards: Sequence[Any], count: int, seed: int) -> "Questions":
        """About `count` drawn at random, as many for each reward as for any other, and at least one."""
        order = random.Random(seed).sample(range(len(self.rows)), len(self.rows))
        each, taken = math.ceil(count / len(rewards)), dict[int, None]()
        for reward in rewards:
            taken |= dict.fromkeys(itertools.islice((place for place in order if reward.applies(self.rows[place])), each))
        return Questions([self.rows[place] for place in taken], [self.chats[place] for place in taken])

    def share(self, rank: int, count: int) -> "Questions":
        """Every `count`-th from the `rank`-th on."""
        return Questions(self.rows[rank::count], self.chats[rank::count])


def questions(encoder: Encoder, rows: Iterable[Row], rewards: Sequence[Any], tokens: int) -> Questions:
    """The rows to which a reward applies; one that leaves no room for an answer of `tokens` tokens is counted as too long."""
    found = Questions()
    for row in rows:
        if not any(reward.applies(row) for reward in rewards):
            continue
        chat = encoder.messages(row)[:-1]
        size = len(chat_ids(encoder.tokenizer, chat, generation=True))
        encoder.tally.tokens_given += size
        if size + tokens > encoder.length:
            encoder.leave_out(size, row["dataset"])
            continue
        encoder.tally.tokens += size
        found.rows.append(row)
        found.chats.append(chat)
    return found


class Scorer:
    """Rewards of answers, verifiable ones and those of a reward model."""

    def __init__(self, judge: Any = None, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        self.judge, self.tokenizer = judge, tokenizer
        self._encoder = None if tokenizer is None else Encoder(tokenizer, 1)

    def score(self, reward: Any, asked: Questions, numbers: Sequence[int], answers: Sequence[str]) -> list[float | None]:
        """The reward of each answer to the question of that number; None where the reward is for other rows."""
        found: list[float | None] = [None] * len(answers)
        mine = [place for place, number in enumerate(numbers) if reward.applies(asked.rows[number])]
        if isinstance(reward, LearnedReward):
            assert self._encoder is not None
            assert self.tokenizer is not None
            said = [{"role": "assistant", "content": self._encoder.harmless(answers[place])} for place in mine]
            chats = [[*asked.chats[numbers[place]], turn] for place, turn in zip(mine, said, strict=True)]
            scored: list[float] = preferences.scores(self.judge, self.tokenizer, chats)
        else:
            scored = [reward.score(answers[place], asked.rows[numbers[place]]) for place in mine]
        for place, value in zip(mine, scored, strict=True):
            found[place] = value
        return found


@torch.inference_mode()
def answered(
    model: Any, tokenizer: PreTrainedTokenizerBase, chats: Sequence[Chat], tokens: int, temperature: float | None = None, batch: int = 32
) -> list[list[int]]:
    """The model's answers as token ids, up to and with the end of the turn: greedy, or drawn at a temperature."""
    training = model.training
    model.eval()
    ends = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    drawn: dict[str, Any] = {"do_sample": False}
    if temperature is not None:
        drawn = {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}
    found: list[list[int]] = []
    for start in range(0, len(chats), batch):
        prompts = [chat_ids(tokenizer, chat, generation=True) for chat in chats[start : start + batch]]
        longest = max(map(len, prompts))
        ids = torch.tensor([[tokenizer.pad_token_id] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        made = model.generate(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device), max_new_tokens=tokens,
            eos_token_id=sorted(ends), pad_token_id=tokenizer.pad_token_id,
            synced_gpus=False, **drawn,  # the weights are here, and processes may answer unequally many
        )  # fmt: skip
        for said in made[:, longest:].tolist():
            stop = next((place + 1 for place, token in enumerate(said) if token in ends), len(said))
            found.append(said[:stop])
    model.train(training)
    return found


def text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """An answer as TRL hands it to rewards."""
    return str(tokenizer.decode(ids, skip_special_tokens=True))


def constant(scorer: Scorer, rewards: Sequence[Any], asked: Questions, answers: Sequence[str]) -> list[str]:
    """Names of the rewards that tell none of the answers apart; `answers` has those to each question side by side.

    Raises:
        DataError: if no question has answers of different sums of rewards: no training could learn from them.
    """
    each = len(answers) // len(asked.rows)
    numbers = [number for number in range(len(asked.rows)) for _ in range(each)]
    sums, same, told = [0.0] * len(answers), [], []
    for reward in rewards:
        values = scorer.score(reward, asked, numbers, answers)
        known = [value for value in values if value is not None]
        if not known or max(known) - min(known) < 1e-9:
            same.append(reward.name)
            told.append(f"{reward.name} is {f'{known[0]:g} for all {len(known)} answers' if known else 'for none of the prompts'}")
        sums = [total + reward.weight * (value or 0.0) for total, value in zip(sums, values, strict=True)]
    groups = [sums[start : start + each] for start in range(0, len(sums), each)]
    if all(max(group) - min(group) < 1e-9 for group in groups):
        found = f"the same sum for each of {each} answers to each of {len(groups)} prompts" + "".join(f"; {said}" for said in told)
        raise DataError(
            f"rewards ({', '.join(reward.name for reward in rewards)}) that tell a model's answers to a prompt apart", found,
            "tune until some answers are right, raise the temperature, or declare a reward that they can have more or less of",
        )  # fmt: skip
    return same


class Watch(TrainerCallback):
    """Answers held-out prompts greedily now and then: every reward, the length, and the divergence from the start.

    Held-out rewards that are not trained on are the judges of those that are. The divergence is KL(model || start) in nats
    a token, exact over the vocabulary, at the model's own answers.
    """

    def __init__(
        self, scorer: Scorer, rewards: Sequence[Any], held: Questions, start: Any, tokenizer: PreTrainedTokenizerBase, answer: int
    ) -> None:
        self.scorer, self._rewards, self._held, self._start = scorer, rewards, held, start
        self._tokenizer, self._answer = tokenizer, answer
        self.points: list[dict[str, float]] = []
        self.every = 0
        self.trainer: Any = None

    def said(self) -> dict[str, Any]:
        """What `Watch.of` makes the same watch from, in this process or in another."""
        return {
            "judges": [reward.model_dump(mode="json") for reward in self._rewards],
            "held": asdict(self._held),
            "start": self._start,
            "scorer": self.scorer.judge,
            "scorer_tokenizer": self.scorer.tokenizer,
            "answer": self._answer,
        }

    @classmethod
    def of(cls, said: dict[str, Any], tokenizer: PreTrainedTokenizerBase, place: torch.device) -> "Watch":
        """The watch that said it, with its models on a device."""
        judge = None if said["scorer"] is None else said["scorer"].to(place).eval()
        judges = Rewards.model_validate({"of": said["judges"]}).of
        start = said["start"].to(place).eval()
        return cls(Scorer(judge, said["scorer_tokenizer"]), judges, Questions(**said["held"]), start, tokenizer, said["answer"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Look, each time that a share of the steps is done; the end is looked at from outside."""
        if self.every and state.global_step % self.every == 0 and state.global_step < state.max_steps:
            # ZeRO-3 keeps a part of each weight in each process: they are brought together for as long as is looked
            with unwrap_model_for_generation(self.trainer.model_wrapped, self.trainer.accelerator) as model, precision.dropped(model):
                self.look(model, state.global_step)

    def look(self, model: Any, step: int) -> dict[str, list[float | None]]:
        """Every reward of the answers to the held-out prompts; of several processes, each answers its share of them."""
        if not self._held.rows:
            return {}
        mine = self._held.share(ranks.mine().number, ranks.mine().count)
        ids = answered(model, self._tokenizer, mine.chats, self._answer)
        texts = [text(self._tokenizer, said) for said in ids]
        scores = {reward.name: self.scorer.score(reward, mine, range(len(texts)), texts) for reward in self._rewards}
        every = ranks.everywhere((scores, self._divergence(model, mine.chats, ids), sum(map(len, ids))))
        prompts = range(len(self._held.rows))
        found = {name: [every[place % len(every)][0][name][place // len(every)] for place in prompts] for name in scores}
        means = {f"held_out/{name}": mean for name, values in found.items() if (mean := _mean(values)) is not None}
        divergence, tokens = sum(share[1] for share in every), sum(share[2] for share in every)
        means |= {"held_out/kl": divergence / max(1, tokens), "held_out/length": tokens / len(prompts)}
        tracking.metric(means, step)
        self.points.append({"step": step, **means})
        return found

    @torch.inference_mode()
    def _divergence(self, model: Any, chats: Sequence[Chat], answers: list[list[int]]) -> float:
        """In nats, summed over the tokens of the answers."""
        training = model.training
        model.eval()
        total = 0.0
        for chat, said in zip(chats, answers, strict=True):
            prompt = chat_ids(self._tokenizer, chat, generation=True)
            ids = torch.tensor([[*prompt, *said]], device=model.device)
            ours, theirs = (net(input_ids=ids).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1) for net in (model, self._start))
            total += float((ours.exp() * (ours - theirs)).sum())
        model.train(training)
        return total


def changes(before: dict[str, list[float | None]], after: dict[str, list[float | None]]) -> dict[str, Change]:
    """What became of every reward that judges a held-out prompt."""
    known = {name: [value for value in values if value is not None] for name, values in before.items()}
    return {name: Change.of(values, [value for value in after[name] if value is not None]) for name, values in known.items() if values}


class PolicyCurve(Curve):
    """Keeps rewards, length, divergence and the share of groups without a spread beside the loss."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float] | None = None, **given: Any
    ) -> None:
        """Add them to the point of the loss."""
        super().on_log(args, state, control, logs, **given)
        if logs and "loss" in logs:
            kept = {
                key: float(value) for key, value in logs.items() if key in KEPT or (key.startswith("rewards/") and key.endswith("/mean"))
            }
            self.points[-1] |= kept


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
