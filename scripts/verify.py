#!/usr/bin/env python3
"""Verifies signed messages of hcc-edge; shares no code with the program that makes them.

    verify.py --trust trust.toml result.cose             one file (.cose, or a JSON view)
    verify.py --trust trust.toml --subscribe BROKER      results as they are published
    mosquitto_sub -t 'hcc/v1/+/+/result' -F '%t %x' | verify.py --trust trust.toml --lines
    verify.py --self-test tests/vectors                  the shared test vectors

Exit status: 0 verified, 5 refused (the reason is on standard error), 66 no such file, 69 no broker.
As a module: verify(kind, envelope, trust, topic=None) -> message, or Refused is raised.

Needs Python 3.11 and `cryptography` (requirements-verify.txt); --subscribe also paho-mqtt.
"""

import argparse
import base64
import datetime
import hashlib
import json
import math
import re
import sys
import tomllib
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_MESSAGE = 16 * 1024
MAX_DEPTH = 16
MAX_RESEND = 1000
PREFIX = "application/vnd.hcc-edge."
ROLES = {
    "result": "device",
    "status": "device",
    "checkpoint": "device",
    "ack": "consumer",
    "resend": "consumer",
}


class Refused(Exception):
    """A message that does not verify; `verdict` is the step that refused it."""

    def __init__(self, verdict, why):
        super().__init__(f"{verdict}: {why}")
        self.verdict = verdict


class NotStrict(Exception):
    """CBOR that is not in its deterministic form, or not what was expected."""


# --- CBOR: the subset of RFC 8949 that the messages use, deterministic form only -----------------


class Tagged:
    """A tagged value."""

    def __init__(self, tag, value):
        self.tag, self.value = tag, value


def parse_cbor(data):
    """The one value that `data` holds, to its last byte."""
    value, end = _item(data, 0, 0)
    if end != len(data):
        raise NotStrict(f"{len(data) - end} bytes too many")
    return value


def _head(data, at):
    if at >= len(data):
        raise NotStrict("it ends too early")
    major, info = data[at] >> 5, data[at] & 31
    if info < 24:
        return major, info, at + 1, info
    if info > 27:
        raise NotStrict("indefinite length or reserved form")
    size = 1 << (info - 24)
    raw = data[at + 1 : at + 1 + size]
    if len(raw) != size:
        raise NotStrict("it ends too early")
    value = int.from_bytes(raw, "big")
    if major < 7 and value < (24 if size == 1 else 1 << (4 * size)):
        raise NotStrict("a number is longer than needed")
    return major, value, at + 1 + size, info


def _item(data, at, depth):
    if depth > MAX_DEPTH:
        raise NotStrict("nested too deeply")
    major, value, at, info = _head(data, at)
    if major == 0:
        return value, at
    if major == 1:
        return -1 - value, at
    if major in (2, 3):
        raw = data[at : at + value]
        if len(raw) != value:
            raise NotStrict("it ends too early")
        if major == 2:
            return bytes(raw), at + value
        try:
            return bytes(raw).decode("utf-8"), at + value
        except UnicodeDecodeError:
            raise NotStrict("a text is not UTF-8") from None
    if major == 4:
        items = []
        for _ in range(value):
            item, at = _item(data, at, depth + 1)
            items.append(item)
        return items, at
    if major == 5:
        return _map(data, at, value, depth)
    if major == 6:
        item, at = _item(data, at, depth + 1)
        return Tagged(value, item), at
    if info in (20, 21, 22):
        return {20: False, 21: True, 22: None}[info], at
    raise NotStrict("a float or an unknown simple value")


def _map(data, at, count, depth):
    pairs, before = {}, None
    for _ in range(count):
        start = at
        key, at = _item(data, at, depth + 1)
        if isinstance(key, bool) or not isinstance(key, (int, str)):
            raise NotStrict("a key that is neither number nor text")
        encoded = bytes(data[start:at])
        if before is not None and encoded <= before:
            raise NotStrict("keys are not in order")
        before = encoded
        pairs[key], at = _item(data, at, depth + 1)
    return pairs, at


def _bytes_head(raw):
    size = len(raw)
    if size < 24:
        return bytes([0x40 | size])
    if size < 256:
        return bytes([0x58, size])
    if size < 65536:
        return b"\x59" + size.to_bytes(2, "big")
    return b"\x5a" + size.to_bytes(4, "big")


# --- The messages: field names and types in the order of src/seal/result.cddl --------------------
# Types: uint, int, bool, slug, textN (at most N bytes), bytesN (exactly N), `null|T`,
# `A..B T` (a list of A to B), or the name of a map or of a list of codes below.

