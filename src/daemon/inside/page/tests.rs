//! The page against the sample messages of the wire format.

use super::*;
use crate::render;
use crate::render::report::NomogramView;
use crate::seal::wire::samples;
use crate::seal::wire::{
    self, ClinicalField, ClinicalFinding, Contraindication, ContraindicationCheck, Criterion,
    DoseItem, GateCode, List, Nomogram, Provenance, Stage, StagingSystem, Wording,
};

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
    let facts = PageFacts { order: &order, scan: None, notes, slices: vec![11] };
    view(draft, &facts, Language::English)
}

fn in_chinese(draft: &Draft) -> ReportView {
    let order = order();
    let scan = Scan { arterial: true, voxels_xyz: [160, 160, 80], spacing_xyz_mm: [2.0, 2.0, 2.5] };
    let facts = PageFacts { order: &order, scan: Some(scan), notes: Vec::new(), slices: vec![11] };
    view(draft, &facts, Language::Chinese)
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
    assert!(shown.demonstration);
    let rows: Vec<&str> = shown.outcome.reasons.iter().map(|row| row.code.as_str()).collect();
    assert!(rows.is_empty(), "{rows:?}");
    let page = render::report(&[view_of(&draft, &[])]);
    for text in ["0011223344556677", "box-1", "ward-3", "hcc-edge 0.1.0", &"ab".repeat(16)] {
        assert!(page.contains(text), "{text}");
    }
    for model in draft.models.iter() {
        assert!(page.contains(&model.manifest_digest.to_string()), "{}", model.name);
    }
}

#[test]
fn a_finding_and_an_absolute_contraindication_stand_beside_the_score() {
    let mut draft = samples::scored_draft();
    let clinical = draft.clinical.as_mut().unwrap();
    clinical.findings = List::new(vec![ClinicalFinding::LesionCountDiffers]).unwrap();
    let present = |item| ContraindicationCheck { item, present: wire::Met::Yes };
    let items = [Contraindication::Jaundice, Contraindication::RefractoryAscites];
    clinical.tace = List::new(items.map(present).to_vec()).unwrap();
    let rows = view_of(&draft, &[]).outcome.reasons;
    let codes: Vec<&str> = rows.iter().map(|row| row.code.as_str()).collect();
    assert_eq!(codes, ["lesion_count_differs", "tace_contraindicated"]);
    assert_eq!(
        rows[1].sentence,
        "2 published absolute contraindication(s) to TACE are present: jaundice, read as bilirubin \
         above 3 mg/dL (the source names no number), refractory ascites; not part of the \
         recommendation."
    );
    let chinese = in_chinese(&draft).outcome.reasons;
    assert!(chinese[1].sentence.contains("顽固性腹水"), "{}", chinese[1].sentence);
    assert!(!chinese[1].sentence.contains("绝对："), "{}", chinese[1].sentence);
}

