//! A result as a person reads it on a terminal: status and reasons, lesions, eligibility, both
//! nomograms term by term, recommendation. Everything printed is in the signed message.

use std::fmt::{self, Display, Formatter, Write};

use crate::seal::wire::decimal::{fixed, tenths, trimmed};
use crate::seal::wire::{
    Clinical, IntendedUse, Lesions, Met, Nomogram, Pmn, ResultMessage, StageCode, Staging, Status,
    Term,
};

/// The banner of everything that is not released for clinical use.
pub const DEMONSTRATION_BANNER: &str = "DEMONSTRATION - NOT FOR CLINICAL USE";

/// Prints a result over many lines, without a trailing newline.
pub struct Readable<'a>(pub &'a ResultMessage);

impl Display for Readable<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let result = self.0;
        if result.intended_use == IntendedUse::Demonstration {
            writeln!(f, "*** {DEMONSTRATION_BANNER} ***\n")?;
        }
        writeln!(
            f,
            "Result {}  {}/{} seq {}",
            result.result_id, result.site, result.device, result.seq
        )?;
        writeln!(f, "Status {}: {}", result.status.name(), result.status.sentence())?;
        for reason in result.reasons.iter() {
            writeln!(f, "  - {}  {}", reason.code.name(), reason.code.sentence())?;
            if let Some(detail) = &reason.detail {
                writeln!(f, "      {detail}")?;
            }
        }
        if let Some(pmn) = &result.pmn {
            write_risk(f, pmn)?;
        }
        if let Some(lesions) = &result.lesions {
            write_lesions(f, lesions)?;
        }
        if let Some(clinical) = &result.clinical {
            write_clinical(f, clinical)?;
            write_staged(f, clinical)?;
        }
        for nomogram in result.nomograms.iter() {
            write_nomogram(f, nomogram)?;
        }
        if result.status == Status::Ok {
            let recommendation = &result.recommendation;
            writeln!(f, "\nRecommendation  {}", recommendation.code.name())?;
            writeln!(f, "  {}", recommendation.wording.sentence())?;
            let absolute = result.clinical.iter().flat_map(Clinical::absolute_contraindications);
            for item in absolute {
                writeln!(f, "  ! TACE, published contraindication: {}", item.sentence())?;
            }
        }
        write_run(f, result)
    }
}

fn write_risk(f: &mut Formatter<'_>, pmn: &Pmn) -> fmt::Result {
    let class = if pmn.proliferative { "proliferative" } else { "non-proliferative" };
    writeln!(
        f,
        "\nRisk score      {}  {class} (threshold {})",
        fixed(pmn.score_e4 as i64, 4),
        fixed(pmn.threshold_e4 as i64, 4),
    )?;
    let [non, pro, ..] = pmn.distances_e6;
    let (non, pro) = (fixed(non as i64, 6), fixed(pro as i64, 6));
    writeln!(
        f,
        "  squared distance to the prototypes: non-proliferative {non}, proliferative {pro}"
    )
}

fn write_lesions(f: &mut Formatter<'_>, lesions: &Lesions) -> fmt::Result {
    writeln!(
        f,
        "\nLesions         {}  (liver {} ml, tumour {} ml)",
        lesions.count,
        tenths(lesions.liver_mm3, 100),
        tenths(lesions.tumour_mm3, 100),
    )?;
    for (number, lesion) in lesions.list.iter().enumerate() {
        let [x, y, z] = lesion.centre_um.map(|um| (um as f64 / 1e3).round());
        let diameter = tenths(lesion.diameter_um, 100);
        let volume = tenths(lesion.volume_mm3, 100);
        writeln!(
            f,
            "  {:>2}  diameter {diameter:>6} mm  volume {volume:>7} ml  centre R{x:+} A{y:+} S{z:+} mm",
            number + 1
        )?;
    }
    Ok(())
}

fn write_clinical(f: &mut Formatter<'_>, clinical: &Clinical) -> fmt::Result {
    writeln!(f, "\nEligibility")?;
    for check in clinical.eligibility.iter() {
        let value = check.value_e3.map_or_else(|| "-".to_owned(), |v| trimmed(v, 3));
        let (met, asked) = (check.met.name(), check.criterion.sentence());
        writeln!(f, "  {met:<7}  {value:>8}  {asked}")?;
    }
    match (clinical.albi_e4, clinical.albi_grade) {
        (Some(albi), Some(grade)) => {
            writeln!(f, "  ALBI {}, grade {}", fixed(albi, 2 + 2), grade.name())?;
        }
        _ => writeln!(f, "  ALBI not computable: needs bilirubin_umol_l and albumin_g_l")?,
    }
    match (clinical.child_pugh_points, clinical.child_pugh_class) {
        (Some(points), Some(class)) => {
            let class = class.name().to_uppercase();
            writeln!(
                f,
                "  Child-Pugh {points} points, class {class} (albumin 28 and 35 g/L; a variant has 30)"
            )
        }
        _ => writeln!(
            f,
            "  Child-Pugh not computable: needs bilirubin, albumin, INR, ascites, encephalopathy"
        ),
    }
}

