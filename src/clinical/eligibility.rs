//! The validity box: the patients the published score was studied in. Outside it, or where a
//! criterion cannot be evaluated, there is no score. (Both CT phases are the gate's criterion.)

use std::fmt;

use super::data::{ClinicalData, Field};
use super::liver_function::{ChildPugh, ChildPughClass};
use crate::units::Millimetres;

/// Age at treatment, completed years: Cao et al., NPJ Digit Med 2025;8:692, inclusion criteria.
pub const AGE_YEARS: (u32, u32) = (18, 75);
/// Highest ECOG performance status: Cao 2025.
pub const ECOG_MAX: u32 = 1;
/// Worst Child-Pugh class: Cao 2025.
pub const CHILD_PUGH_MAX: ChildPughClass = ChildPughClass::B;
/// Smallest largest axial diameter, mm: Cao 2025 excludes a largest diameter below 5 cm.
pub const LARGEST_DIAMETER_MIN_MM: f64 = 50.0;
/// Longest time from CT to treatment, days: Cao 2025, CT within two weeks before treatment.
pub const DAYS_CT_TO_TREATMENT_MAX: u32 = 14;

/// Every criterion of the validity box, evaluated, in a fixed order.
#[derive(Debug, Clone, PartialEq)]
pub struct Eligibility {
    /// One of each [`CriterionKind`], in the order of that enum.
    pub criteria: [Criterion; 7],
}

/// One criterion for one patient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Criterion {
    /// Which one.
    pub kind: CriterionKind,
    /// What it was judged on; `None` when that is unknown.
    pub value: Option<CriterionValue>,
    /// Whether the patient meets it.
    pub met: Met,
}

/// The criteria.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CriterionKind {
    /// 18..=75 years
    Age,
    /// 0..=1
    Ecog,
    /// A or B
    ChildPugh,
    /// ≥ 50 mm
    LargestDiameter,
    /// none
    PriorTherapy,
    /// none
    SecondMalignancy,
    /// ≤ 14 days
    DaysCtToTreatment,
}

/// The value a criterion was judged on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CriterionValue {
    /// Completed years, an ECOG status or days, as the criterion says.
    Whole(u32),
    /// A Child-Pugh class.
    Class(ChildPughClass),
    /// The largest axial diameter.
    Length(Millimetres),
    /// Whether something is present.
    Present(bool),
}

/// Whether a criterion is met. `Unknown` counts as not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// Inside the box.
    Yes,
    /// Outside the box.
    No,
    /// The value is missing.
    Unknown,
}

impl Eligibility {
    /// Judges every criterion. `largest_diameter` is measured on the image.
    pub fn of(data: &ClinicalData, largest_diameter: Option<Millimetres>) -> Self {
        use CriterionValue::{Class, Length, Present, Whole};
        let child_pugh = ChildPugh::of(data).ok().map(|score| score.class());
        Self {
            criteria: [
                Criterion::judge(CriterionKind::Age, data.age_years.map(Whole)),
                Criterion::judge(CriterionKind::Ecog, data.ecog.map(Whole)),
                Criterion::judge(CriterionKind::ChildPugh, child_pugh.map(Class)),
                Criterion::judge(CriterionKind::LargestDiameter, largest_diameter.map(Length)),
                Criterion::judge(CriterionKind::PriorTherapy, data.prior_therapy.map(Present)),
                Criterion::judge(
                    CriterionKind::SecondMalignancy,
                    data.second_malignancy.map(Present),
                ),
                Criterion::judge(
                    CriterionKind::DaysCtToTreatment,
                    data.days_ct_to_treatment.map(Whole),
                ),
            ],
        }
    }

    /// True when every criterion is met.
    pub fn inside_box(&self) -> bool {
        self.criteria.iter().all(|criterion| criterion.met == Met::Yes)
    }
}

impl Criterion {
    fn judge(kind: CriterionKind, value: Option<CriterionValue>) -> Self {
        let met = match value {
            None => Met::Unknown,
            Some(value) if kind.admits(value) => Met::Yes,
            Some(_) => Met::No,
        };
        Self { kind, value, met }
    }
}

impl CriterionKind {
    /// The name used in reason codes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Ecog => "ecog",
            Self::ChildPugh => "child_pugh",
            Self::LargestDiameter => "largest_diameter",
            Self::PriorTherapy => "prior_therapy",
            Self::SecondMalignancy => "second_malignancy",
            Self::DaysCtToTreatment => "days_ct_to_treatment",
        }
    }

    /// What the criterion asks for, in words.
    pub fn requirement(self) -> &'static str {
        match self {
            Self::Age => "age 18 to 75 years",
            Self::Ecog => "ECOG performance status 0 or 1",
            Self::ChildPugh => "Child-Pugh class A or B",
            Self::LargestDiameter => "largest tumour diameter of at least 50 mm",
            Self::PriorTherapy => "no earlier anticancer therapy",
            Self::SecondMalignancy => "no other active malignancy",
            Self::DaysCtToTreatment => "CT at most 14 days before treatment",
        }
    }

    /// The keys of `clinical.json` it is judged on; none for what only the image says.
    pub fn fields(self) -> &'static [Field] {
        match self {
            Self::Age => &[Field::AgeYears],
            Self::Ecog => &[Field::Ecog],
            Self::ChildPugh => &ChildPugh::FIELDS,
            Self::LargestDiameter => &[],
            Self::PriorTherapy => &[Field::PriorTherapy],
            Self::SecondMalignancy => &[Field::SecondMalignancy],
            Self::DaysCtToTreatment => &[Field::DaysCtToTreatment],
        }
    }

    fn admits(self, value: CriterionValue) -> bool {
        use CriterionValue::{Class, Length, Present, Whole};
        match (self, value) {
            (Self::Age, Whole(years)) => (AGE_YEARS.0..=AGE_YEARS.1).contains(&years),
            (Self::Ecog, Whole(status)) => status <= ECOG_MAX,
            (Self::ChildPugh, Class(class)) => class <= CHILD_PUGH_MAX,
            (Self::LargestDiameter, Length(length)) => length.get() >= LARGEST_DIAMETER_MIN_MM,
            (Self::PriorTherapy | Self::SecondMalignancy, Present(present)) => !present,
            (Self::DaysCtToTreatment, Whole(days)) => days <= DAYS_CT_TO_TREATMENT_MAX,
            (_, Whole(_) | Class(_) | Length(_) | Present(_)) => false,
        }
    }
}

