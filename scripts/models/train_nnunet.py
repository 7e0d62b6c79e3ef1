"""A short training of the real `nnunetv2` on phantoms: a results folder to import, and volumes it has not seen.

    train_nnunet.py --work FOLDER [--shape plain|resenc] [--thick] [--folds 1] [--epochs 20]

Fingerprint, plan, preprocessing, augmentation and loss are nnU-Net's own; the planner is told of few features and
little memory, the trainer of few iterations. `--thick` keeps every third slice (7.5 mm of 2 mm), so that the plan is
anisotropic. Prints the results folder; `FOLDER/held-out` holds volumes for `compare_nnunet.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import torch

from package import REPOSITORY, engine_command

DATASET = "Dataset501_Phantoms"
LABELS = {"background": 0, "liver": 1, "tumour": 2}
CASES = 4
TRAINING_SEEDS, HELD_OUT_SEEDS = range(70_000, 70_000 + CASES), (71_000, 71_001)
ITERATIONS = 10
BASE_FEATURES, MOST_FEATURES = 8, 64
# What the planner may fill with a batch of two.
PLANNED_GB = 0.5


def phantom(folder: Path, seed: int, preset: str, keep_every: int) -> tuple[nibabel.Nifti1Image, nibabel.Nifti1Image]:
    """Portal venous phase and labels of one phantom, every `keep_every`th slice of it."""
    place = folder / f"phantom-{seed}"
    if not place.exists():
        arguments = ["phantom", "--single-phase", "--seed", str(seed), "--preset", preset, str(place)]
        subprocess.run([*engine_command(), *arguments], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    images = []
    for file in ("study/portal.nii.gz", "truth/labels.nii.gz"):
        whole = nibabel.load(place / file)
        affine = whole.affine.copy()
        affine[:, 2] *= keep_every
        images.append(nibabel.Nifti1Image(np.asarray(whole.dataobj)[:, :, ::keep_every], affine))
    return images[0], images[1]


def write_dataset(work: Path, thick: bool) -> None:
    """`nnUNet_raw` with the training cases, and the held-out volumes beside it: the small preset of coarse voxels for
    training, finer ones held out; or one preset with slices of two thicknesses."""
    raw = work / "raw" / DATASET
    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True, exist_ok=True)
    (work / "held-out").mkdir(exist_ok=True)
    for seed in TRAINING_SEEDS:
        image, label = phantom(work / "phantoms", seed, "demo" if thick else "small", 3 if thick else 1)
        nibabel.save(image, raw / "imagesTr" / f"case_{seed}_0000.nii.gz")
        nibabel.save(label, raw / "labelsTr" / f"case_{seed}.nii.gz")
    for seed, keep_every in zip(HELD_OUT_SEEDS, (4, 3) if thick else (1, 2), strict=True):
        nibabel.save(phantom(work / "phantoms", seed, "demo", keep_every)[0], work / "held-out" / f"{seed}.nii.gz")
    description = {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": CASES, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(description))


def plan(shape: str) -> str:
    """Runs nnU-Net's planner; returns the name of the plans."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
        ResEncUNetPlanner,
    )
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset

    extract_fingerprint_dataset(501, num_processes=1)
    base = ResEncUNetPlanner if shape == "resenc" else ExperimentPlanner
    planner = base(501, gpu_memory_target_in_gb=PLANNED_GB)
    planner.UNet_base_num_features, planner.UNet_max_features_3d = BASE_FEATURES, MOST_FEATURES
    planner.plan_experiment()
    return planner.plans_identifier


def train(plans_name: str, fold: int, epochs: int) -> Path:
    """Trains one fold; returns the results folder."""
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    place = Path(str(nnUNet_preprocessed)) / DATASET
    plans = json.loads((place / f"{plans_name}.json").read_text()) | {"continue_training": False}
    description = json.loads((place / "dataset.json").read_text())

    class Short(nnUNetTrainer):
        """The same with few iterations."""

        def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device):
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = ITERATIONS, 1
            self.num_epochs = epochs

    # The predictor looks for the trainer by this name, to build the network with it.
    Short.__name__ = "nnUNetTrainer"
    torch.manual_seed(fold)
    np.random.seed(fold)
    trainer = Short(plans, "3d_fullres", fold, description, torch.device("cpu"))
    trainer.run_training()
    return Path(trainer.output_folder_base)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--work", type=Path, required=True)
    arguments.add_argument("--shape", choices=("plain", "resenc"), default="plain")
    arguments.add_argument("--thick", action="store_true")
    arguments.add_argument("--folds", type=int, default=1)
    arguments.add_argument("--epochs", type=int, default=20)
    options = arguments.parse_args()
    work = options.work.resolve()
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(work / name)
    write_dataset(work, options.thick)
    plans_name = plan(options.shape)
    # Augmentation in this process; the planner wants a positive number.
    os.environ["nnUNet_n_proc_DA"] = "0"

    from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess_dataset

    preprocess_dataset(501, plans_name, ("3d_fullres",), (1,))
    cases = [f"case_{seed}" for seed in TRAINING_SEEDS]
    splits = [{"train": [case for case in cases if case != left_out], "val": [left_out]} for left_out in cases]
    (work / "preprocessed" / DATASET / "splits_final.json").write_text(json.dumps(splits))
    folder = [train(plans_name, fold, options.epochs) for fold in range(options.folds)][0]
    shutil.rmtree(work / "preprocessed", ignore_errors=True)
    print(folder)


if __name__ == "__main__":
    main()
