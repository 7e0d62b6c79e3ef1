//! The wire draft → what the report page says. The page is made from the very values that are
//! signed, so that both agree to the last digit; only what no message may carry is added: the
//! study's name, and what is wrong with `clinical.json`.

mod nomogram;

mod patient;

mod staged;

mod run;

use std::fmt;

use super::order::WorkOrder;
use crate::analysis::findings::Images;
use crate::clinical::protocol;
use crate::render::ReportView;
use crate::render::report::{
    FactRow, Language, LesionRow, OutcomeView, ReasonRow, RecommendationView, ScoreView, Tone,
};
use crate::seal::trust::rfc3339;
use crate::seal::wire::decimal::{fixed, trimmed};
use crate::seal::wire::result::intended_use;
use crate::seal::wire::{
    Clinical, Draft, IntendedUse, Lesion, Lesions, Pmn, Reason, ReasonCode, RecommendationCode,
    Status,
};

/// What the page says beside the draft.
pub(super) struct PageFacts<'a> {
    /// Names and ids.
    pub(super) order: &'a WorkOrder,
    /// What was read; `None` when no portal image was.
    pub(super) scan: Option<Scan>,
    /// What no message may carry.
    pub(super) notes: Vec<String>,
    /// Slice of each lesion's diameter, from 0, in the order of the lesions.
    pub(super) slices: Vec<usize>,
}

/// The portal image in a line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scan {
    arterial: bool,
    voxels_xyz: [usize; 3],
    spacing_xyz_mm: [f64; 3],
}

impl Scan {
    pub(super) fn of(images: &Images) -> Self {
        let geometry = &images.portal.geometry;
        let ([z, y, x], [dz, dy, dx]) = (geometry.shape, geometry.spacing.zyx());
        let arterial = images.arterial.is_some();
        Self { arterial, voxels_xyz: [x, y, z], spacing_xyz_mm: [dx, dy, dz] }
    }

    /// Phases, voxels and spacing in a line.
    pub(super) fn line(&self, language: Language) -> String {
        let phases = language.say(if self.arterial {
            "arterial and portal venous phase"
        } else {
            "portal venous phase only"
        });
        let ([x, y, z], [dx, dy, dz]) = (self.voxels_xyz, self.spacing_xyz_mm);
        let voxels = format!("{x} × {y} × {z}");
        let spacing = format!("{dx:.2} × {dy:.2} × {dz:.2}");
        language.fill("{} · {} voxels of {} mm", &[phases, &voxels, &spacing])
    }
}

impl fmt::Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(Language::English))
    }
}

/// Everything the page says, in one language.
pub(super) fn view(draft: &Draft, facts: &PageFacts<'_>, language: Language) -> ReportView {
    let l = language;
    let order = facts.order;
    let scan = facts.scan.as_ref().map(|scan| scan.line(l));
    let clinical = draft.clinical.as_ref();
    let lesions = draft.lesions.as_ref();
    let unread = || l.say("No portal venous image could be read.").to_owned();
    ReportView {
        language,
        demonstration: intended_use(&draft.models) == IntendedUse::Demonstration,
        study: order.study.clone(),
        scan: scan.unwrap_or_else(unread),
        made_at: moment(order.started_ms),
        outcome: outcome(draft, facts, l),
        score: draft.pmn.as_ref().map(|pmn| score(pmn, l)),
        recommendation: recommendation(draft, l),
        has_overview: facts.scan.is_some(),
        lesion_summary: lesions.map(|found| lesion_summary(found, l)).unwrap_or_default(),
        lesions: lesions.map(|found| lesion_rows(found, &facts.slices)).unwrap_or_default(),
        prototypes: draft.pmn.as_ref().map(|pmn| prototypes(pmn, l)).unwrap_or_default(),
        eligibility: clinical.map(|c| patient::eligibility(c, l)).unwrap_or_default(),
        liver_function: clinical.map(|c| patient::liver_function(c, l)).unwrap_or_default(),
        burden: clinical.map(|c| staged::burden(c, lesions, l)).unwrap_or_default(),
        stagings: clinical.map(|c| staged::stagings(c, l)).unwrap_or_default(),
        contraindications: clinical.map(|c| staged::contraindications(c, l)).unwrap_or_default(),
        doses: clinical.map(|c| staged::doses(c, l)).unwrap_or_default(),
        body_surface: clinical.map(|c| staged::body_surface(c, l)).unwrap_or_default(),
        dose_schedule: clinical.map(|_| l.say(protocol::SCHEDULE).to_owned()).unwrap_or_default(),
        supplied: clinical.map(|c| patient::supplied(c, l)).unwrap_or_default(),
        nomograms: draft.nomograms.iter().map(|one| nomogram::view(one, l)).collect(),
        curves: draft.nomograms.iter().map(nomogram::curve).collect(),
        measurements: draft.gate.iter().map(|measured| run::measurement(measured, l)).collect(),
        models: draft.models.iter().map(|model| run::model(model, l)).collect(),
        timings: draft.timings_ms.iter().map(|timing| run::timing(timing, l)).collect(),
        facts: run::facts(draft, order, l),
    }
}

/// How the analysis ended, in two words.
pub(super) fn headline(status: Status) -> &'static str {
    match status {
        Status::Ok => "Scored",
        Status::Abstained => "No score",
        Status::Unreadable => "Not readable",
        Status::Failed => "Failed",
    }
}