MAPS = {
    "result": """
        v: uint
        site: slug
        device: slug
        epoch: bytes8
        seq: uint
        prev: bytes32
        result_id: bytes16
        signed_at_ms: uint
        clock_quality: clock-quality
        status: study-status
        reasons: 0..12 reason
        input_digest: inputs
        subject: null|bytes32
        study_digest: bytes32
        models: 0..6 model-use
        software: text64
        engine: null|engine
        intended_use: intended-use
        pmn: null|pmn
        lesions: null|lesions
        clinical: null|clinical
        nomograms: 0..2 nomogram
        recommendation: recommendation
        gate: 0..48 gate-value
        timings_ms: 0..10 timing
        history: bool
        supersedes: null|bytes16""",
    "inputs": """
        rule: completion-rule
        series: 0..6 input-series""",
    "input-series": """
        role: input-role
        files: uint
        bytes: uint
        digest: bytes32""",
    "reason": """
        code: reason-code
        detail: null|text160""",
    "model-use": """
        name: slug
        version: text16
        task: task
        manifest_digest: bytes32
        intended_use: intended-use""",
    "engine": """
        backend: text32
        precision: precision
        device: text48
        analysis_version: uint""",
    "pmn": """
        score_e4: uint
        proliferative: bool
        threshold_e4: uint
        distances_e6: 6..6 uint
        haic_good_e4: uint
        tace_good_e4: uint""",
    "lesions": """
        count: uint
        liver_mm3: uint
        tumour_mm3: uint
        list: 0..32 lesion""",
    "lesion": """
        diameter_um: uint
        volume_mm3: uint
        centre_um: 3..3 int""",
    "clinical": """
        eligibility: 0..8 criterion-check
        albi_e4: null|int
        albi_grade: null|albi-grade
        child_pugh_points: null|uint
        child_pugh_class: null|child-pugh-class
        supplied: supplied
        burden: burden
        stagings: 0..8 staging
        tace: 0..16 contraindication-check
        body_surface_m2_e4: null|uint
        reference_doses: 0..12 dose
        findings: 0..4 clinical-finding""",
    "burden": """
        count: null|uint
        count_source: source
        diameter_um: null|uint
        diameter_source: source""",
    "staging": """
        system: staging-system
        stage: null|stage
        value_e4: null|int
        needs: 0..12 clinical-field""",
    "contraindication-check": """
        item: contraindication
        present: met""",
    "dose": """
        item: dose-item
        low: uint
        high: uint
        total_mg_e1: null|uint""",
    "criterion-check": """
        criterion: criterion
        value_e3: null|int
        met: met""",
    "supplied": """
        age_years_e3: null|uint
        sex: null|sex
        ecog: null|uint
        hbv: null|bool
        afp_ng_ml_e3: null|uint
        ast_u_l_e3: null|uint
        bilirubin_umol_l_e3: null|uint
        albumin_g_l_e3: null|uint
        inr_e3: null|uint
        ascites: null|ascites
        encephalopathy: null|encephalopathy
        pvtt: null|pvtt
        extrahepatic_spread: null|bool
        prior_therapy: null|bool
        second_malignancy: null|bool
        days_ct_to_treatment: null|int
        lesion_count: null|uint
        largest_diameter_um: null|uint
        lymph_node_metastasis: null|bool
        distant_metastasis: null|bool
        hepatic_vein_invasion: null|hepatic-vein
        bile_duct_invasion: null|bool
        lobes: null|lobes
        diffuse_type: null|bool
        creatinine_umol_l_e3: null|uint
        refractory_ascites: null|bool
        hepatorenal_syndrome: null|bool
        portal_flow: null|portal-flow
        arterial_access_barrier: null|bool
        untreated_varices: null|bool
        bile_duct_obstruction: null|bool
        severe_comorbidity: null|bool
        height_cm_e3: null|uint
        weight_kg_e3: null|uint""",
    "nomogram": """
        treatment: treatment
        package: slug
        version: text16
        manifest_digest: bytes32
        terms: 0..16 term
        lp_e4: null|int
        score_e4: null|int
        cutoff_e4: null|int
        cutoff_provenance: provenance
        risk_group: risk-group
        survival: 0..6 survival
        slope_e4: int
        intercept_e4: int
        band_e4: uint
        high_risk_side: side
        lp_mean_e4: int
        baseline: 0..6 survival
        baseline_provenance: provenance
        published_cutoff_e4: int""",
    "term": """
        name: text32
        value_e4: null|int
        unit: text16
        source: source
        coefficient_e4: int
        points_e2: null|int
        provenance: provenance
        provenance_text: text80
        low_e4: int
        high_e4: int
        extrapolated: bool""",
    "survival": """
        months: uint
        probability_e4: uint""",
    "recommendation": """
        code: recommendation-code
        wording: wording""",
    "gate-value": """
        code: gate-code
        value_e3: int""",
    "timing": """
        stage: stage-code
        elapsed_ms: uint""",
    "status": """
        v: uint
        site: slug
        device: slug
        epoch: bytes8
        boot: uint
        beat: uint
        signed_at_ms: uint
        clock_quality: clock-quality
        state: device-state
        last_seq: uint
        last_digest: bytes32
        backlog: uint
        sandbox: sandbox
        software: text64""",
    "sandbox": """
        rlimits: bool
        no_new_privs: bool
        seccomp: bool
        landlock_abi: uint""",
    "checkpoint": """
        v: uint
        site: slug
        device: slug
        epoch: bytes8
        lsn: uint
        chain: bytes32
        last_seq: uint
        last_digest: bytes32
        signed_at_ms: uint
        clock_quality: clock-quality""",
    "ack": """
        v: uint
        site: slug
        device: slug
        epoch: bytes8
        seq: uint
        signed_at_ms: uint""",
    "resend": """
        v: uint
        site: slug
        device: slug
        epoch: bytes8
        from: uint
        to: uint
        signed_at_ms: uint""",
}

