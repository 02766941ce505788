"""Train on labelled clips and measure: python examples/train_and_measure.py CLIPS HELD_OUT RUN

CLIPS and HELD_OUT: folders with one folder of videos per class.
"""

import sys

import vmm_cli as vmm


def main() -> None:
    clips, held_out, run = sys.argv[1:]
    changes = ("optimisation.epochs=3",)  # leave this out for a model that is to be used
    trained = vmm.train(clips, run, changes=changes)
    measured = vmm.evaluate(trained.model, held_out)
    found = measured.document
    print(f"accuracy {found['metrics']['accuracy']:.2f} on {found['n']} clips")


if __name__ == "__main__":  # files are read in processes of their own
    main()
