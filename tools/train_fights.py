"""Make models/fights: the recipe `motion` on 220 clips of surveillance cameras, with its card.

    VMM_DATA=DATA python tools/train_fights.py --out models/fights

DATA/fights holds clips.csv (path, label, group: the recording, fold: of whole recordings) and the
clips that it names. Trains as `vmm train DATA/fights/clips.csv --recipe motion --folds fold
--seeds 3` does and keeps of that run what a bundle needs. Takes some minutes on two cores. The
recipe is the one that inner splits chose: see docs/results.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.bundle_of_run import keep, write_about

KEPT = ("recipe.yaml", "confusion.png", "calibration.png")
SUMMARY = "fight or no_fight, in recordings of surveillance cameras"
DEMONSTRATION = "learnt from 220 clips of few scenes; it judges about one clip in six wrongly"
LICENCE = {
    "code": "Apache-2.0",
    "weights": "Apache-2.0",
    "data": "MIT (the repository's); the recordings are third parties' surveillance cameras",
}
NOTICE = "LICENSE"  # of the data set, beside clips.csv


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the bundled model `fights`.")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds fights/")
    folder = Path(os.environ["VMM_DATA"]) / "fights"
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "fights"
        command = [sys.executable, "-m", "vmm_cli", "train", str(folder / "clips.csv")]
        command += ["-o", str(run), "--recipe", "motion", "--folds", "fold", "--seeds", "3"]
        command += ["--device", "cpu"]
        subprocess.run(command, check=True)
        kept = keep(
            run,
            arguments.out,
            summary=SUMMARY,
            demonstration=DEMONSTRATION,
            licence=LICENCE,
            files=KEPT,
        )
    kept.metrics["folds"]["test"].pop("per_group")  # of a few clips each
    notice = (folder / NOTICE).read_text().strip()
    write_about(arguments.out, kept.metrics, card(kept.metrics, notice))
    print(f"{arguments.out}: {kept.weights_digest}")


def card(metrics: dict[str, Any], notice: str) -> str:
    """Return the card as Markdown. `notice`: the data set's licence."""
    folds = metrics["folds"]
    test, seeds = folds["test"], folds["seeds"]["accuracy"]
    recall = {label: test["per_class"][label]["recall"] for label in metrics["labels"]}
    interval = test["interval"]
    return CARD.format(
        mean=seeds["mean"],
        sd=seeds["sd"],
        seeds=len(folds["seeds"]["seeds"]),
        balanced=test["balanced_accuracy"],
        fight=recall["fight"],
        no_fight=recall["no_fight"],
        ece=test["ece"],
        low=interval["low"],
        high=interval["high"],
        epochs=metrics["best_epoch"],
        notice=notice,
    )


CARD = """\
# fights: does a surveillance camera's recording show a fight?

**A demonstration**: learnt from 220 clips of few scenes.

**For** sorting recordings of fixed cameras, as a help for a person who looks at them: `fight` or
`no_fight` for the whole, or over time with `--windows`.

**Not for** deciding anything about people, and not for raising an alarm that nobody checks: about
one clip in six is judged wrongly. Not for films, sports, moving or hand-held cameras. A video of
anything at all gets one of the two labels.

## What it is

The recipe `motion`: how EfficientNet-Lite0 features (of the bundle `imagenet`, unchanged) change
from a quarter of a second to the next, in the whole picture and in the square in which a window of
5 s moves most; a small network over these changes, trained here. `recipe.yaml` says it all.

## What it was trained on

220 clips of 1 to 5 s from surveillance cameras, 130 `fight` and 90 `no_fight`, in 5 folds of whole
source recordings: the Surveillance Camera Fight Dataset (Ş. Akt\u0131, G. A. Tataroğlu, H. K.
Ekenel: Vision-based Fight Detection from Surveillance Cameras, IPTA 2019;
github.com/seymanurakti/fight-detection-surv-dataset). Thirty further `no_fight` clips of it were
left out: they come in two picture sizes only, which would give them away.

## How good it is

Each fold left out in turn, when to stop chosen on a part of the others: accuracy {mean:.3f}
± {sd:.3f} over {seeds} seeds (always saying `fight`: 0.591). Of the first seed: balanced accuracy
{balanced:.3f}, recall of `fight` {fight:.2f}, of `no_fight` {no_fight:.2f}, calibration error
{ece:.2f}, 95 % interval of the accuracy over recordings {low:.2f} to {high:.2f}. The model in this
folder learnt from all clips for {epochs} epochs; it was measured on none.

`docs/results.md` of vmm-cli has the accuracy with the recipe chosen inside the folds, too, and what
metadata alone reaches. On your own cameras measure it with `vmm evaluate fights DATA`.

## Limits

220 clips are few, and of few scenes. Crowds, sports and play fights are likely to be taken for
fights; fights that are small in the picture, at its edge, or dark are likely to be missed. Nobody
has looked at how it treats different people.

## Licence and notices

Weights: Apache License 2.0, made by `tools/train_fights.py` of vmm-cli. The data set's repository
is under the MIT licence; the recordings in it are third parties' public surveillance footage, and
none of them is in this folder. Its notice:

```text
{notice}
```
"""

if __name__ == "__main__":
    main()
