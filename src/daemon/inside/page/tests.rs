//! The page against the sample messages of the wire format.

use super::*;
use crate::render;
use crate::render::report::NomogramView;
use crate::seal::wire::samples;
use crate::seal::wire::{Nomogram, Provenance};

fn order() -> WorkOrder {
    WorkOrder {
        job: "0011223344556677".to_owned(),
        study: "study-7".to_owned(),
        site: "ward-3".to_owned(),
        device: "box-1".to_owned(),
        result_id: "ab".repeat(16),
        software: "hcc-edge 0.1.0".to_owned(),
        started_ms: 1_767_225_600_000,
        max_file_bytes: 1,
        max_voxels: 1,
        dicom_objects: false,
        arterial_series: None,
        portal_series: None,
    }
}

fn view_of(draft: &Draft, notes: &[&str]) -> ReportView {
    let order = order();
    let notes = notes.iter().map(|note| (*note).to_owned()).collect();
    view(draft, &PageFacts { order: &order, scan: None, notes, slices: vec![11] })
}

#[test]
fn the_page_says_the_signed_values() {
    let draft = samples::scored_draft();
    let shown = view_of(&draft, &[]);
    let pmn = draft.pmn.as_ref().unwrap();
    assert_eq!(shown.score.unwrap().score, fixed(pmn.score_e4 as i64, 4));
    assert_eq!(shown.prototypes.len(), 8);
    let lesions = draft.lesions.as_ref().unwrap();
    assert_eq!(shown.lesions.len(), lesions.list.len());
    assert_eq!(shown.lesions[0].slice, "12", "counted from 1, as the overview does");
    let diameter = fixed(lesions.list[0].diameter_um as i64, 3);
    assert_eq!(shown.lesions[0].diameter, format!("{diameter} mm"));
    assert_eq!(shown.recommendation.unwrap().wording, draft.recommendation.wording.sentence());
    assert_eq!(shown.timings.len(), draft.timings_ms.len());
    assert_eq!(shown.measurements.len(), draft.gate.len());
    assert_eq!(shown.made_at, "2026-01-01 00:00:00 UTC");
    assert!(shown.demonstration && shown.outcome.reasons.is_empty());
    let page = render::report(&view_of(&draft, &[]));
    for text in ["0011223344556677", "box-1", "ward-3", "hcc-edge 0.1.0", &"ab".repeat(16)] {
        assert!(page.contains(text), "{text}");
    }
    for model in draft.models.iter() {
        assert!(page.contains(&model.manifest_digest.to_string()), "{}", model.name);
    }
}

fn shown(nomogram: &Nomogram) -> NomogramView {
    super::nomogram::view(nomogram)
}

#[test]
fn every_term_is_there_and_a_placeholder_is_called_one() {
    let draft = samples::scored_draft();
    for nomogram in draft.nomograms.iter() {
        let seen = shown(nomogram);
        assert_eq!(seen.terms.len(), nomogram.terms.len());
        for (row, term) in seen.terms.iter().zip(nomogram.terms.iter()) {
            let placeholder = term.provenance == Provenance::Placeholder;
            assert_eq!(row.provenance.starts_with("PLACEHOLDER"), placeholder);
        }
        assert!(seen.cut_off.contains(&signed(nomogram.lp_e4.unwrap(), 4)));
        let points: i64 = nomogram.terms.iter().filter_map(|term| term.points_e2).sum();
        assert_eq!(seen.total, signed(points, 2));
    }
}

#[test]
fn every_reason_is_a_sentence_and_notes_find_their_place() {
    let reasons =
        vec![Reason::bare(ReasonCode::ArterialMissing), Reason::bare(ReasonCode::ClinicalInvalid)];
    let draft = Draft::refused(Status::Abstained, reasons).unwrap();
    let rows = view_of(&draft, &["age_yers: unknown key", "counts differ"]).outcome.reasons;
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0].sentence, ReasonCode::ArterialMissing.sentence());
    assert!(rows[1].sentence.ends_with("(age_yers: unknown key)"), "{}", rows[1].sentence);
    assert_eq!((rows[2].code.as_str(), rows[2].sentence.as_str()), ("note", "counts differ"));
}