CODES = {
    "study-status": "0=ok 1=abstained 2=unreadable 3=failed",
    "intended-use": "0=demonstration 1=clinical",
    "clock-quality": "0=unknown 1=rtc 2=ntp",
    "task": "0=localisation 1=segmentation 2=classification 3=nomogram",
    "precision": "0=int8 1=float32 2=mixed",
    "input-role": "0=portal 1=arterial 2=clinical 3=other 4=dicom 5=phases",
    "completion-rule": "0=done_marker 1=quiescence 2=deadline",
    "sex": "0=female 1=male 2=other",
    "ascites": "0=none 1=mild 2=severe",
    "encephalopathy": "0=none 1=mild 2=severe",
    "pvtt": "0=none 1=vp1 2=vp2 3=vp3 4=vp4",
    "criterion": """
        0=age 1=ecog 2=child_pugh 3=diameter 4=prior_therapy 5=second_malignancy
        6=days_ct_to_treatment 7=both_phases""",
    "met": "0=no 1=yes 2=unknown",
    "albi-grade": "1=1 2=2 3=3",
    "child-pugh-class": "0=a 1=b 2=c",
    "hepatic-vein": "0=none 1=vv1 2=vv2 3=vv3",
    "lobes": "0=one 1=both 2=both_replaced",
    "portal-flow": "0=hepatopetal 1=hepatofugal",
    "side": "0=high 1=low",
    "clinical-field": """
        0=age_years 1=sex 2=ecog 3=hbv 4=afp_ng_ml 5=ast_u_l 6=bilirubin_umol_l 7=albumin_g_l 8=inr
        9=ascites 10=encephalopathy 11=pvtt 12=extrahepatic_spread 13=prior_therapy
        14=second_malignancy 15=days_ct_to_treatment 16=lesion_count 17=largest_diameter_mm
        18=lymph_node_metastasis 19=distant_metastasis 20=hepatic_vein_invasion
        21=bile_duct_invasion 22=lobes 23=diffuse_type 24=creatinine_umol_l 25=refractory_ascites
        26=hepatorenal_syndrome 27=portal_flow 28=arterial_access_barrier 29=untreated_varices
        30=bile_duct_obstruction 31=severe_comorbidity 32=height_cm 33=weight_kg""",
    "staging-system": """
        0=malbi 1=bclc_2022 2=easl_2018 3=cnlc 4=jsh_lcsgj 5=hklc 6=six_and_twelve 7=up_to_seven""",
    "stage": """
        0=malbi_1 1=malbi_2a 2=malbi_2b 3=malbi_3 16=bclc_0 17=bclc_a 18=bclc_b 19=bclc_c 20=bclc_d
        32=easl_0 33=easl_a 34=easl_b 35=easl_c 36=easl_d 48=cnlc_ia 49=cnlc_ib 50=cnlc_iia
        51=cnlc_iib 52=cnlc_iiia 53=cnlc_iiib 54=cnlc_iv 64=lcsgj_i 65=lcsgj_ii 66=lcsgj_iii
        67=lcsgj_iva 68=lcsgj_ivb 80=hklc_i 81=hklc_iia 82=hklc_iib 83=hklc_iiia 84=hklc_iiib
        85=hklc_iva 86=hklc_ivb 87=hklc_va 88=hklc_vb 96=at_most_6 97=above_6_to_12 98=above_12
        112=within_7 113=beyond_7""",
    "contraindication": """
        0=decompensation 1=jaundice 2=encephalopathy 3=refractory_ascites 4=hepatorenal_syndrome
        5=both_lobes_replaced 6=portal_flow 7=arterial_access 8=renal_failure 9=large_tumour
        10=untreated_varices 11=bile_duct_obstruction 12=severe_comorbidity""",
    "dose-item": """
        0=oxaliplatin_85 1=oxaliplatin_130 2=leucovorin_200 3=leucovorin_400 4=fluorouracil_bolus
        5=fluorouracil_infusion 6=lipiodol 7=platinum 8=epirubicin""",
    "clinical-finding": "0=lesion_count_differs 1=diameter_differs 2=bilirubin_unit",
    "treatment": "0=tace 1=haic",
    "source": "0=measured 1=supplied 2=missing",
    "provenance": "0=published 1=own_fit 2=placeholder",
    "risk-group": "0=low 1=high 2=indeterminate 3=not_computable",
    "recommendation-code": "0=none 1=haic_favoured 2=no_significant_difference_shown 3=discuss",
    "wording": """
        0=none 1=haic_favoured_1 2=no_significant_difference_1 3=discuss_discordant_1
        4=discuss_indeterminate_1 8=discuss_not_computable_2 9=discuss_contradiction_1
        10=discuss_extrapolated_1 11=discuss_high_2 12=discuss_low_2""",
    "stage-code": """
        0=decode 1=gate 2=localise 3=segment 4=measure 5=classify 6=clinical 7=render 8=total
        9=register""",
    "device-state": "0=online 1=stopped 2=offline",
    "gate-code": """
        0=slices_portal 1=slices_arterial 2=spacing_x_mm 3=spacing_y_mm 4=spacing_z_mm 5=extent_z_mm
        6=liver_ml 7=tumour_ml 8=liver_hu_portal 9=liver_hu_arterial 10=tumour_hu_portal
        11=tumour_hu_arterial 12=liver_sd_hu_portal 13=low_hu_portal 14=high_hu_portal
        15=low_hu_arterial 16=high_hu_arterial 17=air_fraction 18=phase_overlap 19=phase_similarity
        20=phase_shift_mm 21=liver_coverage 22=liver_fraction 23=obliquity_deg 24=voxels_million
        25=spacing_arterial_z_mm 26=implausible_fraction 27=largest_diameter_mm 28=liver_components
        29=vessel_hu_arterial 30=vessel_hu_portal 31=soft_tissue_fraction
        32=aorta_hu_arterial 33=aorta_hu_portal 34=series_usable 35=series_refused
        36=objects_left_out 37=phase_shift_right_mm 38=phase_shift_anterior_mm
        39=phase_shift_superior_mm 40=liver_at_sides_cm2 41=tumour_outside_fraction
        42=prototype_distance""",
    "reason-code": """
        0=empty_study 1=incomplete 2=marker_mismatch 3=symlink_refused 4=ambiguous_role
        5=clinical_invalid 6=arterial_missing 7=portal_missing 8=too_many_files 9=study_invalid
        20=not_nifti 21=truncated 22=corrupt 23=wrong_datatype 24=not_three_dimensional 25=colour
        26=not_finite 27=implausible_hu 28=bad_header 29=no_orientation 30=bad_spacing 31=too_large
        32=spacing_not_supported 33=too_few_slices 34=not_dicom 35=slices_missing
        36=transfer_syntax_not_read 37=lossy_compression 38=duplicate_slices 39=gantry_tilt
        50=phases_do_not_match 51=no_liver 52=no_tumour 53=liver_cut_off 54=not_contrast_enhanced
        55=phases_swapped 56=phase_unclear 57=phases_not_aligned
        58=lesions_outside_liver 59=out_of_distribution 70=poison 71=worker_crashed 72=worker_timeout 73=worker_memory 74=internal
        75=model_refused 100=out_of_range:age 101=out_of_range:ecog 102=out_of_range:child_pugh
        103=out_of_range:diameter 104=out_of_range:prior_therapy 105=out_of_range:second_malignancy
        106=out_of_range:days_ct_to_treatment 120=unknown:age 121=unknown:ecog
        122=unknown:child_pugh 123=unknown:diameter 124=unknown:prior_therapy
        125=unknown:second_malignancy 126=unknown:days_ct_to_treatment""",
}

MAPS = {
    name: [tuple(line.strip().split(": ", 1)) for line in text.strip().splitlines()]
    for name, text in MAPS.items()
}
CODES = {
    name: {int(number): word for number, word in (pair.split("=", 1) for pair in text.split())}
    for name, text in CODES.items()
}
CONTRAINDICATIONS = list(CODES["contraindication"].values())
WORDINGS = {
    "none": "none",
    "haic_favoured_1": "haic_favoured",
    "no_significant_difference_1": "no_significant_difference_shown",
    "discuss_discordant_1": "discuss",
    "discuss_indeterminate_1": "discuss",
    "discuss_not_computable_2": "discuss",
    "discuss_contradiction_1": "discuss",
    "discuss_extrapolated_1": "discuss",
    "discuss_high_2": "discuss",
    "discuss_low_2": "discuss",
}


def _typed(kind, value, place):
    """`value` under its names, in the form of the JSON view; NotStrict when it is not a `kind`."""

    def require(holds):
        if not holds:
            raise NotStrict(f"{place} is not {kind}")

    if kind.startswith("null|"):
        return None if value is None else _typed(kind[5:], value, place)
    if ".." in kind:
        bounds, inner = kind.split(" ", 1)
        low, high = map(int, bounds.split(".."))
        require(isinstance(value, list) and low <= len(value) <= high)
        return [_typed(inner, item, f"{place}[{at}]") for at, item in enumerate(value)]
    number = isinstance(value, int) and not isinstance(value, bool)
    if kind == "uint":
        require(number and 0 <= value < 1 << 64)
    elif kind == "int":
        require(number and -(1 << 63) <= value < 1 << 63)
    elif kind == "bool":
        require(isinstance(value, bool))
    elif kind == "slug":
        require(isinstance(value, str) and re.fullmatch("[a-z0-9-]{1,32}", value))
    elif kind.startswith("text"):
        require(isinstance(value, str) and len(value.encode()) <= int(kind[4:]))
        require(not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value))
    elif kind.startswith("bytes"):
        require(isinstance(value, bytes) and len(value) == int(kind[5:]))
        return value.hex()
    elif kind in CODES:
        require(number and value in CODES[kind])
        return CODES[kind][value]
    else:
        fields = MAPS[kind]
        require(isinstance(value, dict) and list(value) == list(range(len(fields))))
        return {
            name: _typed(inner, value[key], f"{place}.{name}")
            for key, (name, inner) in enumerate(fields)
        }
    return value


