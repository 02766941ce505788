"""The best label of each video in a folder, as CSV: python examples/label_folder.py FOLDER"""

import csv
import sys
from pathlib import Path

import vmm_cli as vmm

model = vmm.load_model("imagenet")
rows = csv.writer(sys.stdout)
for path in sorted(Path(sys.argv[1]).glob("*.mp4")):
    try:
        best = model.classify(path, top_k=1).labels[0]
    except vmm.InputError as error:  # one bad file costs no other
        print(f"{path}: {error}", file=sys.stderr)
        continue
    rows.writerow([path.name, best.label, f"{best.score:.3f}"])
