"""The model cards. The first line of each says that nothing here is clinical evidence."""

from __future__ import annotations

from typing import Any

from specifications import VERSIONS

FIRST_LINE = (
    "None of this is clinical evidence: a demonstration model, trained on computer-made phantoms and two CT scans."
)
PMN_FIRST_LINE = "None of this is clinical evidence: a demonstration model, trained on computer-made phantoms only."

PURPOSE = {
    "liver-localiser": (
        "Finds the liver's box in a whole CT volume at 4 mm, so that the fine network looks there only. "
        "Classes: background, liver (tumour counts as liver)."
    ),
    "liver-tumour": (
        "Segments liver and tumour at 2 mm inside the liver's box in the portal venous phase. "
        "Classes: background, liver, tumour. The network has the shape of nnU-Net's PlainConvUNet and works at "
        "4 mm inside: its first convolution halves the image, its last one doubles the logits."
    ),
}

FIGURES = {
    "liver-localiser": (
        "`liver_in_box` is the share of the liver inside the box that was found, margin included. `real_*_liver` is "
        "the Dice\nof the liver, `real_*_in_box` the share of it in the box, on whole real scans."
    ),
    "liver-tumour": (
        "`liver_dice` counts tumour as\nliver. `tumour_dice`, `false_tumour_ml` and `false_lesions` are means over "
        "the phantoms with tumour, `enhanced_*` over\nthose of them whose liver's median is above 65 HU; "
        "`healthy_*` over those without any. A lesion is a connected part of\n50 mm³ or more; a false one touches no "
        "tumour; `count_exact` is the share of all phantoms with as many found as there\nare. `lesion_dice_a_b_mm` is "
        "the Dice within 6 mm around each lesion whose equivalent diameter lies in that bin,\n`diameter_error_mm` the "
        "median error of the longest in-plane diameter of lesions of 20 mm or more.\n`real_*` is measured in the "
        "labelled liver's box with its margin: Dice of the liver and, where a tumour is labelled,\nof the tumour; "
        "`*_tumour_ml` is everything called tumour there."
    ),
}

REAL = """\
Real CT: `example_ct` and its top 30 slices `example_ct_sm` (TotalSegmentator's reference files, no contrast medium,
labels by another network) and `tcga` (portal phase, one large mass; the label is the teachers', not a radiologist's)
were training material, so their figures are no proof; `dcmqi` (three slices, drawn by hand, no contrast medium to
speak of, repeated to 60 mm; QIICR/dcmqi) was never trained on. Sources: TCGA-LIHC, TCIA, CC BY 3.0,
doi 10.7937/K9/TCIA.2016.IMMQW8UQ; TotalSegmentator, Apache-2.0. Teachers: KiU-Net trained on LiTS
(pascual-tejero/liver-tumor-vessel-segmentation, MIT) and OBELISK trained on TCIA Pancreas-CT
(mattiaspaul/OBELISK, MIT)."""

UNET_LIMITS = """\
* Its real CT are two examinations, bent and recoloured; everything else are ellipsoids, tubes and noise with textbook
  enhancement. Cirrhosis, surgery, stents, metal, lipiodol, motion and children are not in them.
* No radiologist's label of a tumour was available; tumour detection in people is untested.
* Without contrast medium a liver has hardly any contrast to tumour: what is called tumour there means nothing.
* A volume must be in RAS+ directions; a mirrored one puts the liver on the wrong side.
* Training took an hour on a shared CPU. A site that wants to use the appliance imports its own network.
"""

PMN_LIMITS = """\
* It was never trained on a patient. "Proliferative" here means a phantom drawn with a rim, a rough edge and
  necrosis; the class ranges overlap and 12 % of tumours have no class on purpose.
* The efficacy labels (HAIC, TACE) are invented: noisy functions of phenotype, necrosis, size and number, one
  treatment per case. Their distances exercise the software and say nothing about treatment.
* What the paper leaves open (box size, widths, depths, state size, pooling, threshold) is our own choice.
* The heat map has few, coarse tokens; it points at a region, not at a lesion's edge.
* Every case had at least one tumour of 30 mm or more; without a tumour the answer has no meaning.
* One seed, minutes on a CPU; other seeds were not compared.
"""


