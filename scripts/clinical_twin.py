#!/usr/bin/env python3
"""The clinical layer once more, written from the reference notes and not from the program.

    clinical_twin.py NOMOGRAM.toml NOMOGRAM.toml < patients.jsonl > results.jsonl

One patient a line: {"clinical": clinical.json as an object, "image": {"largest_diameter_mm",
"lesion_count", "risk_score", "proliferative"}}, unknown values null. One result a line, in the same
order; the test `it::clinical` compares it with the program's own. The nomograms are the packages'
nomogram.toml, TACE and HAIC.

Sources, by section of the reference notes: 3.1 ALBI, 3.2 Child-Pugh, 3.3 BCLC 2022 (Reig, J Hepatol
2022;76:681), 3.4 CNLC, 3.5 LCSGJ TNM (PMC9747269, table 5), 3.6 EASL 2018, 3.7 HKLC (unverified tree),
3.8 six-and-twelve and up-to-seven, 3.9 TACE contraindications, 3.10 doses, 3.12 nomograms; validity
box and policy: Cao et al., NPJ Digit Med 2025;8:692. Standard library only, Python 3.11.
"""

import json
import math
import sys
import tomllib

ORDER = """
    age_years sex ecog hbv afp_ng_ml ast_u_l bilirubin_umol_l albumin_g_l inr ascites encephalopathy
    pvtt extrahepatic_spread prior_therapy second_malignancy days_ct_to_treatment lesion_count
    largest_diameter_mm lymph_node_metastasis distant_metastasis hepatic_vein_invasion
    bile_duct_invasion lobes diffuse_type creatinine_umol_l refractory_ascites hepatorenal_syndrome
    portal_flow arterial_access_barrier untreated_varices bile_duct_obstruction severe_comorbidity
    height_cm weight_kg""".split()
LIVER = ["bilirubin_umol_l", "albumin_g_l", "inr", "ascites", "encephalopathy"]
MONTHS = [12, 24, 36, 48, 60]


def either(*facts):
    """Logical or; None is unknown."""
    if any(fact is True for fact in facts):
        return True
    return None if any(fact is None for fact in facts) else False


def known(value, test):
    """test(value), unknown when the value is."""
    return None if value is None else test(value)


class Patient:
    """One patient's values, and what follows from them directly."""

    def __init__(self, clinical, image):
        self.value = {key: clinical.get(key) for key in ORDER}
        self.image = image
        supplied, seen = self.value["lesion_count"], image["lesion_count"]
        self.diffuse = self.value["diffuse_type"]
        # The nodules of a diffuse tumour cannot be counted.
        self.count = None if self.diffuse else seen if supplied is None else supplied
        supplied, seen = self.value["largest_diameter_mm"], image["largest_diameter_mm"]
        self.mm = supplied if seen is None else seen

    def __getitem__(self, key):
        return self.value[key]

    # Extent -------------------------------------------------------------------------------------

    def portal(self, *classes):
        return known(self["pvtt"], lambda vp: vp in classes)

    def hepatic(self, *classes):
        return known(self["hepatic_vein_invasion"], lambda vv: vv in classes)

    def portal_any(self):
        return known(self["pvtt"], lambda vp: vp != "none")

    def hepatic_any(self):
        return known(self["hepatic_vein_invasion"], lambda vv: vv != "none")

    def spread(self):
        if self["extrahepatic_spread"] is not None:
            return self["extrahepatic_spread"]
        return either(self["lymph_node_metastasis"], self["distant_metastasis"])

    def metastasis(self, key):
        if self[key] is None and self["extrahepatic_spread"] is False:
            return False
        return self[key]

    # Liver function -----------------------------------------------------------------------------

    def albi(self):
        bilirubin, albumin = self["bilirubin_umol_l"], self["albumin_g_l"]
        if bilirubin is None or albumin is None:
            return None
        return 0.66 * math.log10(bilirubin) - 0.085 * albumin

    def child_pugh(self):
        """Points; 3.2: bilirubin 34.2 and 51.3 umol/L, albumin 35 and 28 g/L, INR 1.7 and 2.3."""
        if any(self[key] is None for key in LIVER):
            return None
        points = 5
        points += (self["bilirubin_umol_l"] >= 34.2) + (self["bilirubin_umol_l"] > 51.3)
        points += (self["albumin_g_l"] <= 35) + (self["albumin_g_l"] < 28)
        points += (self["inr"] >= 1.7) + (self["inr"] > 2.3)
        points += {"none": 0, "mild": 1, "moderate": 2}[self["ascites"]]
        points += {"none": 0, "grade1_2": 1, "grade3_4": 2}[self["encephalopathy"]]
        return points

    def child_class(self):
        return known(self.child_pugh(), lambda p: "A" if p <= 6 else "B" if p <= 9 else "C")


