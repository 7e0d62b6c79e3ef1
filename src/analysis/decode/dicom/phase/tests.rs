//! Which words, times and orders name a phase, and which series is picked.

use super::*;

fn clues(description: &str) -> Clues {
    Clues {
        description: description.to_owned(),
        agent: None,
        bolus_start_s: None,
        acquired_s: None,
        frame_of_reference: None,
        patient_id: String::new(),
        study: None,
        sharp: false,
        axial: true,
        spacing_mm: 2.5,
    }
}

fn phases(all: &[Clues]) -> Vec<Option<Phase>> {
    let all: Vec<&Clues> = all.iter().collect();
    name(&all).into_iter().map(|named| named.phase).collect()
}

fn picks(all: &[Clues]) -> [Pick; 2] {
    let all: Vec<&Clues> = all.iter().collect();
    let choice = choose(&all, &name(&all));
    [choice.arterial, choice.portal]
}

#[test]
fn descriptions_of_many_habits_name_a_phase() {
    use Phase::{Arterial, Delayed, NonContrast, Portal};
    for (description, phase) in [
        ("LIVER ARTERIAL 2.5mm", Some(Arterial)),
        ("Late Arterial", Some(Arterial)),
        ("Abd Art. 1.0 Br40", Some(Arterial)),
        ("3PHASE_LAP_1.25", Some(Arterial)),
        ("phase artérielle", Some(Arterial)),
        ("动脉期 1mm", Some(Arterial)),
        ("AX PORTAL VENOUS", Some(Portal)),
        ("venöse Phase 3mm", Some(Portal)),
        ("temps portal", Some(Portal)),
        ("PVP", Some(Portal)),
        ("门脉期", Some(Portal)),
        ("Delayed 3 min", Some(Delayed)),
        ("Spätphase", Some(Delayed)),
        ("延迟期", Some(Delayed)),
        ("late", Some(Delayed)),
        ("ABD W/O CONTRAST", Some(NonContrast)),
        ("nativ 5.0", Some(NonContrast)),
        ("non-contrast", Some(NonContrast)),
        ("平扫", Some(NonContrast)),
        ("LIVER 35 s", Some(Arterial)),
        ("LIVER 70sec", Some(Portal)),
        ("LIVER 180 s", Some(Delayed)),
        ("spätarteriell", Some(Arterial)),
        ("früharteriell 1.0", Some(Arterial)),
        ("arterial tardía", Some(Arterial)),
        ("tardive", Some(Delayed)),
        ("portalvenös B30s", Some(Portal)),
        // Neither of these says anything.
        ("AbdRoutine 5.0 B30s", None),
        ("Abd 1.5 B70s", None),
        ("rotation 0.75 s", None),
        ("ABD W WO 5.0", None),
        ("CT abdomen w/wo contrast", None),
        ("CT with and without contrast", None),
        ("ABD/PELVIS W CONTRAST", None),
        ("AP", None),
        ("LIVER 50 s", None),
        ("party of departure", None),
        ("", None),
        // These say two things.
        ("ARTERIAL AND PORTAL", None),
        ("arterial 70 s", None),
    ] {
        assert_eq!(phases(&[clues(description)]), [phase], "{description}");
    }
}

#[test]
fn abbreviations_count_when_they_contrast() {
    let both = [clues("Liver AP 1.25"), clues("Liver VP 1.25")];
    assert_eq!(phases(&both), [Some(Phase::Arterial), Some(Phase::Portal)]);
    assert_eq!(phases(&[clues("Liver AP 1.25"), clues("Thorax AP")]), [None, None]);
}

#[test]
fn the_bolus_tells_the_phase() {
    let at = |seconds: f64| {
        let clues = Clues {
            bolus_start_s: Some(86_390.0),
            acquired_s: Some((86_390.0 + seconds) % 86_400.0),
            ..clues("")
        };
        phases(&[clues])[0]
    };
    // Over midnight.
    assert_eq!(at(35.0), Some(Phase::Arterial));
    assert_eq!(at(70.0), Some(Phase::Portal));
    assert_eq!(at(180.0), Some(Phase::Delayed));
    assert_eq!(at(-60.0), Some(Phase::NonContrast));
    assert_eq!((at(51.0), at(115.0), at(2000.0)), (None, None, None));
}