/// Stagings, contraindications, body surface and contradictions; the published doses are the report's.
fn write_staged(f: &mut Formatter<'_>, clinical: &Clinical) -> fmt::Result {
    let burden = &clinical.burden;
    let count = burden.count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let length = burden.diameter_um.map_or_else(|| "-".to_owned(), |um| tenths(um, 100));
    let (counted, sized) = (burden.count_source.name(), burden.diameter_source.name());
    writeln!(f, "\nStagings        of {count} lesion(s) ({counted}), {length} mm ({sized})")?;
    for staging in clinical.stagings.iter() {
        write_staging(f, staging, clinical.nothing_to_stage())?;
    }
    for (words, wanted) in [("present", Met::Yes), ("unknown", Met::Unknown)] {
        let items = clinical.tace.iter().filter(|check| check.present == wanted);
        let names: Vec<&str> = items.map(|check| check.item.name()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        writeln!(f, "  contraindications to TACE, {words}: {names}")?;
    }
    if let Some(surface) = clinical.body_surface_m2_e4 {
        let surface = fixed(surface as i64, 4);
        writeln!(
            f,
            "  body surface {surface} m²; doses: see the report, reference and never an order"
        )?;
    }
    for finding in clinical.findings.iter() {
        writeln!(f, "  ! {}  {}", finding.name(), finding.sentence())?;
    }
    Ok(())
}

fn write_staging(f: &mut Formatter<'_>, staging: &Staging, nothing: &str) -> fmt::Result {
    let name = staging.system.name();
    match staging.stage {
        Some(stage) => {
            let (stage, caveat) = (stage.sentence(), staging.system.caveat());
            writeln!(f, "  {name:<15} {stage}  ({caveat})")
        }
        None if staging.needs.is_empty() => writeln!(f, "  {name:<15} {nothing}"),
        None => {
            let needs: Vec<&str> = staging.needs.iter().map(|field| field.name()).collect();
            writeln!(f, "  {name:<15} not computable: needs {}", needs.join(", "))
        }
    }
}

fn write_nomogram(f: &mut Formatter<'_>, nomogram: &Nomogram) -> fmt::Result {
    let treatment = nomogram.treatment.name().to_uppercase();
    writeln!(f, "\n{treatment} nomogram   {} {}", nomogram.package, nomogram.version)?;
    writeln!(
        f,
        "  {:<20} {:>9} {:<11} {:<9} {:>8} {:>9} {:>7}  provenance",
        "term", "value", "unit", "source", "coeff.", "product", "points"
    )?;
    for term in nomogram.terms.iter() {
        write_term(f, term)?;
    }
    let number = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |v| fixed(v, 4));
    writeln!(
        f,
        "  linear predictor {}, score {}, cut-off {} ({}): {} risk",
        number(nomogram.lp_e4),
        number(nomogram.score_e4),
        number(nomogram.cutoff_e4),
        nomogram.cutoff_provenance.name(),
        nomogram.risk_group.name(),
    )?;
    if nomogram.survival.is_empty() {
        return Ok(());
    }
    let mut line = String::new();
    for point in nomogram.survival.iter() {
        let percent = tenths(point.probability_e4, 10);
        write!(line, "  {} months {percent} %", point.months)?;
    }
    writeln!(f, "  predicted survival (placeholder baseline):{line}")
}

fn write_term(f: &mut Formatter<'_>, term: &Term) -> fmt::Result {
    let value = term.value_e4.map_or_else(|| "missing".to_owned(), |v| trimmed(v, 4));
    let product = term.value_e4.map(|v| (v * term.coefficient_e4) as f64 / 1e8);
    let product = product.map_or_else(|| "-".to_owned(), |p| format!("{p:.4}"));
    let points = term.points_e2.map_or_else(|| "-".to_owned(), |p| fixed(p, 2));
    let (name, unit, source) = (&*term.name, &*term.unit, term.source.name());
    let (coefficient, provenance) = (fixed(term.coefficient_e4, 4), term.provenance.name());
    writeln!(
        f,
        "  {name:<20} {value:>9} {unit:<11} {source:<9} {coefficient:>8} {product:>9} {points:>7}  \
         {provenance}"
    )
}

fn write_run(f: &mut Formatter<'_>, result: &ResultMessage) -> fmt::Result {
    writeln!(f)?;
    for model in result.models.iter() {
        let digest = &model.manifest_digest.to_string()[..12];
        writeln!(
            f,
            "Model   {} {} ({}, manifest {digest}…)",
            model.name,
            model.version,
            model.intended_use.name()
        )?;
    }
    if let Some(engine) = &result.engine {
        writeln!(
            f,
            "Engine  {} on {} ({})",
            engine.backend,
            engine.device,
            engine.precision.name()
        )?;
    }
    let stages: Vec<String> = result
        .timings_ms
        .iter()
        .map(|t| {
            let seconds = t.elapsed_ms as f64 / 1000.0;
            let name = if t.stage == StageCode::Total { "total" } else { t.stage.name() };
            format!("{name} {seconds:.1} s")
        })
        .collect();
    if stages.is_empty() {
        return Ok(());
    }
    write!(f, "Time    {}", stages.join(", "))
}
