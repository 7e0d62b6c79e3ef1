//! Liver function from laboratory values and examination: ALBI, its modified grade, and Child-Pugh.

use super::data::{Ascites, ClinicalData, Encephalopathy, Field};
use super::needs::{Inputs, NeedsInputs};

/// Albumin-bilirubin score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Albi {
    /// Dimensionless; about −5 (good) to +1 (poor).
    pub score: f64,
    /// The grade the score falls in.
    pub grade: AlbiGrade,
}

/// ALBI grade; 1 is the best liver function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlbiGrade {
    /// score ≤ −2.60
    One,
    /// −2.60 < score ≤ −1.39
    Two,
    /// score > −1.39
    Three,
}

/// Weight of log10(bilirubin in µmol/L): Johnson et al., J Clin Oncol 2015;33:550.
const ALBI_LOG10_BILIRUBIN: f64 = 0.66;
/// Weight of albumin in g/L: Johnson 2015. (−0.0852 in some programs is a different rounding.)
const ALBI_ALBUMIN: f64 = -0.085;
/// Highest score of grade 1: Johnson 2015.
const ALBI_GRADE_1_MAX: f64 = -2.60;
/// Highest score of grade 2: Johnson 2015.
const ALBI_GRADE_2_MAX: f64 = -1.39;

impl Albi {
    /// From bilirubin (µmol/L) and albumin (g/L).
    pub fn of(data: &ClinicalData) -> Result<Self, NeedsInputs> {
        let mut inputs = Inputs::default();
        let bilirubin = inputs.need(Field::BilirubinUmolL, data.bilirubin_umol_l);
        let albumin = inputs.need(Field::AlbuminGL, data.albumin_g_l);
        let (Some(bilirubin), Some(albumin)) = (bilirubin, albumin) else {
            return Err(inputs.lacking());
        };
        let score = ALBI_LOG10_BILIRUBIN * bilirubin.log10() + ALBI_ALBUMIN * albumin;
        Ok(Self { score, grade: AlbiGrade::of_score(score) })
    }
}

impl AlbiGrade {
    /// The grade of a score.
    pub fn of_score(score: f64) -> Self {
        if score <= ALBI_GRADE_1_MAX {
            Self::One
        } else if score <= ALBI_GRADE_2_MAX {
            Self::Two
        } else {
            Self::Three
        }
    }

    /// 1, 2 or 3.
    pub fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// Modified ALBI grade: grade 2 in two halves (Hiraoka et al., Liver Cancer 2017;6:325; described at
/// encyclopedia.pub/entry/2657).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModifiedAlbiGrade {
    /// score ≤ −2.60
    One,
    /// −2.60 < score ≤ −2.27
    TwoA,
    /// −2.27 < score ≤ −1.39
    TwoB,
    /// score > −1.39
    Three,
}

/// Highest score of modified grade 2a. The number was taken from general knowledge (reference notes,
/// section 3.1): no stored source that prints it was found, which the result says.
const MALBI_GRADE_2A_MAX: f64 = -2.27;

impl ModifiedAlbiGrade {
    /// The grade of a score.
    pub fn of_score(score: f64) -> Self {
        match AlbiGrade::of_score(score) {
            AlbiGrade::One => Self::One,
            AlbiGrade::Two if score <= MALBI_GRADE_2A_MAX => Self::TwoA,
            AlbiGrade::Two => Self::TwoB,
            AlbiGrade::Three => Self::Three,
        }
    }
}

/// Child-Pugh score with the points of each of its five inputs, 1..=3 each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildPugh {
    /// Points for total bilirubin.
    pub bilirubin: u8,
    /// Points for albumin.
    pub albumin: u8,
    /// Points for the INR.
    pub inr: u8,
    /// Points for ascites.
    pub ascites: u8,
    /// Points for encephalopathy.
    pub encephalopathy: u8,
}

/// Child-Pugh class; A is the best liver function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChildPughClass {
    /// 5–6 points
    A,
    /// 7–9 points
    B,
    /// 10–15 points
    C,
}

/// The two limits of an input: below the first is one side, above the second the other, and both
/// limits themselves belong to the middle (2 points).
struct Limits {
    low: f64,
    high: f64,
}

