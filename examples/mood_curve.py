"""How a video feels over time, as numbers: python examples/mood_curve.py VIDEO"""

import sys

import vmm_cli as vmm

found = vmm.sentiment(sys.argv[1], every=2)
curve = found.curve
for time_s, known, valence in zip(curve.steps.times_s, curve.known, curve.valence, strict=True):
    print(f"{time_s:7.1f} s  {f'{valence:+.2f}' if known else 'no evidence'}")
for kind, why in found.missing.items():
    print(f"{kind}: {why.message}", file=sys.stderr)