impl fmt::Display for CriterionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Class(class) => write!(f, "{}", class.letter()),
            // Two decimals, so that 49.98 mm does not read as the limit it misses.
            Self::Length(length) => write!(f, "{:.2} mm", length.get()),
            Self::Present(true) => f.write_str("yes"),
            Self::Present(false) => f.write_str("no"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clinical::data::{Ascites, Encephalopathy};

    fn inside() -> ClinicalData {
        ClinicalData {
            age_years: Some(60),
            ecog: Some(0),
            bilirubin_umol_l: Some(12.0),
            albumin_g_l: Some(40.0),
            inr: Some(1.0),
            ascites: Some(Ascites::None),
            encephalopathy: Some(Encephalopathy::None),
            prior_therapy: Some(false),
            second_malignancy: Some(false),
            days_ct_to_treatment: Some(7),
            ..ClinicalData::absent()
        }
    }

    fn met(change: impl Fn(&mut ClinicalData), kind: CriterionKind) -> Met {
        let mut data = inside();
        change(&mut data);
        let eligibility = Eligibility::of(&data, Millimetres::new(60.0).ok());
        let others = eligibility.criteria.iter().filter(|c| c.kind != kind);
        assert!(others.clone().count() == 6 && others.clone().all(|c| c.met == Met::Yes));
        let found = eligibility.criteria.iter().find(|c| c.kind == kind).unwrap().met;
        assert_eq!(eligibility.inside_box(), found == Met::Yes);
        found
    }

    /// Limits from Cao 2025; each is met on the limit itself and not one step beyond.
    #[test]
    fn whole_number_limits_on_both_sides() {
        for (years, expected) in [(17, Met::No), (18, Met::Yes), (75, Met::Yes), (76, Met::No)] {
            assert_eq!(met(|d| d.age_years = Some(years), CriterionKind::Age), expected);
        }
        for (status, expected) in [(0, Met::Yes), (1, Met::Yes), (2, Met::No), (4, Met::No)] {
            assert_eq!(met(|d| d.ecog = Some(status), CriterionKind::Ecog), expected);
        }
        for (days, expected) in [(0, Met::Yes), (14, Met::Yes), (15, Met::No)] {
            let kind = CriterionKind::DaysCtToTreatment;
            assert_eq!(met(|d| d.days_ct_to_treatment = Some(days), kind), expected);
        }
    }

    #[test]
    fn diameter_limit_on_both_sides() {
        for (mm, expected) in [(49.999, Met::No), (50.0, Met::Yes), (200.0, Met::Yes)] {
            let eligibility = Eligibility::of(&inside(), Millimetres::new(mm).ok());
            assert_eq!(eligibility.criteria[3].met, expected, "{mm}");
        }
        assert_eq!(Eligibility::of(&inside(), None).criteria[3].met, Met::Unknown);
    }

    /// 9 points are class B, 10 are class C.
    #[test]
    fn child_pugh_c_is_outside() {
        let nine = |d: &mut ClinicalData| {
            d.bilirubin_umol_l = Some(60.0);
            d.ascites = Some(Ascites::Moderate);
        };
        assert_eq!(met(nine, CriterionKind::ChildPugh), Met::Yes);
        let ten = |d: &mut ClinicalData| {
            nine(d);
            d.inr = Some(1.8);
        };
        assert_eq!(met(ten, CriterionKind::ChildPugh), Met::No);
    }

    #[test]
    fn therapy_and_malignancy_exclude() {
        assert_eq!(met(|d| d.prior_therapy = Some(true), CriterionKind::PriorTherapy), Met::No);
        let kind = CriterionKind::SecondMalignancy;
        assert_eq!(met(|d| d.second_malignancy = Some(true), kind), Met::No);
    }

    #[test]
    fn a_missing_value_is_unknown_and_not_met() {
        assert_eq!(met(|d| d.age_years = None, CriterionKind::Age), Met::Unknown);
        assert_eq!(met(|d| d.ecog = None, CriterionKind::Ecog), Met::Unknown);
        assert_eq!(met(|d| d.inr = None, CriterionKind::ChildPugh), Met::Unknown);
        assert_eq!(met(|d| d.prior_therapy = None, CriterionKind::PriorTherapy), Met::Unknown);
        let kind = CriterionKind::SecondMalignancy;
        assert_eq!(met(|d| d.second_malignancy = None, kind), Met::Unknown);
        let kind = CriterionKind::DaysCtToTreatment;
        assert_eq!(met(|d| d.days_ct_to_treatment = None, kind), Met::Unknown);
    }
}