fn shown(nomogram: &Nomogram) -> NomogramView {
    super::nomogram::view(nomogram, Language::English)
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

#[test]
fn the_clinical_tables_say_the_signed_values() {
    let draft = samples::scored_draft();
    let shown = view_of(&draft, &[]);
    let burden = &shown.burden;
    assert_eq!(burden[0].supplied, "3");
    assert_eq!(burden[0].measured, "3");
    assert_eq!(burden[0].used, "3 (supplied)");
    assert_eq!((burden[1].supplied.as_str(), burden[1].measured.as_str()), ("–", "72.500 mm"));
    assert_eq!(burden[1].used, "72.500 mm (measured)");
    let stages: Vec<&str> = shown.stagings.iter().map(|row| row.stage.as_str()).collect();
    assert_eq!(
        stages,
        [
            "mALBI grade 1",
            "not computable: needs Hepatic vein tumour thrombus",
            "Sum above 6, at most 12"
        ]
    );
    assert_eq!(shown.stagings[2].value, "10.25 cm + n");
    assert!(shown.stagings.iter().all(|row| row.caveat.ends_with('.')));
    assert_eq!(shown.contraindications.len(), 3);
    let doses: Vec<_> = shown.doses.iter().map(|d| (d.amount.as_str(), d.total.as_str())).collect();
    let expected = [("200 mg/m²", "400 mg"), ("400 mg/m²", "800 mg"), ("20–40 mg", "")];
    assert_eq!(doses, expected, "both published leucovorin doses");
    let mut rounded = draft.clinical.clone().unwrap();
    let mut doses = rounded.reference_doses.to_vec();
    (doses[0].total_mg_e1, doses[1].total_mg_e1) = (Some(3_694), Some(7_385));
    rounded.reference_doses = List::new(doses).unwrap();
    let totals = staged::doses(&rounded, Language::English);
    assert_eq!((totals[0].total.as_str(), totals[1].total.as_str()), ("369 mg", "739 mg"));
    assert_eq!(shown.body_surface, "Body surface 2.0000 m² (Mosteller 1987).");
    let albi = &shown.liver_function[0];
    assert_eq!((albi.name.as_str(), albi.grade.as_str()), ("ALBI", "grade 1"));
    assert_eq!(shown.supplied.len(), ClinicalField::ALL.len());
    let axes = &shown.nomograms[0].axes;
    assert_eq!(axes[0].points, (0.0, 100.0), "the widest term spans the scale");
    assert_eq!(axes[0].mark, Some(("2.5".to_owned(), 62.5)));
    assert_eq!(axes[2].ends, ("0".to_owned(), "1".to_owned()));
    assert!((axes[2].points.0 - 10.714).abs() < 1e-3 && axes[2].points.1 == 0.0, "negative");
    assert_eq!(shown.curves[0].patient, [(12.0, 0.5554), (36.0, 0.1374)]);
}

#[test]
fn what_a_liver_score_needs_is_said() {
    let mut draft = samples::scored_draft();
    let clinical = draft.clinical.as_mut().unwrap();
    (clinical.albi_e4, clinical.albi_grade) = (None, None);
    (clinical.child_pugh_points, clinical.child_pugh_class) = (None, None);
    let given = &mut clinical.supplied;
    (given.bilirubin_umol_l_e3, given.inr_e3) = (None, None);
    (given.ascites, given.encephalopathy) = (None, None);
    let shown = view_of(&draft, &[]);
    let needs: Vec<&str> = shown.liver_function.iter().map(|row| row.inputs.as_str()).collect();
    assert_eq!(
        needs,
        [
            "not computable: needs Bilirubin",
            "not computable: needs Bilirubin, INR, Ascites, Encephalopathy"
        ]
    );
}

/// The worst grade of ascites and of encephalopathy have one code and not one meaning.
#[test]
fn ascites_and_encephalopathy_have_words_of_their_own() {
    let mut draft = samples::scored_draft();
    let given = &mut draft.clinical.as_mut().unwrap().supplied;
    given.ascites = Some(wire::Ascites::Severe);
    given.encephalopathy = Some(wire::Encephalopathy::Severe);
    for (shown, ascites, encephalopathy) in [
        (view_of(&draft, &[]), "Moderate to severe, or refractory", "Grade 3 to 4, or refractory"),
        (in_chinese(&draft), "中重度，或难治性", "3–4 级，或难治性"),
    ] {
        let values: Vec<&str> = shown.supplied.iter().map(|row| row.value.as_str()).collect();
        assert!(values.contains(&ascites) && values.contains(&encephalopathy), "{values:?}");
    }
}

/// Every sentence of the wire format that the page shows.
#[test]
fn every_sentence_has_a_chinese_form() {
    let mut sentences: Vec<&'static str> = Vec::new();
    sentences.extend(ReasonCode::ALL.iter().map(|code| code.sentence()));
    sentences.extend(GateCode::ALL.iter().map(|code| code.sentence()));
    sentences.extend(Criterion::ALL.iter().map(|code| code.sentence()));
    sentences.extend(RecommendationCode::ALL.iter().map(|code| code.sentence()));
    sentences.extend(Wording::ALL.iter().map(|code| code.sentence()));
    sentences.extend(Stage::ALL.iter().map(|code| code.sentence()));
    sentences.extend(Contraindication::ALL.iter().map(|code| code.sentence()));
    sentences.extend(DoseItem::ALL.iter().map(|code| code.sentence()));
    sentences.extend(ClinicalFinding::ALL.iter().map(|code| code.sentence()));
    sentences.extend(wire::Ascites::ALL.iter().map(|code| code.sentence()));
    sentences.extend(wire::Encephalopathy::ALL.iter().map(|code| code.sentence()));
    sentences.push(protocol::SCHEDULE);
    sentences.extend(StagingSystem::ALL.iter().map(|system| system.caveat()));
    assert!(sentences.len() > 170);
    for sentence in sentences {
        assert_ne!(Language::Chinese.say(sentence), sentence);
    }
    for field in ClinicalField::ALL.iter().filter(|field| **field != ClinicalField::Inr) {
        let chinese = Language::Chinese.say(field.sentence());
        assert!(chinese.ends_with('。'), "{}", field.sentence());
    }
}

/// The words of the page outside code and what comes from packages and other people.
fn words(page: &str) -> Vec<String> {
    let mut words = Vec::new();
    for piece in page.split('<').skip(1) {
        let Some((tag, text)) = piece.split_once('>') else { continue };
        if tag.starts_with("code") || tag.contains("small") || tag.starts_with("style") {
            continue;
        }
        let parts = text.split(|letter: char| !letter.is_ascii_alphabetic());
        words.extend(parts.filter(|word| word.len() >= 4).map(str::to_owned));
    }
    words
}

/// A page in Chinese holds no English word but names and units.
#[test]
fn the_chinese_page_is_in_chinese() {
    let names = [
        "clinical",
        "json",
        "nomogram",
        "tace",
        "haic",
        "study",
        "liver",
        "localiser",
        "tumour",
        "Child",
        "Pugh",
        "ECOG",
        "TACE",
        "HAIC",
        "ALBI",
        "mALBI",
        "BCLC",
        "EASL",
        "CNLC",
        "HKLC",
        "LCSGJ",
        "seven",
        "verify",
        "result",
        "cose",
        "Mosteller",
        "quot",
        "score",
        "above",
        "child",
        "pugh",
        "done",
        "NIfTI",
        "DICOM",
    ];
    for draft in [samples::scored_draft(), abstained()] {
        let page = render::report(&[in_chinese(&draft)]);
        let (_, page) = page.split_once("<main").unwrap();
        for word in words(page) {
            assert!(names.contains(&word.as_str()), "{word} in {page}");
        }
    }
}

fn abstained() -> Draft {
    let reasons = ReasonCode::ALL.iter().take(12).map(|code| Reason::bare(*code)).collect();
    let draft = Draft::refused(Status::Abstained, reasons).unwrap();
    let scored = samples::scored_draft();
    Draft { clinical: scored.clinical, lesions: scored.lesions, gate: scored.gate, ..draft }
}