/// µmol/L, 2 and 3 mg/dL: Child-Pugh table, Cleve Clin J Med (ccjm.org markup 12320, Table 1).
const BILIRUBIN_UMOL_L: Limits = Limits { low: 34.2, high: 51.3 };
/// g/L: same table (2.8 and 3.5 g/dL; a variant of the table has 3.0 instead of 2.8).
const ALBUMIN_G_L: Limits = Limits { low: 28.0, high: 35.0 };
/// Ratio: same table (variants use seconds of prolongation instead).
const INR: Limits = Limits { low: 1.7, high: 2.3 };
/// Most points of class A: same source.
const CLASS_A_MAX: u8 = 6;
/// Most points of class B: same source.
const CLASS_B_MAX: u8 = 9;

impl ChildPugh {
    /// What it is made of.
    pub const FIELDS: [Field; 5] = [
        Field::BilirubinUmolL,
        Field::AlbuminGL,
        Field::Inr,
        Field::Ascites,
        Field::Encephalopathy,
    ];

    /// From bilirubin, albumin, INR, ascites and encephalopathy.
    pub fn of(data: &ClinicalData) -> Result<Self, NeedsInputs> {
        let mut inputs = Inputs::default();
        let bilirubin = inputs.need(Field::BilirubinUmolL, data.bilirubin_umol_l);
        let albumin = inputs.need(Field::AlbuminGL, data.albumin_g_l);
        let inr = inputs.need(Field::Inr, data.inr);
        let ascites = inputs.need(Field::Ascites, data.ascites);
        let encephalopathy = inputs.need(Field::Encephalopathy, data.encephalopathy);
        let (Some(bilirubin), Some(albumin), Some(inr), Some(ascites), Some(encephalopathy)) =
            (bilirubin, albumin, inr, ascites, encephalopathy)
        else {
            return Err(inputs.lacking());
        };
        Ok(Self {
            bilirubin: points_rising(bilirubin, &BILIRUBIN_UMOL_L),
            albumin: 4 - points_rising(albumin, &ALBUMIN_G_L),
            inr: points_rising(inr, &INR),
            ascites: match ascites {
                Ascites::None => 1,
                Ascites::Mild => 2,
                Ascites::Moderate => 3,
            },
            encephalopathy: match encephalopathy {
                Encephalopathy::None => 1,
                Encephalopathy::Grade1To2 => 2,
                Encephalopathy::Grade3To4 => 3,
            },
        })
    }

    /// The sum, 5..=15.
    pub fn points(&self) -> u8 {
        self.bilirubin + self.albumin + self.inr + self.ascites + self.encephalopathy
    }

    /// The class of the sum.
    pub fn class(&self) -> ChildPughClass {
        ChildPughClass::of_points(self.points())
    }
}

impl ChildPughClass {
    /// The class of 5..=15 points.
    pub fn of_points(points: u8) -> Self {
        if points <= CLASS_A_MAX {
            Self::A
        } else if points <= CLASS_B_MAX {
            Self::B
        } else {
            Self::C
        }
    }

    /// `A`, `B` or `C`.
    pub fn letter(self) -> char {
        match self {
            Self::A => 'A',
            Self::B => 'B',
            Self::C => 'C',
        }
    }
}