# Stagings: each returns a stage and the keys it lacks ---------------------------------------------


def lacking(patient, *, plain=(), veins=None, spread=None, burden=True):
    """The keys a rule reads and does not have. `veins` are (key, fact) pairs joined by "or"."""
    keys = [key for key in plain if patient[key] is None]
    for joined in veins or []:
        if either(*(fact for _, fact in joined)) is None:
            keys += [key for key, fact in joined if fact is None]
    if spread:
        keys += spread
    if burden and patient.diffuse is None:
        keys += ["diffuse_type"]
    if burden and not patient.diffuse:
        keys += ["lesion_count"] if patient.count is None else []
        keys += ["largest_diameter_mm"] if patient.mm is None else []
    return sorted(set(keys), key=ORDER.index)


def macrovascular(patient):
    return [("pvtt", patient.portal_any()), ("hepatic_vein_invasion", patient.hepatic_any())]


def without_spread(patient):
    return ["extrahepatic_spread"] if patient.spread() is None else []


def malbi(patient):
    score = patient.albi()
    if score is None:
        return None, lacking(patient, plain=LIVER[:2], burden=False), None
    grade = "1" if score <= -2.60 else "2a" if score <= -2.27 else "2b" if score <= -1.39 else "3"
    return f"malbi_{grade}", [], score


def barcelona(patient, name, single, each):
    """3.3 and 3.6; `single` and `each` say which sizes are small enough for stages 0 and A."""
    needs = lacking(
        patient,
        plain=["ecog", *LIVER],
        veins=[macrovascular(patient)],
        spread=without_spread(patient),
    )
    if needs:
        return None, needs, None
    ecog, count, mm = patient["ecog"], patient.count, patient.mm
    invaded = either(*(fact for _, fact in macrovascular(patient)))
    if patient.child_class() == "C" or ecog in (3, 4):
        stage = "d"
    elif ecog in (1, 2) or invaded or patient.spread():
        stage = "c"
    elif patient.diffuse:
        stage = "b"
    elif count == 1:
        stage = "0" if single(mm) else "a"
    else:
        stage = "a" if count in (2, 3) and each(mm) else "b"
    return f"{name}_{stage}", [], None


def cnlc(patient):
    needs = lacking(
        patient,
        plain=["ecog", *LIVER],
        veins=[macrovascular(patient)],
        spread=without_spread(patient),
    )
    if needs:
        return None, needs, None
    few = patient.count in (2, 3)
    if patient.child_class() == "C" or patient["ecog"] in (3, 4):
        stage = "iv"
    elif patient.spread():
        stage = "iiib"
    elif either(*(fact for _, fact in macrovascular(patient))):
        stage = "iiia"
    elif patient.diffuse:
        return None, [], None
    elif patient.count == 1:
        stage = "ia" if patient.mm <= 50 else "ib"
    elif few:
        stage = "ib" if patient.mm <= 30 else "iia"
    else:
        stage = "iib"
    return f"cnlc_{stage}", [], None


def lcsgj(patient):
    bile = ("bile_duct_invasion", patient["bile_duct_invasion"])
    node = patient.metastasis("lymph_node_metastasis")
    distant = patient.metastasis("distant_metastasis")
    absent = [] if node is not None else ["lymph_node_metastasis"]
    absent += [] if distant is not None else ["distant_metastasis"]
    invasion = [*macrovascular(patient), bile]
    needs = lacking(patient, veins=[invasion], spread=absent)
    if needs:
        return None, needs, None
    if patient.diffuse and not (node or distant):
        return None, [], None
    if patient.diffuse:
        return "lcsgj_ivb" if distant else "lcsgj_iva", [], None
    broken = [patient.count != 1, patient.mm > 20, either(*(fact for _, fact in invasion))]
    t = 1 + sum(broken)
    stage = "ivb" if distant else "iva" if node or t == 4 else ["i", "ii", "iii"][t - 1]
    return f"lcsgj_{stage}", [], None


