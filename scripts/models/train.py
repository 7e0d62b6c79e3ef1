"""Trains, exports, quantises, evaluates and packages one demonstration model.

    scripts/models/train liver-localiser|liver-tumour [--iterations 3000] [--start models/liver-tumour/0.3.0/model.onnx]
    scripts/models/train pmn [--minutes 15]

Cases are drawn first (`--draw-only` does no more) and stay in `--work`; a stopped run resumes from its checkpoint
there, with its loss as a picture beside it. Runs on the CPU unless `--device cuda` is given. The package lands in
`models/<name>/<version>/`, signed with the demonstration key. `--sources` is what `real_sources.py` made of real CT,
`--real-ct` the folder it was made of, see `real_ct.py`; without them there are only phantoms, and the card says that no
real CT was measured. `--skip-training` packages the checkpoint as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["liver-localiser", "liver-tumour", "pmn"])
    parser.add_argument("--minutes", type=float, default=15.0, help="training time (pmn)")
    parser.add_argument("--iterations", type=int, default=3000, help="training length (U-Nets)")
    parser.add_argument("--sources", type=Path, default=REPOSITORY / "scripts/models/.work/sources",
                        help="what real_sources.py made; without it there are only phantoms")
    parser.add_argument("--kinds", default="pgtc",
                        help="cases to train on: p phantoms, g those of the appliance, t and c real CT")
    parser.add_argument("--start", type=Path, help="model.onnx of a package of the same shape to start from")
    parser.add_argument("--no-drawing", action="store_true", help="take the cases that are there")
    parser.add_argument("--draw-only", action="store_true", help="draw the cases and stop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--schedule", choices=["cpu", "paper"], default="cpu", help="of the pmn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=REPOSITORY / "scripts/models/.work", help="checkpoints")
    parser.add_argument("--models", type=Path, default=REPOSITORY / "models", help="where packages go")
    parser.add_argument("--real-ct", type=Path, help="folder of real labelled CT, see above")
    parser.add_argument("--cases", type=int, help="evaluation phantoms (default: the model's own number)")
    parser.add_argument("--note", default="One run without interruption.", help="how the run went, for card and manifest")
    parser.add_argument("--skip-training", action="store_true")
    parser.add_argument("--train-only", action="store_true")
    options = parser.parse_args()
    options.work, options.models = options.work.resolve(), options.models.resolve()
    torch.set_num_threads(options.threads)
    if options.model == "pmn":
        import pmn_model

        pmn_model.run(options)
    else:
        import unet_model

        unet_model.run(options)


if __name__ == "__main__":
    main()