# --- The rules at the end of result.cddl ---------------------------------------------------------


def _check(kind, message):
    def require(holds, rule):
        if not holds:
            raise Refused("inconsistent", rule)

    require(message["v"] == 1, "the format version is not 1")
    if kind == "result":
        _check_result(message, require)
    elif kind in ("status", "checkpoint"):
        if kind == "status":
            require((message["state"] == "offline") == (message["beat"] == 0), "beat 0 is the will")
        empty = message["last_digest"] == "00" * 32
        require((message["last_seq"] == 0) == empty, "the last digest belongs to the last seq")
    elif kind == "ack":
        require(message["seq"] >= 1, "seq counts from 1")
    else:
        require(1 <= message["from"] <= message["to"], "the range is empty")
        require(message["to"] - message["from"] < MAX_RESEND, "too many messages are asked for")


def _check_result(message, require):
    require(message["seq"] >= 1, "seq counts from 1")
    require((message["seq"] == 1) == (message["prev"] == "00" * 32), "prev is zero only for seq 1")
    uses = [model["intended_use"] for model in message["models"]]
    released = bool(uses) and all(use == "clinical" for use in uses)
    require(released or message["intended_use"] == "demonstration", "clinical use without release")
    numbers = {word: number for number, word in CODES["input-role"].items()}
    roles = [numbers[series["role"]] for series in message["input_digest"]["series"]]
    require(roles == sorted(set(roles)), "input roles are not in order")
    scored = message["status"] == "ok"
    recommendation = message["recommendation"]
    require(scored == (not message["reasons"]), "reasons exactly when there is no score")
    require(scored == (message["pmn"] is not None), "a risk score exactly when ok")
    require(scored or not message["nomograms"], "a nomogram although not ok")
    require(scored == (recommendation["code"] != "none"), "a recommendation exactly when ok")
    require(not scored or message["lesions"] is not None, "a score without lesions")
    require(WORDINGS[recommendation["wording"]] == recommendation["code"], "another wording")
    pmn = message["pmn"] or {}
    for name in ("score_e4", "threshold_e4", "haic_good_e4", "tace_good_e4"):
        require(pmn.get(name, 0) <= 10_000, "a probability above 1")
    if message["lesions"] is not None:
        listed = [lesion["diameter_um"] for lesion in message["lesions"]["list"]]
        require(len(listed) <= message["lesions"]["count"], "more lesions listed than counted")
        require(listed == sorted(listed, reverse=True), "lesions are not largest first")
    if message["clinical"] is not None:
        _check_clinical(message["clinical"], require)
    if scored:
        _check_grounds(message, require)
    for nomogram in message["nomograms"]:
        _check_nomogram(nomogram, require)
    treatments = [nomogram["treatment"] for nomogram in message["nomograms"]]
    require(treatments in ([], ["tace"], ["haic"], ["tace", "haic"]), "nomograms not in order")


def _check_grounds(message, require):
    """A recommendation may say no more than what it stands on."""
    clinical = message["clinical"] or {"eligibility": [], "findings": []}
    judged = [check["met"] for check in clinical["eligibility"]]
    require(judged and set(judged) == {"yes"}, "a score although a criterion is not met")
    require(len(message["nomograms"]) == 2, "a recommendation without both nomograms")
    groups = {nomogram["risk_group"] for nomogram in message["nomograms"]}
    terms = [term for nomogram in message["nomograms"] for term in nomogram["terms"]]
    if clinical["findings"]:
        allowed = ["discuss_contradiction_1"]
    elif "not_computable" in groups:
        allowed = ["discuss_not_computable_2"]
    elif any(term["extrapolated"] for term in terms):
        allowed = ["discuss_extrapolated_1"]
    elif "indeterminate" in groups:
        allowed = ["discuss_indeterminate_1"]
    elif groups == {"high"}:
        allowed = ["haic_favoured_1", "discuss_high_2"]
    elif groups == {"low"}:
        allowed = ["no_significant_difference_1", "discuss_low_2"]
    else:
        allowed = ["discuss_discordant_1"]
    require(message["recommendation"]["wording"] in allowed, "a recommendation without grounds")


def _check_nomogram(nomogram, require):
    missing = [term["source"] == "missing" for term in nomogram["terms"]]
    empty = [term["value_e4"] is None for term in nomogram["terms"]]
    require(missing == empty, "a term has a value exactly when it is not missing")
    computable = nomogram["risk_group"] != "not_computable"
    require(not (computable and any(missing)), "computed although a value is missing")
    for name in ("lp_e4", "score_e4"):
        require(computable == (nomogram[name] is not None), "a score exactly when computable")
    require(not computable or nomogram["cutoff_e4"] is not None, "a group without a cut-off")
    require(computable or not nomogram["survival"], "survival without a score")
    for point in nomogram["survival"] + nomogram["baseline"]:
        require(point["probability_e4"] <= 10_000, "a probability above 1")


def _check_clinical(clinical, require):
    burden = clinical["burden"]
    for value in ("count", "diameter"):
        held = burden["diameter_um" if value == "diameter" else value]
        missing = burden[f"{value}_source"] == "missing"
        require((held is None) == missing, "a tumour burden exactly when it is not missing")
    systems = {word: number for number, word in CODES["staging-system"].items()}
    stages = {word: number for number, word in CODES["stage"].items()}
    for staging in clinical["stagings"]:
        if staging["stage"] is not None:
            own = stages[staging["stage"]] // 16 == systems[staging["system"]]
            require(own, "a stage of another staging")
            require(not staging["needs"], "a stage that needs something")
    for kind, items in (
        ("staging-system", [staging["system"] for staging in clinical["stagings"]]),
        ("contraindication", [check["item"] for check in clinical["tace"]]),
        ("dose-item", [dose["item"] for dose in clinical["reference_doses"]]),
        ("clinical-finding", clinical["findings"]),
    ):
        numbers = {word: number for number, word in CODES[kind].items()}
        listed = [numbers[item] for item in items]
        require(listed == sorted(set(listed)), f"{kind}s are not in order")