def metric_table(training: dict[str, Any]) -> str:
    """A Markdown table of the float and int8 figures."""
    rows = ["| figure | float | int8 |", "| --- | --- | --- |"]
    for key, value in training["int8_metric"].items():
        rows.append(f"| {key} | {training['float_metric'].get(key, '')} | {value} |")
    return "\n".join(rows)


def measured_in(training: dict[str, Any]) -> str:
    """What computed the figures of a PMN."""
    engine = "int8 in the engine that the device runs"
    return f"float in PyTorch, {engine}" if training["float_metric"] else f"{engine}; float was not measured"


def unet_trained_on(training: dict[str, Any]) -> str:
    start = training.get("started_from", "nothing")
    begun = "" if start == "nothing" else f" It started from the weights of {start}."
    return (
        f"{training['cases']} cases ({training['data']}), "
        f"{training['iterations']} iterations, {training['minutes']} minutes on {training['device']}, seed "
        f"{training['seed']}.{begun} Generator of the phantoms: `scripts/models/phantom.py`.\n\n{training['note']}"
    )


def trained_on(training: dict[str, Any]) -> str:
    return (
        f"{training['cases']} phantoms ({training['data']}) from the training seeds and ranges, "
        f"{training['iterations']} iterations, {training['minutes']} minutes on {training['device']}, seed "
        f"{training['seed']}. Generator: `scripts/models/phantom.py`.\n\n{training['note']}"
    )


def unet_card(name: str, training: dict[str, Any]) -> str:
    """CARD.md of a U-Net."""
    real = any(key.startswith("real_") for key in training["int8_metric"])
    note = REAL if real else "No real CT was at hand when this was measured."
    return f"""{FIRST_LINE}

# {name} {VERSIONS[name]}

## What it is for
{PURPOSE[name]}

## Trained on
{unet_trained_on(training)}

## Measured
On {training["held_out_cases"]} phantoms with seeds never used in training, and parameter ranges shifted and partly widened, each in one pass
(no sliding window), float ONNX against the int8 file in this package (calibration: {training["calibration"]}). {FIGURES[name]}
`patch_ms` is one patch in ONNX Runtime on two threads of a shared machine.

{note}

{metric_table(training)}

## What it cannot do
{UNET_LIMITS}"""


def pmn_card(training: dict[str, Any], threshold: float) -> str:
    """CARD.md of the PMN."""
    return f"""{PMN_FIRST_LINE}

# pmn {VERSIONS["pmn"]}

## What it is for
Shows how a Prototype Mamba Net turns two-phase CT of liver and tumour into distances to prototypes:
proliferative or not, and good or poor response to HAIC and TACE. p_A(proliferative) is the risk score.

The paper's outline (patch embedding of 3×3×3, convolution and state-space branch, prototypes, distance cross entropy
and cross entropy) at 96³ with our own numbers: stages of 32, 64, 128 and 256 channels, two blocks each, a chunked
state space (Mamba-2's SSD) over three axis orders both ways. Convolutions and products are int8; the recurrence, norms,
softmax and distances stay in f32 (the manifest lists the operators).

## Trained on
{trained_on(training)}

Schedule `{training["schedule"]}` of `scripts/models/pmn_training.py` (the paper's own learning rate, batch and epochs are the
schedule `paper`, which was not run); then the head was fitted to whole boxes as the int8 network sees them
(`scripts/models/pmn_head.py`, {training["head_cases"]} of the training phantoms; AUC on the validation phantoms {training["head_auc_before"]} before, {training["head_auc_after"]} after,
the best of several steps).

## Measured
On {training["held_out_cases"]} phantoms with seeds never used in training, and parameter ranges shifted and partly widened:
{measured_in(training)}. `auc` is for
proliferation, with DeLong's 95 % interval (`auc_low`, `auc_high`). The threshold {threshold} on p_A(proliferative) is
our own: the largest sensitivity + specificity on {training["validation_cases"]} validation phantoms, int8, the same that chose the head's step.
`auc_haic` and `auc_tace` are against invented labels.

{metric_table(training)}

## What it cannot do
{PMN_LIMITS}"""