#[test]
fn the_order_of_contrast_acquisitions_tells_when_nothing_else_does() {
    let at = |seconds: f64| Clues {
        agent: Some("Iomeprol".to_owned()),
        acquired_s: Some(1000.0 + seconds),
        ..clues("Liver 2.5")
    };
    let plain = Clues { acquired_s: Some(900.0), ..clues("nativ") };
    let all = [at(70.0), plain, at(35.0), at(180.0)];
    let expected = [Phase::Portal, Phase::NonContrast, Phase::Arterial, Phase::Delayed];
    assert_eq!(phases(&all), expected.map(Some));
    // Two acquisitions five minutes apart may be anything.
    assert_eq!(phases(&[at(0.0), at(300.0)]), [None, None]);
    assert_eq!(phases(&[at(0.0)]), [None]);
}

#[test]
fn the_attributes_say_that_no_contrast_was_given() {
    let without = Clues { agent: Some("NONE".to_owned()), ..clues("abdomen") };
    assert_eq!(phases(&[without]), [Some(Phase::NonContrast)]);
    let forgotten = Clues { agent: Some("NONE".to_owned()), ..clues("arterial") };
    assert_eq!(phases(&[forgotten]), [Some(Phase::Arterial)]);
}

#[test]
fn of_one_acquisition_the_thin_soft_axial_series_is_picked() {
    let at =
        |description: &str, seconds: f64| Clues { acquired_s: Some(seconds), ..clues(description) };
    let all = [
        Clues { spacing_mm: 5.0, ..at("arterial", 35.0) },
        Clues { spacing_mm: 1.25, ..at("arterial", 35.0) },
        Clues { spacing_mm: 0.6, sharp: true, ..at("arterial", 35.0) },
        Clues { spacing_mm: 0.6, axial: false, ..at("arterial", 35.0) },
        at("portal", 70.0),
    ];
    assert_eq!(picks(&all), [Pick::One(1), Pick::One(4)]);
}

#[test]
fn two_acquisitions_of_one_phase_are_ambiguous_unless_one_is_late() {
    let at =
        |description: &str, seconds: f64| Clues { acquired_s: Some(seconds), ..clues(description) };
    let early = [at("arterial", 20.0), at("arterial", 35.0), at("portal", 70.0)];
    assert_eq!(picks(&early)[0], Pick::Ambiguous(vec![0, 1]));
    let late = [at("early arterial", 20.0), at("late arterial", 35.0), at("portal", 70.0)];
    assert_eq!(picks(&late)[0], Pick::One(1));
    assert_eq!(picks(&[clues("portal")]), [Pick::Missing, Pick::One(0)]);
    // A series that says two things may be either.
    let disputed = [clues("arterial portal")];
    assert_eq!(picks(&disputed), [Pick::Ambiguous(vec![0]), Pick::Ambiguous(vec![0])]);
}

#[test]
fn kernels_of_lung_and_bone_are_sharp() {
    for kernel in ["B70f", "Br64\\3", "BONE", "LUNG", "FC51", "FC85", "Bl60", "YB (Enhanced edge)"]
    {
        assert!(is_sharp(kernel), "{kernel}");
    }
    for kernel in ["B30f", "Br40\\3", "STANDARD", "FC08", "SOFT", "59 .10.AB50", "I31f", "", "B"] {
        assert!(!is_sharp(kernel), "{kernel}");
    }
}

#[test]
fn the_pair_is_chosen_within_one_examination() {
    let of = |study: &str, description: &str, seconds: f64| Clues {
        study: Some(Key::of(study)),
        acquired_s: Some(seconds),
        ..clues(description)
    };
    let today = [of("1.2", "arterial", 5000.0), of("1.2", "portal", 5035.0)];
    let prior = [of("1.1", "arterial", 100.0), of("1.1", "portal", 135.0)];
    let half = [of("1.1", "arterial", 100.0)];
    let with = |others: &[Clues]| picks(&[&today, others].concat());
    assert_eq!(with(&half), [Pick::One(0), Pick::One(1)]);
    let both = Pick::Ambiguous(vec![0, 2]);
    assert_eq!(with(&prior), [both, Pick::Ambiguous(vec![1, 3])]);
    // Half of one and half of another are told by the pair's check.
    assert!(!same_examination(&half[0], &today[1]));
    assert!(same_examination(&today[0], &today[1]));
    let later = of("1.2", "portal", 5000.0 + 1801.0);
    assert!(!same_examination(&today[0], &later));
    let midnight = [of("1.2", "", 86_390.0), of("1.2", "", 20.0)];
    assert!(same_examination(&midnight[0], &midnight[1]), "times without a date");
}