def redo_sums(message):
    """Redoes every nomogram: points, linear predictor, score, risk group and survival; ALBI, mALBI,
    Child-Pugh, the tumour burden, its sums and the findings, as far as what they are made of is in
    the message; and the totals of the published doses. A list of complaints.

    Numbers were rounded before they were sent, so each result may differ by what half a unit of
    every number it was made of can do, and half a unit of its own.
    """
    parts = [
        (nomogram["treatment"], _redo_nomogram, (message, nomogram))
        for nomogram in message["nomograms"]
    ]
    if message["clinical"] is not None:
        parts.append(("liver function", _redo_liver, (message["clinical"],)))
        parts.append(("tumour burden", _redo_burden, (message["clinical"], message["lesions"])))
        parts.append(("doses", _redo_doses, (message["clinical"],)))
    complaints = []
    for name, redo, of in parts:
        try:
            found = redo(*of)
        except ArithmeticError as problem:  # Numbers no patient has; the message is wrong.
            found = [f"cannot be redone ({problem})"]
        complaints += [f"{name}: {complaint}" for complaint in found]
    return complaints


def _redo_nomogram(message, nomogram):
    complaints = _redo_points(nomogram["terms"]) + _redo_values(message, nomogram["terms"])
    if nomogram["lp_e4"] is None:
        return complaints
    pairs = [(term["value_e4"], term["coefficient_e4"]) for term in nomogram["terms"]]
    total = sum(value * coefficient for value, coefficient in pairs)
    slack = sum(abs(value) + abs(coefficient) + 1 for value, coefficient in pairs) / 2 + 10_000
    if abs(total - nomogram["lp_e4"] * 10_000) > slack:
        complaints.append(
            f"the terms add up to {total / 1e8:.4f}, the message says {nomogram['lp_e4'] / 1e4:.4f}"
        )
    lp, slope = nomogram["lp_e4"], nomogram["slope_e4"]
    score = (slope * lp) / 1e4 + nomogram["intercept_e4"]
    if abs(score - nomogram["score_e4"]) > (abs(slope) + abs(lp)) / 2e4 + 2:
        complaints.append(f"the score is {score / 1e4:.4f}, not {nomogram['score_e4'] / 1e4:.4f}")
    return complaints + _redo_group(nomogram) + _redo_survival(nomogram)


def _redo_points(terms):
    """100 points are the widest span a term has over its fitted range, 0 its harmless end."""
    spans = [(abs(t["coefficient_e4"]) * (t["high_e4"] - t["low_e4"]), t) for t in terms]
    widest, of = max(spans, key=lambda span: span[0], default=(0, None))
    # What half a unit of its coefficient and of both ends of its range can do to the widest span.
    doubt = abs(of["coefficient_e4"]) + (of["high_e4"] - of["low_e4"]) / 2 if widest else 0
    complaints = []
    for term in terms:
        if term["value_e4"] is None:
            continue
        value, coefficient = term["value_e4"], term["coefficient_e4"]
        outside = not term["low_e4"] <= value <= term["high_e4"]
        # A value that was rounded onto the end of its range may lie on either side of it.
        near = min(abs(value - term["low_e4"]), abs(value - term["high_e4"])) <= 1
        if term["extrapolated"] != outside and not near:
            complaints.append(f"{term['name']} is within its fitted range or not")
        if term["points_e2"] is None or widest == 0:
            continue
        harmless = term["high_e4"] if coefficient < 0 else term["low_e4"]
        points = 1e4 * coefficient * (value - harmless) / widest
        moved = abs(coefficient) + abs(value - harmless) / 2 + 1
        slack = (1e4 * moved + abs(points) * doubt) / widest + 1
        if abs(points - term["points_e2"]) > slack:
            complaints.append(
                f"{term['name']} has {points / 100:.2f} points, not {term['points_e2'] / 100:.2f}"
            )
    return complaints


def _redo_values(message, terms):
    """The values of the terms that stand elsewhere in the message too."""
    if message["clinical"] is None or message["pmn"] is None:
        return []
    given, burden = message["clinical"]["supplied"], message["clinical"]["burden"]
    listed = message["lesions"]["list"] if message["lesions"] else []

    def times(factor, value):
        return None if value is None else factor * value

    expected = {
        "sex_male": times(10_000, _known(given["sex"], lambda sex: sex == "male")),
        "hbv": times(10_000, given["hbv"]),
        "ast_u_l": times(10, given["ast_u_l_e3"]),
        "lesion_count": times(10_000, burden["count"]),
        "largest_diameter_cm": listed[0]["diameter_um"] if listed else None,
        "pvtt": times(10_000, _known(given["pvtt"], lambda vp: vp != "none")),
        "dl_risk_score": message["pmn"]["score_e4"],
        "proliferative": 10_000 * message["pmn"]["proliferative"],
    }
    complaints = []
    for term in terms:
        if term["name"] not in expected:
            continue
        value, wanted = term["value_e4"], expected[term["name"]]
        same = value == wanted if None in (value, wanted) else abs(value - wanted) <= 5
        if not same:
            complaints.append(f"{term['name']} is not the message's own value")
    return complaints


def _known(value, test):
    """test(value), unknown when the value is."""
    return None if value is None else test(value)


def _redo_group(nomogram):
    excess = nomogram["score_e4"] - nomogram["cutoff_e4"]
    if nomogram["high_risk_side"] == "low":
        excess = -excess

    def group(excess):
        if abs(excess) < nomogram["band_e4"]:
            return "indeterminate"
        return "high" if excess >= 0 else "low"

    # Score, cut-off and band were rounded, which can move the score by two units and no more.
    reachable = {group(excess + units) for units in range(-2, 3)}
    if nomogram["risk_group"] not in reachable:
        return [f"the risk group is {group(excess)}, not {nomogram['risk_group']}"]
    return []


def _redo_survival(nomogram):
    complaints = []
    baseline = {point["months"]: point["probability_e4"] / 1e4 for point in nomogram["baseline"]}
    # Beyond e^700 the power is 0 or 1 to every digit.
    exponent = (nomogram["lp_e4"] - nomogram["lp_mean_e4"]) / 1e4
    hazard = math.exp(max(-700.0, min(700.0, exponent)))
    for point in nomogram["survival"]:
        reference = baseline.get(point["months"])
        if reference is None:
            complaints.append(f"no baseline at {point['months']} months")
            continue
        low = max(reference - 0.5e-4, 0.0) ** (hazard * (1 + 1e-4))
        high = min(reference + 0.5e-4, 1.0) ** (hazard * (1 - 1e-4))
        if not low - 0.51e-4 <= point["probability_e4"] / 1e4 <= high + 0.51e-4:
            complaints.append(
                f"survival at {point['months']} months is {reference**hazard:.4f}, "
                f"not {point['probability_e4'] / 1e4:.4f}"
            )
    return complaints


