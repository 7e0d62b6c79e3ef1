//! Worked cases of every staging: each rule of the tables in the files' heads, each limit on both
//! sides, and what is asked for when a value is missing. The sources are the files'; where a source
//! prints an example, the case says so.

use super::*;
use crate::clinical::assessment::Measured;
use crate::clinical::data::{Ascites, Encephalopathy, HepaticVein, Pvtt};

/// What makes another patient of one.
type Change<'a> = &'a dyn Fn(&mut ClinicalData);

/// One lesion of 40 mm, Child-Pugh A, ECOG 0, nothing invaded.
fn early() -> ClinicalData {
    ClinicalData {
        ecog: Some(0),
        bilirubin_umol_l: Some(12.0),
        albumin_g_l: Some(40.0),
        inr: Some(1.0),
        ascites: Some(Ascites::None),
        encephalopathy: Some(Encephalopathy::None),
        pvtt: Some(Pvtt::None),
        hepatic_vein_invasion: Some(HepaticVein::None),
        bile_duct_invasion: Some(false),
        extrahepatic_spread: Some(false),
        diffuse_type: Some(false),
        lesion_count: Some(1),
        largest_diameter_mm: Some(40.0),
        ..ClinicalData::absent()
    }
}

/// Child-Pugh 7 points by INR and ascites.
fn class_b(data: &mut ClinicalData) {
    (data.inr, data.ascites) = (Some(1.8), Some(Ascites::Mild));
}

/// Child-Pugh 11 points.
fn class_c(data: &mut ClinicalData) {
    (data.inr, data.ascites, data.albumin_g_l) = (Some(2.4), Some(Ascites::Moderate), Some(27.0));
}

fn outcome(system: System, data: &ClinicalData) -> Staging {
    let nothing = Measured { largest_diameter: None, lesion_count: None, risk: None };
    let found = stage(data, &Burden::of(data, &nothing));
    assert_eq!(found.iter().map(|one| one.system).collect::<Vec<_>>(), System::ALL);
    found.into_iter().find(|one| one.system == system).unwrap()
}

fn stage_with(system: System, change: impl Fn(&mut ClinicalData)) -> Stage {
    let mut data = early();
    change(&mut data);
    outcome(system, &data).outcome.unwrap()
}

/// The patient with so many lesions, the largest of so many mm.
fn sized(system: System, count: u32, mm: f64) -> Stage {
    stage_with(system, |d| (d.lesion_count, d.largest_diameter_mm) = (Some(count), Some(mm)))
}

/// The cells of (count, mm) and what each system makes of them.
#[test]
fn number_and_size_on_both_sides_of_every_limit() {
    use Stage::*;
    for (count, mm, bclc, easl, cnlc) in [
        (1, 19.9, Bclc0, Easl0, CnlcIa),
        (1, 20.0, Bclc0, EaslA, CnlcIa),
        (1, 20.1, BclcA, EaslA, CnlcIa),
        (1, 50.0, BclcA, EaslA, CnlcIa),
        (1, 50.1, BclcA, EaslA, CnlcIb),
        (1, 200.0, BclcA, EaslA, CnlcIb),
        (2, 29.9, BclcA, EaslA, CnlcIb),
        (3, 30.0, BclcA, EaslB, CnlcIb),
        (3, 30.1, BclcB, EaslB, CnlcIIa),
        (2, 15.0, BclcA, EaslA, CnlcIb),
        (4, 10.0, BclcB, EaslB, CnlcIIb),
        (4, 80.0, BclcB, EaslB, CnlcIIb),
    ] {
        assert_eq!(sized(System::Bclc, count, mm), bclc, "{count} of {mm}");
        assert_eq!(sized(System::Easl, count, mm), easl, "{count} of {mm}");
        assert_eq!(sized(System::Cnlc, count, mm), cnlc, "{count} of {mm}");
    }
}

