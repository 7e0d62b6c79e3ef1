//! A nomogram term by term, so that a reader can redo every sum: coefficient × value, points, score
//! and survival; and the same as numbers for the drawing.

use super::{patient, short, signed};
use crate::render::report::{AxisView, CurveView, Language, NomogramView, TermRow};
use crate::seal::wire::{
    ClinicalField, Nomogram, Provenance, RiskGroup, Side, Source, Survival, Term, Treatment,
};

pub(super) fn view(nomogram: &Nomogram, l: Language) -> NomogramView {
    let package = format!("{} {}", nomogram.package, nomogram.version);
    NomogramView {
        name: l.fill("{} nomogram · {}", &[treatment(nomogram.treatment), &package]),
        risk_group: risk_group(nomogram, l),
        cut_off: cut_off(nomogram, l),
        terms: nomogram.terms.iter().map(|one| term(one, l)).collect(),
        axes: axes(&nomogram.terms, l),
        total: total(nomogram, l),
        survival: survival(nomogram, l),
        provenance: provenance(nomogram, l),
    }
}

/// Predicted survival as numbers.
pub(super) fn curve(nomogram: &Nomogram) -> CurveView {
    let points = |list: &[Survival]| {
        let point = |p: &Survival| (p.months as f64, p.probability_e4 as f64 / 1e4);
        list.iter().map(point).collect()
    };
    CurveView {
        name: treatment(nomogram.treatment).to_owned(),
        patient: points(&nomogram.survival),
        reference: points(&nomogram.baseline),
    }
}

fn treatment(treatment: Treatment) -> &'static str {
    match treatment {
        Treatment::Tace => "TACE",
        Treatment::Haic => "HAIC",
    }
}

/// The terms over one scale: 100 points are the widest span a term has over its fitted range.
fn axes(terms: &[Term], l: Language) -> Vec<AxisView> {
    let span =
        |term: &Term| term.coefficient_e4.abs() as f64 * (term.high_e4 as f64 - term.low_e4 as f64);
    let widest = terms.iter().map(span).fold(0.0, f64::max);
    terms.iter().map(|term| axis(term, widest, l)).collect()
}

fn axis(term: &Term, widest: f64, l: Language) -> AxisView {
    let harmless = if term.coefficient_e4 < 0 { term.high_e4 } else { term.low_e4 };
    let points = |value_e4: i64| match widest {
        0.0 => 0.0,
        _ => 100.0 * term.coefficient_e4 as f64 * (value_e4 as f64 - harmless as f64) / widest,
    };
    let mark = term.value_e4.zip(term.points_e2);
    AxisView {
        name: name(term, l).to_owned(),
        ends: (short(term.low_e4, 4), short(term.high_e4, 4)),
        points: (points(term.low_e4), points(term.high_e4)),
        mark: mark.map(|(value, points)| (short(value, 4), points as f64 / 100.0)),
    }
}

fn risk_group(nomogram: &Nomogram, l: Language) -> String {
    match nomogram.risk_group {
        RiskGroup::Low => l.say("low risk").to_owned(),
        RiskGroup::High => l.say("high risk").to_owned(),
        RiskGroup::Indeterminate => {
            l.say("indeterminate: too close to the cut-off to say").to_owned()
        }
        RiskGroup::NotComputable => {
            let missing = nomogram.terms.iter().filter(|term| term.source == Source::Missing);
            let names: Vec<&str> = missing.map(|term| name(term, l)).collect();
            match names[..] {
                [] => l.say("not computable: a value lies outside the fitted range").to_owned(),
                _ => l.fill("not computable without {}", &[&names.join(l.comma())]),
            }
        }
    }
}

fn cut_off(nomogram: &Nomogram, l: Language) -> String {
    let none = l.say("not computable");
    let value = |number: Option<i64>| number.map_or(none.to_owned(), |n| signed(n, 4));
    let side = match nomogram.high_risk_side {
        Side::High => "high risk from the cut-off up",
        Side::Low => "high risk from the cut-off down",
    };
    let rule = l.fill(
        "Linear predictor LP = Σ coefficient × value = {} · score {} × LP + {} = {} · cut-off {} ± {} \
         ({}), {}",
        &[
            &value(nomogram.lp_e4),
            &short(nomogram.slope_e4, 4),
            &short(nomogram.intercept_e4, 4),
            &value(nomogram.score_e4),
            &value(nomogram.cutoff_e4),
            &short(i64::try_from(nomogram.band_e4).unwrap_or(i64::MAX), 4),
            l.say(words(nomogram.cutoff_provenance)),
            l.say(side),
        ],
    );
    let published = short(nomogram.published_cutoff_e4, 4);
    let published = l.fill("the paper's cut-off {}: published, never applied", &[&published]);
    format!("{rule} · {published}")
}

fn total(nomogram: &Nomogram, l: Language) -> String {
    let points: Option<i64> = nomogram.terms.iter().map(|term| term.points_e2).sum();
    points.map_or_else(|| l.say("not computable").to_owned(), |points| signed(points, 2))
}