def _albi_grades(albi_e4, limits):
    """The grades a rounded ALBI score can have: 1 up to the first limit, and so on."""
    return {1 + sum(albi_e4 + units > limit for limit in limits) for units in (-1, 0, 1)}


def _redo_liver(clinical):
    """ALBI, mALBI (reference notes, 3.1) and Child-Pugh (3.2) from what was supplied."""
    complaints, given = [], clinical["supplied"]
    bilirubin, albumin = given["bilirubin_umol_l_e3"], given["albumin_g_l_e3"]
    albi = clinical["albi_e4"]
    if (albi is None) != (bilirubin is None or albumin is None):
        complaints.append("ALBI exactly when bilirubin and albumin are there")
    elif albi is not None and bilirubin == 0:
        complaints.append("ALBI of a bilirubin of 0")
    elif albi is not None:
        score = 0.66 * math.log10(bilirubin / 1e3) - 0.085 * albumin / 1e3
        # Half a unit of bilirubin, albumin and the score itself.
        slack = 0.66 / math.log(10) * 0.5 / bilirubin + 0.085 * 0.5e-3 + 0.51e-4
        if abs(score - albi / 1e4) > slack:
            complaints.append(f"ALBI is {score:.4f}, not {albi / 1e4:.4f}")
    grade = clinical["albi_grade"]
    if (grade is None) != (albi is None):
        complaints.append("an ALBI grade exactly when there is a score")
    elif albi is not None and int(grade) not in _albi_grades(albi, (-26_000, -13_900)):
        complaints.append(f"ALBI {albi / 1e4:.4f} is not grade {grade}")
    for staging in clinical["stagings"]:
        if staging["system"] != "malbi" or staging["stage"] is None:
            continue
        names = ["malbi_1", "malbi_2a", "malbi_2b", "malbi_3"]
        number = 1 + names.index(staging["stage"])
        if albi is None or staging["value_e4"] != albi:
            complaints.append("mALBI of another score than ALBI")
        elif number not in _albi_grades(albi, (-26_000, -22_700, -13_900)):
            complaints.append(f"ALBI {albi / 1e4:.4f} is not {staging['stage']}")
    return complaints + _redo_child_pugh(clinical)


def _redo_child_pugh(clinical):
    given = clinical["supplied"]
    bilirubin, albumin = given["bilirubin_umol_l_e3"], given["albumin_g_l_e3"]
    inr, graded = given["inr_e3"], (given["ascites"], given["encephalopathy"])
    points, grade = clinical["child_pugh_points"], clinical["child_pugh_class"]
    if (points is None) != (None in (bilirubin, albumin, inr, *graded)):
        return ["Child-Pugh exactly when its five values are there"]
    if (grade is None) != (points is None):
        return ["a Child-Pugh class exactly when there are points"]
    if points is None:
        return []
    # A value that was rounded onto a limit may lie on either side of it.
    sums = {1 + ("none", "mild", "severe").index(graded[0])}
    sums = {at + 1 + ("none", "mild", "severe").index(graded[1]) for at in sums}
    moves = (-0.5, 0, 0.5)
    of = {1 + (bilirubin + u >= 34_200) + (bilirubin + u > 51_300) for u in moves}
    sums = {at + more for at in sums for more in of}
    of = {1 + (albumin + u <= 35_000) + (albumin + u < 28_000) for u in moves}
    sums = {at + more for at in sums for more in of}
    of = {1 + (inr + u >= 1_700) + (inr + u > 2_300) for u in moves}
    sums = {at + more for at in sums for more in of}
    complaints = []
    if points not in sums:
        complaints.append(f"Child-Pugh is {min(sums)} points, not {points}")
    if grade != ("a" if points <= 6 else "b" if points <= 9 else "c"):
        complaints.append(f"{points} Child-Pugh points are not class {grade.upper()}")
    return complaints


def _redo_burden(clinical, lesions):
    """Which count and diameter are in use, their sums (3.8), and the findings."""
    complaints, given, burden = [], clinical["supplied"], clinical["burden"]
    seen = lesions["count"] if lesions else None
    seen_um = lesions["list"][0]["diameter_um"] if lesions and lesions["list"] else None
    told, told_um = given["lesion_count"], given["largest_diameter_um"]

    def choice(first, then, sources):
        if first is not None:
            return first, sources[0]
        return (None, "missing") if then is None else (then, sources[1])

    count = choice(told, seen, ("supplied", "measured"))
    if given["diffuse_type"]:
        count = None, "missing"  # The nodules of a diffuse tumour cannot be counted.
    if count != (burden["count"], burden["count_source"]):
        complaints.append(f"{count[0]} lesions ({count[1]}) are to be used")
    length = choice(seen_um, told_um, ("measured", "supplied"))
    if length != (burden["diameter_um"], burden["diameter_source"]):
        complaints.append(f"a diameter of {length[0]} um ({length[1]}) is to be used")
    limits = {
        "six_and_twelve": ("at_most_6", 60_000, "above_6_to_12", 120_000, "above_12"),
        "up_to_seven": ("within_7", 70_000, "beyond_7"),
    }
    for staging in clinical["stagings"]:
        if staging["system"] not in limits or staging["stage"] is None:
            continue
        if None in (burden["count"], burden["diameter_um"]):
            complaints.append(f"{staging['system']} without a count and a diameter")
            continue
        total = burden["count"] * 10_000 + burden["diameter_um"]
        if staging["value_e4"] is None or abs(staging["value_e4"] - total) > 1:
            complaints.append(f"the sum of {staging['system']} is {total / 1e4:.4f}")
        names = limits[staging["system"]]
        steps = [sum(total + u > limit for limit in names[1::2]) for u in (-1, 0, 1)]
        if staging["stage"] not in {names[2 * step] for step in steps}:
            complaints.append(f"a sum of {total / 1e4:.4f} is not {staging['stage']}")
    found = set(clinical["findings"])
    differs = None not in (told, seen) and told != seen
    if differs != ("lesion_count_differs" in found):
        complaints.append("lesion_count_differs exactly when the counts do")

    def apart(units):
        if None in (told_um, seen_um):
            return False
        low, high = sorted((told_um, seen_um))
        high += units
        return low < 50_000 <= high or (high - low >= 5_000 and high - low >= 0.2 * low)

    if ("diameter_differs" in found) not in {apart(units) for units in (-1, 0, 1)}:
        complaints.append("diameter_differs exactly when the diameters do")
    bilirubin = given["bilirubin_umol_l_e3"]
    low = {bilirubin is not None and bilirubin + units < 6_000 for units in (-0.5, 0, 0.5)}
    if ("bilirubin_unit" in found) not in low:
        complaints.append("bilirubin_unit exactly when bilirubin is below 6 umol/L")
    return complaints