/// 1 below the limits, 2 within them (both included), 3 above.
fn points_rising(value: f64, limits: &Limits) -> u8 {
    if value < limits.low {
        1
    } else if value <= limits.high {
        2
    } else {
        3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn albi(bilirubin: f64, albumin: f64) -> Albi {
        let data = ClinicalData {
            bilirubin_umol_l: Some(bilirubin),
            albumin_g_l: Some(albumin),
            ..ClinicalData::absent()
        };
        Albi::of(&data).unwrap()
    }

    /// Worked by hand from Johnson 2015: 0.66·log10(bilirubin) − 0.085·albumin. The tolerance is
    /// the rounding of the hand-worked value.
    #[test]
    fn albi_worked_examples() {
        for (bilirubin, albumin, score, grade) in [
            (10.0, 40.0, -2.74, AlbiGrade::One),    // 0.66·1 − 3.4
            (100.0, 30.0, -1.23, AlbiGrade::Three), // 0.66·2 − 2.55
            (10.0, 36.0, -2.40, AlbiGrade::Two),    // 0.66 − 3.06
            (17.1, 38.0, -2.4162, AlbiGrade::Two),  // log10 17.1 = 1.23300; 0.81378 − 3.23
            (1.0, 70.0, -5.95, AlbiGrade::One),
            (1000.0, 10.0, 1.13, AlbiGrade::Three),
        ] {
            let found = albi(bilirubin, albumin);
            assert!((found.score - score).abs() < 1e-4, "{bilirubin} {albumin}: {found:?}");
            assert_eq!(found.grade, grade, "{bilirubin} {albumin}");
        }
    }

    #[test]
    fn albi_grades_on_both_sides_of_the_cuts() {
        for (score, grade) in
            [(-2.601, 1), (-2.60, 1), (-2.599, 2), (-1.391, 2), (-1.39, 2), (-1.389, 3)]
        {
            assert_eq!(AlbiGrade::of_score(score).number(), grade, "{score}");
        }
    }

    #[test]
    fn modified_albi_grades_on_both_sides_of_the_cuts() {
        use ModifiedAlbiGrade::{One, Three, TwoA, TwoB};
        for (score, grade) in [
            (-2.60, One),
            (-2.599, TwoA),
            (-2.27, TwoA),
            (-2.269, TwoB),
            (-1.39, TwoB),
            (-1.389, Three),
        ] {
            assert_eq!(ModifiedAlbiGrade::of_score(score), grade, "{score}");
        }
    }

    #[test]
    fn albi_says_what_it_needs() {
        let mut data = ClinicalData::absent();
        let lacking = Albi::of(&data).unwrap_err();
        assert_eq!(lacking.to_string(), "not computable: needs bilirubin_umol_l, albumin_g_l");
        data.bilirubin_umol_l = Some(10.0);
        assert_eq!(Albi::of(&data), Err(NeedsInputs(vec![Field::AlbuminGL])));
    }

    fn best() -> ClinicalData {
        ClinicalData {
            bilirubin_umol_l: Some(12.0),
            albumin_g_l: Some(40.0),
            inr: Some(1.0),
            ascites: Some(Ascites::None),
            encephalopathy: Some(Encephalopathy::None),
            ..ClinicalData::absent()
        }
    }

    /// Each row changes one input of a 5-point patient (table of ccjm.org markup 12320).
    #[test]
    fn child_pugh_points_on_both_sides_of_every_limit() {
        let with = |change: &dyn Fn(&mut ClinicalData)| {
            let mut data = best();
            change(&mut data);
            ChildPugh::of(&data).unwrap().points()
        };
        for (value, points) in [(34.1, 5), (34.2, 6), (51.3, 6), (51.4, 7)] {
            assert_eq!(with(&|d| d.bilirubin_umol_l = Some(value)), points, "bilirubin {value}");
        }
        for (value, points) in [(35.1, 5), (35.0, 6), (28.0, 6), (27.9, 7)] {
            assert_eq!(with(&|d| d.albumin_g_l = Some(value)), points, "albumin {value}");
        }
        for (value, points) in [(1.69, 5), (1.7, 6), (2.3, 6), (2.31, 7)] {
            assert_eq!(with(&|d| d.inr = Some(value)), points, "INR {value}");
        }
        for (value, points) in [(Ascites::None, 5), (Ascites::Mild, 6), (Ascites::Moderate, 7)] {
            assert_eq!(with(&|d| d.ascites = Some(value)), points, "{value:?}");
        }
        for (value, points) in [
            (Encephalopathy::None, 5),
            (Encephalopathy::Grade1To2, 6),
            (Encephalopathy::Grade3To4, 7),
        ] {
            assert_eq!(with(&|d| d.encephalopathy = Some(value)), points, "{value:?}");
        }
    }

    #[test]
    fn child_pugh_classes_on_both_sides_of_every_limit() {
        for (points, letter) in [(5, 'A'), (6, 'A'), (7, 'B'), (9, 'B'), (10, 'C'), (15, 'C')] {
            assert_eq!(ChildPughClass::of_points(points).letter(), letter, "{points}");
        }
    }

    /// The worst patient has 3 points five times.
    #[test]
    fn child_pugh_worst_case_is_fifteen() {
        let data = ClinicalData {
            bilirubin_umol_l: Some(200.0),
            albumin_g_l: Some(20.0),
            inr: Some(3.0),
            ascites: Some(Ascites::Moderate),
            encephalopathy: Some(Encephalopathy::Grade3To4),
            ..ClinicalData::absent()
        };
        let score = ChildPugh::of(&data).unwrap();
        assert_eq!((score.points(), score.class()), (15, ChildPughClass::C));
    }

    #[test]
    fn child_pugh_says_what_it_needs() {
        let lacking = ChildPugh::of(&ClinicalData::absent()).unwrap_err();
        assert_eq!(lacking.0.len(), 5);
        let data = ClinicalData { inr: None, ascites: None, ..best() };
        let lacking = ChildPugh::of(&data).unwrap_err();
        assert_eq!(lacking.to_string(), "not computable: needs inr, ascites");
    }
}
