"""The model cards. The first line of each says that nothing here is clinical evidence."""

from __future__ import annotations

from typing import Any

from specifications import VERSIONS

FIRST_LINE = "None of this is clinical evidence: a demonstration model, trained on computer-made phantoms only."

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
    "liver-localiser": "`liver_in_box` is the share of the liver inside the box that was found.",
    "liver-tumour": (
        "`lesion_dice_a_b_mm` is the Dice within\n6 mm around each lesion whose equivalent diameter lies in that "
        "bin; `false_lesions` are parts of 50 mm³ or more per\nphantom that touch no tumour; `enhanced_*` leaves "
        "out the livers with a\nmedian below 65 HU, that is, without contrast medium."
    ),
}

UNET_LIMITS = """\
* It was never trained on a patient. The phantoms are ellipsoids, tubes and noise with textbook enhancement; fatty
  or cirrhotic livers, ascites, surgery, stents, metal, lipiodol, motion and children are not in them.
* Real CT is measured only where the table says so: two non-contrast examinations whose labels are another
  network's output, one being a part of the other. That is a sanity check and no evidence.
* No contrast-enhanced real CT with labels was available; tumour detection in people is untested.
* Without contrast medium a liver is as dark as tumour: the fine network calls large parts of it tumour.
* A volume must be in RAS+ directions; a mirrored one puts the liver on the wrong side.
* Training took minutes on a CPU. A site that wants to use the appliance imports its own network.
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


def trained_on(training: dict[str, Any]) -> str:
    return (
        f"{training['cases']} phantoms ({training['data']}) from the training seeds and ranges, "
        f"{training['iterations']} iterations, {training['minutes']} minutes on {training['device']}, seed "
        f"{training['seed']}. Generator: `scripts/models/phantom.py`.\n\n{training['note']}"
    )


def unet_card(name: str, training: dict[str, Any]) -> str:
    """CARD.md of a U-Net."""
    real = any(key.startswith("real_") for key in training["int8_metric"])
    note = (
        "`real_*` is the Dice of the liver on real non-contrast CT (TotalSegmentator's reference files); "
        "`*_tumour_ml` is what was called tumour there, where none is labelled. The fine network was given "
        "the labelled liver's box."
        if real
        else "No real CT was at hand when this was measured."
    )
    return f"""{FIRST_LINE}

# {name} {VERSIONS[name]}

## What it is for
{PURPOSE[name]}

## Trained on
{trained_on(training)}

## Measured
On {training["held_out_cases"]} phantoms with seeds never used in training, and parameter ranges shifted and partly widened, each in one pass
(no sliding window), float ONNX against the int8 file in this package. {FIGURES[name]}
`patch_ms` is one patch in ONNX Runtime on two threads of a shared machine. {note}

{metric_table(training)}

## What it cannot do
{UNET_LIMITS}"""


def pmn_card(training: dict[str, Any], threshold: float) -> str:
    """CARD.md of the PMN."""
    return f"""{FIRST_LINE}

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