def _redo_doses(clinical):
    complaints = []
    supplied, surface = clinical["supplied"], clinical["body_surface_m2_e4"]
    height, weight = supplied["height_cm_e3"], supplied["weight_kg_e3"]
    if (surface is None) != (height is None or weight is None):
        complaints.append("a body surface exactly when height and weight are there")
    elif surface is not None:
        mosteller = (height / 1e3 * weight / 1e3 / 3600) ** 0.5
        if abs(mosteller - surface / 1e4) > 2e-4:
            complaints.append(f"the body surface is {mosteller:.4f}, not {surface / 1e4:.4f} m2")
    for dose in clinical["reference_doses"]:
        total = dose["total_mg_e1"]
        if total is None:
            continue
        if surface is None or dose["low"] != dose["high"]:
            complaints.append(f"{dose['item']}: a total of a dose that has none")
        elif abs(dose["low"] * surface / 1e4 - total / 10) > dose["low"] * 0.5e-4 + 0.06:
            complaints.append(f"{dose['item']}: {dose['low']} mg/m2 is not {total / 10:.1f} mg")
    return complaints


# --- Trust store and envelope --------------------------------------------------------------------


def _unix_ms(moment):
    if moment is None:
        return None
    if not isinstance(moment, datetime.datetime):
        moment = datetime.datetime.combine(moment, datetime.time(), datetime.timezone.utc)
    if moment.tzinfo is None:
        raise ValueError("a time in the trust store has no offset")
    return round(moment.timestamp() * 1000)