def hklc(patient):
    within = [
        ("pvtt", patient.portal("vp1", "vp2", "vp3")),
        ("hepatic_vein_invasion", patient.hepatic("vv1", "vv2")),
    ]
    beyond = [
        ("pvtt", patient.portal("vp4")),
        ("hepatic_vein_invasion", patient.hepatic("vv3")),
        ("extrahepatic_spread", patient.spread()),
    ]
    needs = lacking(patient, plain=["ecog", *LIVER], veins=[within, beyond])
    if needs:
        return None, needs, None
    invaded = either(*(fact for _, fact in within))
    outside = either(*(fact for _, fact in beyond))
    if not patient.diffuse:
        small, few = patient.mm <= 50, patient.count <= 3
    if patient.diffuse:
        tumour = "advanced"
    elif small and few and not invaded:
        tumour = "early"
    elif (small and (not few) != invaded) or (not small and few and not invaded):
        tumour = "intermediate"
    else:
        tumour = "advanced"
    good = patient.child_class() == "A"
    if patient["ecog"] >= 2 or patient.child_class() == "C":
        stage = "va" if tumour == "early" and not outside else "vb"
    elif outside:
        stage = "iva" if good else "ivb"
    elif tumour == "early":
        stage = "i" if good else "iia"
    elif tumour == "intermediate":
        stage = "iib" if good else "iiia"
    else:
        stage = "iiib"
    return f"hklc_{stage}", [], None


def sum_of(patient):
    needs = lacking(patient)
    if needs or patient.diffuse:
        return None, needs
    return patient.mm / 10 + patient.count, []


def six_and_twelve(patient):
    total, needs = sum_of(patient)
    if total is None:
        return None, needs, None
    stage = "at_most_6" if total <= 6 else "above_6_to_12" if total <= 12 else "above_12"
    return stage, [], total


def up_to_seven(patient):
    total, needs = sum_of(patient)
    if total is None:
        return None, needs, None
    return ("within_7" if total <= 7 else "beyond_7"), [], total


SYSTEMS = {
    "malbi": malbi,
    "bclc_2022": lambda p: barcelona(p, "bclc", lambda mm: mm <= 20, lambda mm: mm <= 30),
    "easl_2018": lambda p: barcelona(p, "easl", lambda mm: mm < 20, lambda mm: mm < 30),
    "cnlc": cnlc,
    "jsh_lcsgj": lcsgj,
    "hklc": hklc,
    "six_and_twelve": six_and_twelve,
    "up_to_seven": up_to_seven,
}


def stagings(patient):
    rows = []
    for system, rule in SYSTEMS.items():
        nothing = patient.count == 0 and system != "malbi"
        stage, needs, value = (None, [], None) if nothing else rule(patient)
        rows.append({"system": system, "stage": stage, "needs": needs, "value": value})
    return rows


# Contraindications, doses, validity box, contradictions -------------------------------------------


def contraindications(patient):
    refractory = patient["refractory_ascites"]
    if refractory is None and patient["ascites"] in ("none", "mild"):
        refractory = False
    hepatofugal = known(patient["portal_flow"], lambda flow: flow == "hepatofugal")
    return {
        "decompensation": known(patient.child_pugh(), lambda points: points >= 8),
        "jaundice": known(patient["bilirubin_umol_l"], lambda v: v > 51.3),
        "encephalopathy": known(patient["encephalopathy"], lambda grade: grade != "none"),
        "refractory_ascites": refractory,
        "hepatorenal_syndrome": patient["hepatorenal_syndrome"],
        "both_lobes_replaced": known(patient["lobes"], lambda lobes: lobes == "both_replaced"),
        "portal_flow": either(patient.portal("vp4"), hepatofugal),
        "arterial_access": patient["arterial_access_barrier"],
        "renal_failure": known(patient["creatinine_umol_l"], lambda v: v >= 2 * 88.4),
        "large_tumour": known(patient.mm, lambda mm: mm >= 100),
        "untreated_varices": patient["untreated_varices"],
        "bile_duct_obstruction": patient["bile_duct_obstruction"],
        "severe_comorbidity": patient["severe_comorbidity"],
    }


def body_surface(patient):
    if patient["height_cm"] is None or patient["weight_kg"] is None:
        return None
    return math.sqrt(patient["height_cm"] * patient["weight_kg"] / 3600)


def doses(surface):
    """mg per m2 of oxaliplatin (two), leucovorin (two), fluorouracil bolus and infusion; totals."""
    per_m2 = [85, 130, 200, 400, 400, 2400]
    return [None if surface is None else dose * surface for dose in per_m2]


def eligibility(patient):
    """Met, in the order of the validity box; None is unknown and counts as not met."""
    return {
        "age": known(patient["age_years"], lambda age: 18 <= age <= 75),
        "ecog": known(patient["ecog"], lambda ecog: ecog <= 1),
        "child_pugh": known(patient.child_class(), lambda grade: grade in "AB"),
        "largest_diameter": known(patient.image["largest_diameter_mm"], lambda mm: mm >= 50),
        "prior_therapy": known(patient["prior_therapy"], lambda had: not had),
        "second_malignancy": known(patient["second_malignancy"], lambda has: not has),
        "days_ct_to_treatment": known(patient["days_ct_to_treatment"], lambda d: d <= 14),
    }


