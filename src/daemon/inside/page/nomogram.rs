//! A nomogram term by term, so that a reader can redo both sums: coefficient × value, and points.

use super::{short, signed};
use crate::render::report::{NomogramView, TermRow};
use crate::seal::wire::{Nomogram, Provenance, RiskGroup, Source, Term, Treatment};

pub(super) fn view(nomogram: &Nomogram) -> NomogramView {
    let treatment = match nomogram.treatment {
        Treatment::Tace => "TACE",
        Treatment::Haic => "HAIC",
    };
    NomogramView {
        name: format!("{treatment} nomogram · {} {}", nomogram.package, nomogram.version),
        risk_group: risk_group(nomogram),
        cut_off: cut_off(nomogram),
        terms: nomogram.terms.iter().map(term).collect(),
        total: total(nomogram),
        survival: survival(nomogram),
        provenance: provenance(nomogram),
    }
}

fn risk_group(nomogram: &Nomogram) -> String {
    match nomogram.risk_group {
        RiskGroup::Low => "low risk".to_owned(),
        RiskGroup::High => "high risk".to_owned(),
        RiskGroup::Indeterminate => "indeterminate: too close to the cut-off to say".to_owned(),
        RiskGroup::NotComputable => {
            let missing = nomogram.terms.iter().filter(|term| term.source == Source::Missing);
            let names: Vec<&str> = missing.map(|term| label(&term.name)).collect();
            match names[..] {
                [] => "not computable: a value lies outside the fitted range".to_owned(),
                _ => format!("not computable without {}", names.join(", ")),
            }
        }
    }
}

fn cut_off(nomogram: &Nomogram) -> String {
    let value = |number: Option<i64>| number.map_or("not computable".to_owned(), |n| signed(n, 4));
    format!(
        "Linear predictor Σ coefficient × value {} · score {} · cut-off {} ({})",
        value(nomogram.lp_e4),
        value(nomogram.score_e4),
        value(nomogram.cutoff_e4),
        words(nomogram.cutoff_provenance),
    )
}

fn total(nomogram: &Nomogram) -> String {
    let points: Option<i64> = nomogram.terms.iter().map(|term| term.points_e2).sum();
    points.map_or_else(|| "not computable".to_owned(), |points| signed(points, 2))
}

fn survival(nomogram: &Nomogram) -> String {
    let points: Vec<String> = nomogram
        .survival
        .iter()
        .map(|point| {
            let percent = short(point.probability_e4 as i64, 2);
            format!("{} months {percent} %", point.months)
        })
        .collect();
    match points[..] {
        [] => String::new(),
        _ => format!("Predicted overall survival: {}", points.join(" · ")),
    }
}

/// Placeholders are counted aloud: whoever reads the score must know what it stands on.
fn provenance(nomogram: &Nomogram) -> String {
    let all = nomogram.terms.len();
    let invented =
        nomogram.terms.iter().filter(|term| term.provenance == Provenance::Placeholder).count();
    match (invented, nomogram.cutoff_provenance) {
        (0, Provenance::Published | Provenance::OwnFit) => {
            "No coefficient and no cut-off is a placeholder.".to_owned()
        }
        (0, Provenance::Placeholder) => "The cut-off is a placeholder without evidence.".to_owned(),
        (_, Provenance::Placeholder) => format!(
            "{invented} of {all} coefficients and the cut-off are placeholders without evidence."
        ),
        (_, Provenance::Published | Provenance::OwnFit) => {
            format!("{invented} of {all} coefficients are placeholders without evidence.")
        }
    }
}

fn term(term: &Term) -> TermRow {
    let source = match term.source {
        Source::Measured => "measured on the images",
        Source::Supplied => "supplied",
        Source::Missing => "missing",
    };
    TermRow {
        name: label(&term.name).to_owned(),
        value: term.value_e4.map_or_else(|| "–".to_owned(), |value| short(value, 4)),
        unit: term.unit.to_string(),
        source: source.to_owned(),
        coefficient: signed(term.coefficient_e4, 4),
        points: term.points_e2.map_or_else(|| "–".to_owned(), |points| signed(points, 2)),
        provenance: provenance_of(term),
    }
}

/// The message holds the beginning of a long text; where it ends early, that is shown.
fn provenance_of(term: &Term) -> String {
    let cut =
        if term.provenance_text.len() + MOST_LETTER_BYTES > MOST_TEXT_BYTES { "…" } else { "" };
    format!("{}: {}{cut}", words(term.provenance), term.provenance_text)
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
fn label(name: &str) -> &str {
    match name {
        "sex_male" => "Male sex",
        "ast_u_l" => "AST",
        "lesion_count" => "Number of lesions",
        "hbv" => "Hepatitis B",
        "largest_diameter_cm" => "Largest axial diameter",
        "pvtt" => "Portal vein tumour thrombus",
        "dl_risk_score" => "Risk score of the network",
        "proliferative" => "Called proliferative",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clinical::nomogram::Predictor;

    #[test]
    fn every_predictor_has_a_label() {
        for predictor in Predictor::ALL {
            let name = predictor.code_name();
            assert_ne!(label(name), name);
        }
    }
}
