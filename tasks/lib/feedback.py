"""The report's part on preferences and rewards: what was learned from them, and whether rewards were gamed."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tasks.lib import pages, plots
from tasks.lib.model import Aligned, Preferred, Reinforced
from tasks.lib.score import Change, Proportion

SERIES = {
    "reward": "sum of rewards, training prompts", "kl": "divergence from the start, training prompts (nats)",
    "completions/mean_length": "length of answers, training prompts (tokens)", "frac_reward_zero_std": "share of groups whose answers all have one reward",
    "held_out/kl": "divergence from the start, held-out prompts (nats a token)", "held_out/length": "length of answers, held-out prompts (tokens)",
}  # fmt: skip
SHARES = ("frac_reward_zero_std",)


def part(models: Sequence[Any], measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the template places: sentences on held-out pairs, a row per watched reward, curves; `measured` belongs to the models."""
    aligned = next((model for model in models if isinstance(model, Aligned)), None)
    found = next(((model, kept) for model, kept in zip(models, measured, strict=True) if isinstance(model, Reinforced)), None)
    told = [] if aligned is None else [pairs_sentence(aligned.held_out)]
    if found is None:
        return {"feedback": told, "watched": [], "reward_curves": [], "suspicion": None}
    model, kept = found
    if model.ranking is not None:
        told.append(ranking_sentence(model.ranking))
    told += [f"The reward {name} told none of the answers apart that were sampled before the training." for name in model.constant]
    rows = [(pages.words(name), name in model.trained, change) for name, change in model.watched.items()]
    return {"feedback": told, "watched": rows, "reward_curves": list(_curves(model, kept)), "suspicion": model.suspicion}


def pairs_sentence(held: Preferred | None) -> str:
    """What preference tuning did to pairs that it did not see."""
    if held is None:
        return "No preference pair was held out, so what preference tuning taught was not measured."
    won = f"{held.won.value:.3f} of {held.won.n} held-out pairs{_interval(held.won)}, where no learning gives 0.5"
    margin = f"their margin is {pages.signed(held.margin.after, 3)}{_interval(held.margin)}"
    likelier = f"the chosen answer is the likelier one, per token, in {held.likelier.before:.3f} before and {held.likelier.after:.3f} after"
    return f"After preference tuning the chosen answer wins in {won}; {margin}; {likelier}."


def ranking_sentence(ranking: Proportion) -> str:
    """How well the reward model ranks, beside chance."""
    chance = ", which may be chance" if ranking.low is None or ranking.low <= 0.5 else ""
    return f"The reward model ranks {ranking.value:.3f} of {ranking.n} held-out pairs right{_interval(ranking)}{chance}."


def _interval(of: Proportion | Change) -> str:
    return "" if of.low is None or of.high is None else f" (95 % interval {of.low:.3f} to {of.high:.3f})"


def _curves(model: Reinforced, kept: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    """A drawing for each series: during the training, and on held-out prompts."""
    points = [*(kept.get("curve") or []), *(kept.get("watch") or [])]
    names = dict.fromkeys(key for point in points for key in point)
    titles = {key: SERIES[key] for key in SERIES if key in names}
    for name in model.watched:
        role = "trained on" if name in model.trained else "a judge"
        titles |= {f"rewards/{name}/mean": f"{name}, training prompts", f"held_out/{name}": f"{name}, held-out prompts ({role})"}
    drawn = []
    for key, title in titles.items():
        if series := [(point["step"], point[key]) for point in points if key in point]:
            drawn.append((title, plots.curve(series, f"{title} over steps", share=key in SHARES)))
    return drawn