def contradictions(patient):
    found = []
    counts = patient["lesion_count"], patient.image["lesion_count"]
    if None not in counts and counts[0] != counts[1]:
        found.append("lesion_count_differs")
    lengths = patient["largest_diameter_mm"], patient.image["largest_diameter_mm"]
    if None not in lengths:
        low, high = sorted(lengths)
        apart = high - low
        if low < 50 <= high or (apart >= 5 and apart >= 0.2 * low):
            found.append("diameter_differs")
    if patient["bilirubin_umol_l"] is not None and patient["bilirubin_umol_l"] < 6:
        found.append("bilirubin_unit")  # A low normal value, or jaundice in mg/dL.
    return found


# Nomograms ----------------------------------------------------------------------------------------


def predictor(name, patient):
    image = patient.image
    if name == "sex_male":
        return known(patient["sex"], lambda sex: float(sex == "male"))
    if name == "lesion_count":
        return known(patient.count, float)
    if name == "hbv":
        return known(patient["hbv"], float)
    if name == "largest_diameter_cm":
        return known(image["largest_diameter_mm"], lambda mm: mm / 10)
    if name == "pvtt":
        return known(patient.portal_any(), float)
    if name == "dl_risk_score":
        return image["risk_score"]
    if name == "proliferative":
        return known(image["proliferative"], float)
    return patient[name]


def nomogram(package, patient):
    terms = package["terms"]
    widest = max(abs(term["coefficient"]) * (term["high"] - term["low"]) for term in terms)
    values = [predictor(term["name"], patient) for term in terms]
    points, refused, flagged = [], False, False
    for term, value in zip(terms, values):
        harmless = term["high"] if term["coefficient"] < 0 else term["low"]
        moved = known(value, lambda v: 100 * term["coefficient"] * (v - harmless) / widest)
        points.append(moved)
        outside = value is not None and not term["low"] <= value <= term["high"]
        flagged |= outside
        refused |= value is None or (
            outside and package["outside_fitted_range"] == "not_computable"
        )
    result = {"values": values, "points": points, "lp": None, "score": None, "group": None}
    result["survival"] = []
    result["flagged"] = flagged  # Decides the advice; not part of the result.
    if refused:
        return result
    lp = sum(term["coefficient"] * value for term, value in zip(terms, values))
    rule = package["score"]
    score = rule["slope"] * lp + rule["intercept"]
    above = score - rule["cutoff"] if rule["high_risk_side"] == "high" else rule["cutoff"] - score
    group = "high" if above >= 0 else "low"
    if abs(above) < rule["band"]:
        group = "indeterminate"
    hazard = math.exp(lp - package["survival"]["lp_mean"])
    survival = [reference**hazard for reference in package["survival"]["baseline"]]
    return {**result, "lp": lp, "score": score, "group": group, "survival": survival}


def advise(policy, groups, findings, flagged):
    """Advice and its basis. Values in doubt are for discussion whatever the groups say."""
    if findings:
        return "discuss", "contradiction"
    if None in groups:
        return policy["not_computable"], "not_computable"
    if flagged:
        return "discuss", "extrapolated"
    if "indeterminate" in groups:
        return policy["indeterminate"], "indeterminate"
    if groups[0] != groups[1]:
        return policy["discordant"], "discordant"
    basis = "high_on_both" if groups[0] == "high" else "low_on_both"
    return policy[basis], basis


def assess(packages, clinical, image):
    patient = Patient(clinical, image)
    eligible = eligibility(patient)
    surface = body_surface(patient)
    result = {
        "albi": patient.albi(),
        "child_pugh": patient.child_pugh(),
        "eligibility": eligible,
        "stagings": stagings(patient),
        "contraindications": contraindications(patient),
        "body_surface_m2": surface,
        "doses": doses(surface),
        "findings": contradictions(patient),
        "nomograms": None,
        "advice": None,
        "basis": None,
    }
    if all(eligible.values()) and image["risk_score"] is not None:
        scored = [nomogram(package, patient) for package in packages]
        groups = [one["group"] for one in scored]
        flagged = any([one.pop("flagged") for one in scored])
        result["nomograms"] = scored
        advice = advise(packages[1]["policy"], groups, result["findings"], flagged)
        result["advice"], result["basis"] = advice
    return result


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: clinical_twin.py TACE/nomogram.toml HAIC/nomogram.toml")
    packages = []
    for path, treatment in zip(sys.argv[1:], ("tace", "haic")):
        with open(path, "rb") as file:
            package = tomllib.load(file)
        if package["treatment"] != treatment or package["survival"]["months"] != MONTHS:
            sys.exit(f"{path} is not a {treatment} nomogram over {MONTHS} months")
        packages.append(package)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(assess(packages, asked["clinical"], asked["image"])))


if __name__ == "__main__":
    main()