fn outcome(draft: &Draft, facts: &PageFacts<'_>, l: Language) -> OutcomeView {
    let tone = match draft.status {
        Status::Ok => Tone::Good,
        Status::Abstained => Tone::Held,
        Status::Unreadable | Status::Failed => Tone::Stopped,
    };
    let mut reasons: Vec<ReasonRow> = draft.reasons.iter().map(|one| reason(one, l)).collect();
    let found = draft.clinical.iter().flat_map(|clinical| clinical.findings.iter());
    reasons.extend(found.map(|finding| ReasonRow {
        code: finding.name().to_owned(),
        sentence: l.say(finding.sentence()).to_owned(),
    }));
    reasons.extend(draft.clinical.as_ref().and_then(|clinical| against_tace(clinical, l)));
    let file = draft.reasons.iter().position(|r| r.code == ReasonCode::ClinicalInvalid);
    for (number, note) in facts.notes.iter().enumerate() {
        match file.filter(|_| number == 0).and_then(|at| reasons.get_mut(at)) {
            Some(row) => row.sentence.push_str(&l.in_parentheses(note)),
            None => reasons.push(ReasonRow { code: "note".to_owned(), sentence: note.clone() }),
        }
    }
    OutcomeView { tone, headline: l.say(headline(draft.status)).to_owned(), reasons }
}

/// The absolute contraindications to TACE that are present, beside advice they have no part in.
fn against_tace(clinical: &Clinical, l: Language) -> Option<ReasonRow> {
    let items = clinical.absolute_contraindications();
    let present: Vec<&str> = items.map(|item| staged::bare(item, l)).collect();
    let count = present.len().to_string();
    (!present.is_empty()).then(|| ReasonRow {
        code: "tace_contraindicated".to_owned(),
        sentence: l.fill(
            "{} published absolute contraindication(s) to TACE are present: {}; not part of the recommendation.",
            &[&count, &present.join(l.comma())],
        ),
    })
}

/// What the case at hand adds to a reason is in English, as it was signed.
fn reason(reason: &Reason, l: Language) -> ReasonRow {
    let mut sentence = l.say(reason.code.sentence()).to_owned();
    if let Some(detail) = &reason.detail {
        sentence.push_str(&l.in_parentheses(detail));
    }
    ReasonRow { code: reason.code.name().to_owned(), sentence }
}

fn score(pmn: &Pmn, l: Language) -> ScoreView {
    let class = if pmn.proliferative { "proliferative" } else { "non-proliferative" };
    ScoreView {
        score: number(pmn.score_e4, 4),
        class: l.say(class).to_owned(),
        threshold: number(pmn.threshold_e4, 4),
    }
}

fn prototypes(pmn: &Pmn, l: Language) -> Vec<FactRow> {
    let names = [
        "non-proliferative",
        "proliferative",
        "HAIC, poor response",
        "HAIC, good response",
        "TACE, poor response",
        "TACE, good response",
    ];
    let distances = names.iter().zip(pmn.distances_e6);
    let distances = distances.map(|(name, distance)| FactRow {
        name: l.fill("Squared distance to the prototype {}", &[l.say(name)]),
        value: number(distance, 6),
    });
    let good = [("HAIC", pmn.haic_good_e4), ("TACE", pmn.tace_good_e4)];
    let good = good.map(|(name, probability)| FactRow {
        name: l.fill("p(good response under {}), shown for the record, not used", &[name]),
        value: number(probability, 4),
    });
    distances.chain(good).collect()
}

fn recommendation(draft: &Draft, l: Language) -> Option<RecommendationView> {
    let made = &draft.recommendation;
    (made.code != RecommendationCode::None).then(|| RecommendationView {
        headline: l.say(made.code.sentence()).trim_end_matches(['.', '。']).to_owned(),
        wording: l.say(made.wording.sentence()).to_owned(),
    })
}

fn lesion_summary(found: &Lesions, l: Language) -> String {
    let count = found.count.to_string();
    let noun = if found.count == 1 { "{} lesion" } else { "{} lesions" };
    let listed = match found.list.len() as u64 {
        listed if listed < found.count => {
            l.fill(" (the {} largest are listed)", &[&listed.to_string()])
        }
        _ => String::new(),
    };
    let volumes = l.fill(
        " · liver with tumour {} · tumour {}",
        &[&millilitres(found.liver_mm3), &millilitres(found.tumour_mm3)],
    );
    format!("{}{listed}{volumes}", l.fill(noun, &[&count]))
}

fn lesion_rows(found: &Lesions, slices: &[usize]) -> Vec<LesionRow> {
    let slices = slices.iter().map(|slice| (slice + 1).to_string());
    let slices = slices.chain(std::iter::repeat_with(String::new));
    found.list.iter().zip(slices).map(|(lesion, slice)| lesion_row(lesion, slice)).collect()
}

fn lesion_row(lesion: &Lesion, slice: String) -> LesionRow {
    let [x, y, z] = lesion.centre_um.map(|um| signed((um as f64 / 100.0).round() as i64, 1));
    LesionRow {
        diameter: format!("{} mm", number(lesion.diameter_um, 3)),
        volume: millilitres(lesion.volume_mm3),
        slice,
        centre: format!("{x}, {y}, {z} mm"),
    }
}

fn millilitres(mm3: u64) -> String {
    format!("{} ml", number(mm3, 3))
}

/// A scaled number of the wire, all its digits.
fn number(value: u64, places: u32) -> String {
    fixed(i64::try_from(value).unwrap_or(i64::MAX), places)
}

/// With a minus sign as wide as a plus.
fn signed(value: i64, places: u32) -> String {
    fixed(value, places).replace('-', "−")
}

/// Without zeros at the end.
fn short(value: i64, places: u32) -> String {
    trimmed(value, places).replace('-', "−")
}

/// A moment as people write it.
fn moment(ms: u64) -> String {
    rfc3339(ms).replace('T', " ").replace('Z', " UTC")
}

#[cfg(test)]
mod tests;