# y of the points of small order on edwards25519, little-endian without the sign bit.
SMALL_ORDER_Y = {
    bytes(32),
    bytes([1]) + bytes(31),
    bytes.fromhex("ec" + "ff" * 30 + "7f"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
}


def _is_weak(public):
    """Whether signatures under this key prove nothing."""
    y = public[:31] + bytes([public[31] & 0x7F])
    return y in SMALL_ORDER_Y or int.from_bytes(y, "little") >= 2**255 - 19


def read_trust(text):
    """The keys of a trust.toml by their id."""
    trust = {}
    for entry in tomllib.loads(text).get("key", []):
        stored = entry["public_key"]
        public = bytes.fromhex(stored) if len(stored) == 64 else base64.b64decode(stored)
        kid = hashlib.sha256(public).digest()[:16]
        if kid.hex() != entry["kid"].lower():
            raise ValueError(f"key {entry['kid']} of the trust store: kid and key do not match")
        if _is_weak(public):
            raise ValueError(f"key {entry['kid']} of the trust store: anybody can sign for it")
        if entry["role"] == "device" and not (entry.get("device") and entry.get("site")):
            raise ValueError(f"key {entry['kid']} of the trust store: no device and site")
        trust[kid] = {
            "public": Ed25519PublicKey.from_public_bytes(public),
            "role": entry["role"],
            "device": entry.get("device"),
            "site": entry.get("site"),
            "not_before": _unix_ms(entry.get("not_before")),
            "not_after": _unix_ms(entry.get("not_after")),
        }
    return trust


def open_envelope(data):
    """Content type, key id, payload, signature and signed bytes of a COSE_Sign1 of the profile."""
    message = parse_cbor(data)
    if not isinstance(message, Tagged) or message.tag != 18:
        raise NotStrict("not tagged as COSE_Sign1")
    parts = message.value
    if not isinstance(parts, list) or len(parts) != 4:
        raise NotStrict("not an array of four")
    protected, unprotected, payload, signature = parts
    if unprotected != {} or not isinstance(unprotected, dict):
        raise NotStrict("the unprotected map is not empty")
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        raise NotStrict("a part is not a byte string")
    header = parse_cbor(protected)
    if not isinstance(header, dict) or list(header) != [1, 3, 4]:
        raise NotStrict("the protected headers are not alg, content type, kid")
    if header[1] not in (-8, -19) or not isinstance(header[3], str):
        raise NotStrict("algorithm or content type")
    if not isinstance(header[4], bytes) or len(header[4]) != 16 or len(signature) != 64:
        raise NotStrict("key id or signature has another length")
    signed = b"\x84\x6aSignature1"
    signed += _bytes_head(protected) + protected + b"\x40" + _bytes_head(payload) + payload
    return header[3], header[4], payload, signature, signed


def verify(kind, data, trust, topic=None):
    """The message of that kind in `data`, under its names; raises Refused.

    `trust` is what read_trust returned; `topic` is (site, device) of where it arrived.
    """
    if len(data) > MAX_MESSAGE:
        raise Refused("too_large", f"{len(data)} bytes, at most {MAX_MESSAGE}")
    try:
        content_type, kid, payload, signature, signed = open_envelope(data)
    except NotStrict as problem:
        raise Refused("envelope", str(problem)) from None
    suffix = ".v1+cbor"
    if content_type != PREFIX + kind + suffix:
        raise Refused("content_type", f"{content_type}, expected a {kind}")
    key = trust.get(kid)
    if key is None:
        raise Refused("unknown_key", f"key {kid.hex()} is not in the trust store")
    if key["role"] != ROLES[kind]:
        raise Refused("wrong_role", f"key {kid.hex()} has the role {key['role']}")
    try:
        key["public"].verify(signature, signed)
    except InvalidSignature:
        raise Refused("signature", f"not by key {kid.hex()}, or changed") from None
    try:
        message = _typed(kind, parse_cbor(payload), kind)
    except NotStrict as problem:
        raise Refused("payload", str(problem)) from None
    _check(kind, message)
    for name in ("site", "device"):
        if key[name] is not None and key[name] != message[name]:
            raise Refused("key_not_bound", f"key {kid.hex()} belongs to another {name}")
    at = message["signed_at_ms"]
    early = key["not_before"] is not None and at < key["not_before"]
    if early or (key["not_after"] is not None and at >= key["not_after"]):
        raise Refused("key_not_valid", f"key {kid.hex()} was not valid when this was signed")
    if topic is not None and tuple(topic) != (message["site"], message["device"]):
        raise Refused("topic", f"from {message['site']}/{message['device']}")
    return message


class Chain:
    """Order within each (site, device, epoch): new, duplicate, gap, late, fork."""

    def __init__(self):
        self.epochs = {}

    def observe(self, message, data):
        """A word for the message's place in its device's history."""
        digest = hashlib.sha256(data).hexdigest()
        known = self.epochs.setdefault((message["site"], message["device"], message["epoch"]), {})
        seq, prev = message["seq"], message["prev"]
        if seq in known:
            return "duplicate" if known[seq][0] == digest else f"FORK at {seq}"
        before, after = known.get(seq - 1), known.get(seq + 1)
        if (before and before[0] != prev) or (after and after[1] != digest):
            return f"FORK at {seq}"
        last = max(known, default=0)
        known[seq] = (digest, prev)
        if seq < last:
            return "late"
        return "new" if seq == last + 1 else f"GAP: {last + 1} to {seq - 1} missing"


# --- Command line --------------------------------------------------------------------------------


def describe(message):
    """What a person reads."""
    lines = [
        f"VERIFIED   {message['device']} of {message['site']}, message {message['seq']}",
        f"USE        {message['intended_use']}",
        f"STATUS     {message['status']}",
    ]
    for reason in message["reasons"]:
        lines.append(f"           {reason['code']} {reason['detail'] or ''}".rstrip())
    if message["pmn"]:
        lines.append(f"SCORE      {message['pmn']['score_e4'] / 1e4:.4f}")
    if message["clinical"]:
        for staging in message["clinical"]["stagings"]:
            diffuse = message["clinical"]["supplied"]["diffuse_type"]
            nothing = "nodules that can be counted: diffuse" if diffuse else "a lesion"
            lacks = ", ".join(staging["needs"]) or nothing
            lines.append(f"STAGE      {staging['system']}: {staging['stage'] or 'needs ' + lacks}")
        for finding in message["clinical"]["findings"]:
            lines.append(f"FINDING    {finding}")
        for check in message["clinical"]["tace"]:
            absolute = CONTRAINDICATIONS.index(check["item"]) <= 7
            if check["present"] == "yes" and absolute:
                lines.append(f"AGAINST    TACE, absolute: {check['item']}")
    advice = message["recommendation"]["code"]
    lines.append(f"ADVICE     {advice} (preliminary, for the tumour board)")
    return "\n".join(lines)


def _report(message, as_json):
    sums = redo_sums(message)
    if as_json:
        print(json.dumps({"verified": True, "sums": sums or "ok", "result": message}), flush=True)
    else:
        print(describe(message))
        print("SUMS       " + ("; ".join(sums) if sums else "every nomogram adds up"), flush=True)
    for complaint in sums:
        print(f"ATTENTION  {complaint}", file=sys.stderr)
    return 5 if sums else 0


def _refuse(problem, as_json):
    if as_json:
        print(json.dumps({"verified": False, "reason": str(problem)}), flush=True)
    print(f"NOT VERIFIED: {problem}", file=sys.stderr)
    return 5


def _one(data, trust, as_json):
    view = None
    try:
        if data.lstrip()[:1] == b"{":
            view = json.loads(data)
            data = base64.b64decode(view["cose"], validate=True)
        message = verify("result", data, trust)
        if view is not None and view.get("result") != message:
            raise Refused("view", "the readable part differs from the signed bytes")
    except (Refused, ValueError, KeyError, TypeError) as problem:
        return _refuse(problem, as_json)
    return _report(message, as_json)


def _topic(text):
    parts = text.split("/")
    if len(parts) < 5 or parts[-1] != "result":
        raise Refused("topic", "it is not one that results are published on")
    return tuple(parts[-3:-1])


def _arrived(topic, data, trust, chain, as_json):
    try:
        message = verify("result", data, trust, _topic(topic))
    except Refused as problem:
        return _refuse(f"{topic}: {problem}", as_json)
    place = chain.observe(message, data)
    print(f"ORDER      {place}", file=sys.stderr)
    return max(_report(message, as_json), 5 if "FORK" in place else 0)


def _lines(trust, as_json):
    chain, status = Chain(), 0
    for line in sys.stdin:
        topic, _, text = line.strip().rpartition(" ")
        try:
            status = max(status, _arrived(topic, bytes.fromhex(text), trust, chain, as_json))
        except ValueError:
            status = _refuse("a line is not `topic hexadecimal`", as_json)
    return status


def _subscribe(broker, trust, as_json):
    import paho.mqtt.client as mqtt

    host, _, port = broker.removeprefix("mqtt://").partition(":")
    chain = Chain()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_connect = lambda c, *_: c.subscribe("hcc/v1/+/+/result", qos=1)
    client.on_message = lambda _c, _u, m: _arrived(m.topic, m.payload, trust, chain, as_json)
    client.connect(host, int(port or 1883))
    client.loop_forever()


def self_test(folder):
    """Every shared vector must get its verdict and its message; exit status."""
    stored = json.loads((Path(folder) / "messages.json").read_text())
    trust, wrong = read_trust(stored["trust"]), 0
    for vector in stored["vectors"]:
        data = bytes.fromhex(vector["envelope"]).ljust(vector.get("pad_to", 0), b"\0")
        message = None
        try:
            message = verify(vector["kind"], data, trust, vector.get("topic"))
            verdict = "ok"
        except Refused as problem:
            verdict = problem.verdict
        if verdict != vector["verdict"] or message != vector.get("message"):
            wrong += 1
            print(f"{vector['name']}: {verdict}, expected {vector['verdict']}", file=sys.stderr)
        sums = redo_sums(message) if verdict == "ok" and vector["kind"] == "result" else []
        if bool(sums) != vector.get("wrong_sums", False):
            wrong += 1
            print(f"{vector['name']}: {sums or 'adds up'}", file=sys.stderr)
    print(f"{len(stored['vectors'])} vectors, {wrong} wrong")
    return 5 if wrong or not stored["vectors"] else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", help="signed result or JSON view; - is standard input")
    parser.add_argument("--trust", help="trust.toml")
    parser.add_argument("--json", action="store_true", help="one JSON object per message")
    parser.add_argument("--lines", action="store_true", help="read `topic hexadecimal` lines")
    parser.add_argument("--subscribe", metavar="HOST[:PORT]", help="listen to a broker")
    parser.add_argument("--self-test", metavar="FOLDER", help="check the shared test vectors")
    args = parser.parse_args()
    if args.self_test:
        return self_test(args.self_test)
    if not args.trust or not (args.file or args.lines or args.subscribe):
        parser.error("--trust and a file, --lines or --subscribe are needed")
    try:
        trust = read_trust(Path(args.trust).read_text())
        if args.subscribe:
            return _subscribe(args.subscribe, trust, args.json)
        if args.lines:
            return _lines(trust, args.json)
        data = sys.stdin.buffer.read() if args.file == "-" else Path(args.file).read_bytes()
    except FileNotFoundError as problem:
        print(f"no file {problem.filename}", file=sys.stderr)
        return 66
    except OSError as problem:
        print(f"{args.subscribe or args.file}: {problem}", file=sys.stderr)
        return 69 if args.subscribe else 74
    return _one(data, trust, args.json)


if __name__ == "__main__":
    sys.exit(main())