/// The example of rdrr.io/cran/cliot/man/bclc_staging.html (PS 0, multinodular, Child-Pugh A is B)
/// and the rows of its table.
#[test]
fn bclc_and_easl_rows() {
    use Stage::*;
    let rows: [(Change<'_>, Stage, Stage); 12] = [
        (&|d| d.lesion_count = Some(6), BclcB, EaslB),
        (&|d| d.ecog = Some(1), BclcC, EaslC),
        (&|d| d.ecog = Some(2), BclcC, EaslC),
        (&|d| d.ecog = Some(3), BclcD, EaslD),
        (&|d| d.ecog = Some(4), BclcD, EaslD),
        (&|d| d.pvtt = Some(Pvtt::Vp1), BclcC, EaslC),
        (&|d| d.hepatic_vein_invasion = Some(HepaticVein::Vv1), BclcC, EaslC),
        (&|d| d.extrahepatic_spread = Some(true), BclcC, EaslC),
        (&class_b, BclcA, EaslA),
        (&class_c, BclcD, EaslD),
        (
            &|d| {
                class_c(d);
                d.pvtt = Some(Pvtt::Vp4);
            },
            BclcD,
            EaslD,
        ),
        (&|d| d.bile_duct_invasion = Some(true), BclcA, EaslA),
    ];
    for (number, (change, bclc, easl)) in rows.into_iter().enumerate() {
        assert_eq!(stage_with(System::Bclc, change), bclc, "row {number}");
        assert_eq!(stage_with(System::Easl, change), easl, "row {number}");
    }
}

/// Test order of the guideline: IV, IIIb, IIIa, then number and size.
#[test]
fn cnlc_rows() {
    use Stage::*;
    let rows: [(Change<'_>, Stage); 8] = [
        (&|d| d.ecog = Some(2), CnlcIa),
        (&|d| d.ecog = Some(3), CnlcIV),
        (&class_b, CnlcIa),
        (&class_c, CnlcIV),
        (&|d| d.pvtt = Some(Pvtt::Vp2), CnlcIIIa),
        (&|d| d.hepatic_vein_invasion = Some(HepaticVein::Vv3), CnlcIIIa),
        (&|d| (d.pvtt, d.extrahepatic_spread) = (Some(Pvtt::Vp4), Some(true)), CnlcIIIb),
        (&|d| (d.ecog, d.extrahepatic_spread) = (Some(4), Some(true)), CnlcIV),
    ];
    for (number, (change, expected)) in rows.into_iter().enumerate() {
        assert_eq!(stage_with(System::Cnlc, change), expected, "row {number}");
    }
}

/// PMC9747269, table 5: the eight combinations of the three conditions, then N1 and M1.
#[test]
fn lcsgj_rows() {
    use Stage::*;
    for (count, mm, invaded, expected) in [
        (1, 20.0, false, LcsgjI),
        (1, 20.1, false, LcsgjII),
        (2, 20.0, false, LcsgjII),
        (1, 20.0, true, LcsgjII),
        (2, 20.1, false, LcsgjIII),
        (2, 20.0, true, LcsgjIII),
        (1, 20.1, true, LcsgjIII),
        (2, 20.1, true, LcsgjIVa),
    ] {
        let sized = |d: &mut ClinicalData| {
            (d.lesion_count, d.largest_diameter_mm) = (Some(count), Some(mm));
        };
        let by_bile_duct = stage_with(System::Lcsgj, |d| {
            sized(d);
            d.bile_duct_invasion = Some(invaded);
        });
        let by_vein = stage_with(System::Lcsgj, |d| {
            sized(d);
            d.hepatic_vein_invasion =
                invaded.then_some(HepaticVein::Vv1).or(Some(HepaticVein::None));
        });
        let by_portal = stage_with(System::Lcsgj, |d| {
            sized(d);
            d.pvtt = invaded.then_some(Pvtt::Vp1).or(Some(Pvtt::None));
        });
        assert_eq!([by_bile_duct, by_vein, by_portal], [expected; 3], "{count} {mm} {invaded}");
        for (node, distant, expected) in
            [(true, false, LcsgjIVa), (true, true, LcsgjIVb), (false, true, LcsgjIVb)]
        {
            let spread = stage_with(System::Lcsgj, |d| {
                sized(d);
                d.extrahepatic_spread = Some(true);
                d.lymph_node_metastasis = Some(node);
                d.distant_metastasis = Some(distant);
            });
            assert_eq!(spread, expected, "{count} {mm} {node} {distant}");
        }
    }
}

/// The tree of the reference notes, section 3.7 (unverified), every leaf and both sides of 5 cm, three
/// lesions and ECOG 1.
#[test]
fn hklc_rows() {
    use Stage::*;
    for (count, mm, invaded, class_a, class_b_stage) in [
        (3, 50.0, false, HklcI, HklcIIa),
        (4, 50.0, false, HklcIIb, HklcIIIa),
        (3, 50.0, true, HklcIIb, HklcIIIa),
        (3, 50.1, false, HklcIIb, HklcIIIa),
        (4, 50.0, true, HklcIIIb, HklcIIIb),
        (4, 50.1, false, HklcIIIb, HklcIIIb),
        (3, 50.1, true, HklcIIIb, HklcIIIb),
        (4, 50.1, true, HklcIIIb, HklcIIIb),
    ] {
        let case = |ecog: u32, liver: &dyn Fn(&mut ClinicalData), pvtt| {
            stage_with(System::Hklc, |d| {
                (d.lesion_count, d.largest_diameter_mm) = (Some(count), Some(mm));
                d.ecog = Some(ecog);
                d.pvtt = Some(pvtt);
                liver(d);
            })
        };
        let within = if invaded { Pvtt::Vp3 } else { Pvtt::None };
        let early = !invaded && count <= 3 && mm <= 50.0;
        let poor = if early { HklcVa } else { HklcVb };
        assert_eq!(case(1, &|_| (), within), class_a, "{count} {mm} {invaded}");
        assert_eq!(case(1, &class_b, within), class_b_stage, "{count} {mm} {invaded}");
        assert_eq!(case(2, &|_| (), within), poor, "{count} {mm} {invaded}");
        assert_eq!(case(0, &class_c, within), poor, "{count} {mm} {invaded}");
        assert_eq!(case(0, &|_| (), Pvtt::Vp4), HklcIVa);
        assert_eq!(case(0, &class_b, Pvtt::Vp4), HklcIVb);
        assert_eq!(case(3, &|_| (), Pvtt::Vp4), HklcVb);
    }
    let diffuse = stage_with(System::Hklc, |d| d.diffuse_type = Some(true));
    let cava = stage_with(System::Hklc, |d| d.hepatic_vein_invasion = Some(HepaticVein::Vv3));
    let vein = stage_with(System::Hklc, |d| d.hepatic_vein_invasion = Some(HepaticVein::Vv2));
    let spread = stage_with(System::Hklc, |d| d.extrahepatic_spread = Some(true));
    assert_eq!([diffuse, cava, vein, spread], [HklcIIIb, HklcIVa, HklcIIb, HklcIVa]);
}

/// Sums by hand, in cm: 3 + 3 = 6, and one step beyond; likewise 12 and 7.
#[test]
fn burden_sums_on_both_sides() {
    use Stage::*;
    for (count, mm, sum, strata, within) in [
        (3, 30.0, 6.0, AtMost6, Within7),
        (3, 30.1, 6.01, Above6To12, Within7),
        (3, 40.0, 7.0, Above6To12, Within7),
        (3, 40.1, 7.01, Above6To12, Beyond7),
        (2, 100.0, 12.0, Above6To12, Beyond7),
        (2, 100.1, 12.01, Above12, Beyond7),
    ] {
        let sized = |d: &mut ClinicalData| {
            (d.lesion_count, d.largest_diameter_mm) = (Some(count), Some(mm));
        };
        let mut data = early();
        sized(&mut data);
        let found = outcome(System::SixAndTwelve, &data);
        assert_eq!(found.outcome, Ok(strata), "{count} of {mm}");
        assert!((found.value.unwrap() - sum).abs() < 1e-9);
        assert_eq!(stage_with(System::UpToSeven, sized), within, "{count} of {mm}");
    }
}

/// log10(10) = 1, so −0.66·1 and 0.085 g/L steps: 10 µmol/L with 36 g/L is −2.40 (2a), 34 g/L −2.23
/// (2b), 40 g/L −2.74 (1), 20 g/L −1.04 (3).
#[test]
fn modified_albi_worked_cases() {
    use Stage::*;
    for (albumin, score, expected) in [
        (40.0, -2.74, Malbi1),
        (36.0, -2.40, Malbi2a),
        (34.0, -2.23, Malbi2b),
        (20.0, -1.04, Malbi3),
    ] {
        let data = ClinicalData {
            bilirubin_umol_l: Some(10.0),
            albumin_g_l: Some(albumin),
            ..ClinicalData::absent()
        };
        let found = outcome(System::ModifiedAlbi, &data);
        assert_eq!(found.outcome, Ok(expected));
        assert!((found.value.unwrap() - score).abs() < 1e-9);
    }
}

/// Every input of every system, taken away alone: the system asks for it, the others do not care.
#[test]
fn what_is_missing_is_named() {
    type Without = fn(&mut ClinicalData);
    let inputs: [(Field, Without); 13] = [
        (Field::Ecog, |d| d.ecog = None),
        (Field::BilirubinUmolL, |d| d.bilirubin_umol_l = None),
        (Field::AlbuminGL, |d| d.albumin_g_l = None),
        (Field::Inr, |d| d.inr = None),
        (Field::Ascites, |d| d.ascites = None),
        (Field::Encephalopathy, |d| d.encephalopathy = None),
        (Field::Pvtt, |d| d.pvtt = None),
        (Field::HepaticVeinInvasion, |d| d.hepatic_vein_invasion = None),
        (Field::BileDuctInvasion, |d| d.bile_duct_invasion = None),
        (Field::DiffuseType, |d| d.diffuse_type = None),
        (Field::LesionCount, |d| d.lesion_count = None),
        (Field::LargestDiameterMm, |d| d.largest_diameter_mm = None),
        (Field::ExtrahepaticSpread, |d| d.extrahepatic_spread = None),
    ];
    let burden = [Field::DiffuseType, Field::LesionCount, Field::LargestDiameterMm];
    let liver = [
        Field::BilirubinUmolL,
        Field::AlbuminGL,
        Field::Inr,
        Field::Ascites,
        Field::Encephalopathy,
    ];
    let invasion = [Field::Pvtt, Field::HepaticVeinInvasion];
    let staged: Vec<Field> =
        [&[Field::Ecog, Field::ExtrahepaticSpread][..], &burden, &liver, &invasion].concat();
    for (field, without) in inputs {
        let mut data = early();
        without(&mut data);
        for system in System::ALL {
            let reads = match system {
                System::ModifiedAlbi => liver[..2].contains(&field),
                System::Bclc | System::Easl | System::Cnlc | System::Hklc => {
                    staged.contains(&field)
                }
                System::Lcsgj => {
                    let spread = field == Field::ExtrahepaticSpread;
                    let bile = field == Field::BileDuctInvasion;
                    burden.contains(&field) || invasion.contains(&field) || bile || spread
                }
                System::SixAndTwelve | System::UpToSeven => burden.contains(&field),
            };
            let needs = match (system, field) {
                (System::Lcsgj, Field::ExtrahepaticSpread) => {
                    vec![Field::LymphNodeMetastasis, Field::DistantMetastasis]
                }
                _ => vec![field],
            };
            let found = outcome(system, &data).outcome;
            let expected = Err(NotComputable::Needs(NeedsInputs(needs)));
            match reads {
                true => assert_eq!(found, expected, "{system:?} without {field:?}"),
                false => assert!(found.is_ok(), "{system:?} without {field:?}"),
            }
        }
    }
}

/// A diffuse tumour is never BCLC A: whatever number is given, its nodules cannot be counted. B by the
/// tables of BCLC and EASL, C and D as ever; CNLC and LCSGJ only by what spread makes of it.
#[test]
fn the_nodules_of_a_diffuse_tumour_are_not_counted() {
    use Stage::*;
    let diffuse = |count: Option<u32>, change: Change<'_>| {
        let mut data = early();
        (data.diffuse_type, data.lesion_count) = (Some(true), count);
        change(&mut data);
        [System::Bclc, System::Easl, System::Cnlc, System::Lcsgj, System::Hklc]
            .map(|system| outcome(system, &data).outcome)
    };
    let uncounted = Err(NotComputable::Diffuse);
    for count in [None, Some(0), Some(1), Some(7)] {
        let found = diffuse(count, &|d| d.largest_diameter_mm = None);
        let expected = [Ok(BclcB), Ok(EaslB), uncounted.clone(), uncounted.clone(), Ok(HklcIIIb)];
        assert_eq!(found, expected, "{count:?}");
    }
    let invaded = diffuse(None, &|d| d.pvtt = Some(Pvtt::Vp2));
    let expected = [Ok(BclcC), Ok(EaslC), Ok(CnlcIIIa), uncounted.clone(), Ok(HklcIIIb)];
    assert_eq!(invaded, expected);
    let node = diffuse(None, &|d| {
        (d.extrahepatic_spread, d.lymph_node_metastasis) = (Some(true), Some(true));
        d.distant_metastasis = Some(false);
    });
    assert_eq!(node, [Ok(BclcC), Ok(EaslC), Ok(CnlcIIIb), Ok(LcsgjIVa), Ok(HklcIVa)]);
    let end = diffuse(None, &|d| d.ecog = Some(3));
    let expected = [Ok(BclcD), Ok(EaslD), Ok(CnlcIV), uncounted.clone(), Ok(HklcVb)];
    assert_eq!(end, expected);
    let mut data = early();
    data.diffuse_type = Some(true);
    for system in [System::SixAndTwelve, System::UpToSeven] {
        let found = outcome(system, &data);
        assert_eq!((found.outcome, found.value), (uncounted.clone(), None), "{system:?}");
    }
    let said = NotComputable::Diffuse.to_string();
    assert_eq!(said, "not computable: diffuse: nodules cannot be counted");
}

#[test]
fn no_lesion_has_no_stage_and_a_grade() {
    let mut data = early();
    (data.lesion_count, data.largest_diameter_mm) = (Some(0), None);
    for system in System::ALL {
        let found = outcome(system, &data).outcome;
        match system {
            System::ModifiedAlbi => assert_eq!(found, Ok(Stage::Malbi1)),
            _ => assert_eq!(found, Err(NotComputable::NoTumour), "{system:?}"),
        }
    }
    let said = NotComputable::NoTumour.to_string();
    assert_eq!(said, "not computable: no lesion was counted");
}

#[test]
fn every_caveat_is_a_sentence_that_fits_a_paragraph() {
    for system in System::ALL {
        let caveat = system.caveat();
        assert!(caveat.ends_with('.') && (20..300).contains(&caveat.len()), "{caveat}");
    }
}