fn survival(nomogram: &Nomogram, l: Language) -> String {
    let points: Vec<String> = nomogram
        .survival
        .iter()
        .map(|point| {
            let percent = short(point.probability_e4 as i64, 2);
            l.fill("{} months {} %", &[&point.months.to_string(), &percent])
        })
        .collect();
    match points[..] {
        [] => String::new(),
        _ => l.fill(
            "Predicted overall survival = baseline ^ e^(LP − {}), baseline {}: {}",
            &[
                &signed(nomogram.lp_mean_e4, 4),
                l.say(words(nomogram.baseline_provenance)),
                &points.join(" · "),
            ],
        ),
    }
}

/// Placeholders are counted aloud: whoever reads the score must know what it stands on.
fn provenance(nomogram: &Nomogram, l: Language) -> String {
    let all = nomogram.terms.len().to_string();
    let invented =
        nomogram.terms.iter().filter(|term| term.provenance == Provenance::Placeholder).count();
    let counted = invented.to_string();
    match (invented, nomogram.cutoff_provenance) {
        (0, Provenance::Published | Provenance::OwnFit) => {
            l.say("No coefficient and no cut-off is a placeholder.").to_owned()
        }
        (0, Provenance::Placeholder) => {
            l.say("The cut-off is a placeholder without evidence.").to_owned()
        }
        (_, Provenance::Placeholder) => l.fill(
            "{} of {} coefficients and the cut-off are placeholders without evidence.",
            &[&counted, &all],
        ),
        (_, Provenance::Published | Provenance::OwnFit) => {
            l.fill("{} of {} coefficients are placeholders without evidence.", &[&counted, &all])
        }
    }
}

fn term(term: &Term, l: Language) -> TermRow {
    let source = match term.source {
        Source::Measured => "measured on the images",
        Source::Supplied => "supplied",
        Source::Missing => "missing",
    };
    let value = term.value_e4.map_or_else(|| "–".to_owned(), |value| short(value, 4));
    TermRow {
        name: name(term, l).to_owned(),
        value: if term.extrapolated { l.fill("{} (outside the range)", &[&value]) } else { value },
        unit: unit(&term.unit).map_or_else(|| term.unit.to_string(), |unit| l.say(unit).to_owned()),
        source: l.say(source).to_owned(),
        coefficient: signed(term.coefficient_e4, 4),
        points: term.points_e2.map_or_else(|| "–".to_owned(), |points| signed(points, 2)),
        provenance: provenance_of(term, l),
    }
}

/// The message holds the beginning of a long text; where it ends early, that is shown. The text is the
/// package's and stays in its language.
fn provenance_of(term: &Term, l: Language) -> String {
    let cut =
        if term.provenance_text.len() + MOST_LETTER_BYTES > MOST_TEXT_BYTES { "…" } else { "" };
    let text = format!("{}{cut}", term.provenance_text);
    l.fill("{}: {}", &[l.say(words(term.provenance)), &text])
}

/// Bytes that a term's text has room for.
const MOST_TEXT_BYTES: usize = 80;
/// Bytes of the longest letter in UTF-8.
const MOST_LETTER_BYTES: usize = 4;

fn words(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Published => "published",
        Provenance::OwnFit => "own fit",
        Provenance::Placeholder => "PLACEHOLDER without evidence",
    }
}

/// A predictor as a person calls it; one that is not known here keeps its name.
fn name(term: &Term, l: Language) -> &str {
    label(&term.name, l).unwrap_or(&term.name)
}

fn label(name: &str, l: Language) -> Option<&'static str> {
    Some(match name {
        "sex_male" => l.say("Male sex"),
        "ast_u_l" => patient::name(ClinicalField::AstUL, l),
        "lesion_count" => patient::name(ClinicalField::LesionCount, l),
        "hbv" => patient::name(ClinicalField::Hbv, l),
        "largest_diameter_cm" => patient::name(ClinicalField::LargestDiameterMm, l),
        "pvtt" => patient::name(ClinicalField::Pvtt, l),
        "dl_risk_score" => l.say("Risk score of the network"),
        "proliferative" => l.say("Called proliferative"),
        _ => return None,
    })
}

/// The units that are words.
fn unit(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "0 or 1" => "0 or 1",
        "lesions" => "lesions",
        "probability" => "probability",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clinical::nomogram::Predictor;

    #[test]
    fn every_predictor_has_a_label_in_every_language() {
        for predictor in Predictor::ALL {
            let [name, chinese] =
                Language::ALL.map(|language| label(predictor.code_name(), language).unwrap());
            assert!(name == "AST" || chinese != name, "{name}");
            if !["U/L", "cm"].contains(&predictor.unit()) {
                let unit = unit(predictor.unit()).unwrap();
                assert!(Language::Chinese.say(unit) != unit, "{unit}");
            }
        }
    }
}
