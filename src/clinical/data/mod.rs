//! What the clinicians supply about one study (`clinical.json`): types, units and plausible ranges.
//! A value that was not given is `None`; nothing here ever fills one in.

mod parse;

use std::fmt;

pub use parse::{ClinicalDataError, FieldProblem, MAX_BYTES, MAX_PROBLEMS, SCHEMA};

/// The supplied clinical data, every value in range. [`ClinicalData::parse`] is the way in.
#[derive(Debug, Clone, PartialEq)]
pub struct ClinicalData {
    /// Completed years at treatment.
    pub age_years: Option<u32>,
    /// Sex.
    pub sex: Option<Sex>,
    /// ECOG performance status, 0..=4.
    pub ecog: Option<u32>,
    /// Chronic hepatitis B infection.
    pub hbv: Option<bool>,
    /// Alpha-fetoprotein, ng/mL.
    pub afp_ng_ml: Option<f64>,
    /// Aspartate aminotransferase, U/L.
    pub ast_u_l: Option<f64>,
    /// Total bilirubin, µmol/L.
    pub bilirubin_umol_l: Option<f64>,
    /// Serum albumin, g/L.
    pub albumin_g_l: Option<f64>,
    /// International normalised ratio of the prothrombin time.
    pub inr: Option<f64>,
    /// Ascites.
    pub ascites: Option<Ascites>,
    /// Hepatic encephalopathy.
    pub encephalopathy: Option<Encephalopathy>,
    /// Portal vein tumour thrombus.
    pub pvtt: Option<Pvtt>,
    /// Spread outside the liver.
    pub extrahepatic_spread: Option<bool>,
    /// Any earlier anticancer therapy.
    pub prior_therapy: Option<bool>,
    /// Another active malignancy.
    pub second_malignancy: Option<bool>,
    /// Whole days from the CT to the treatment.
    pub days_ct_to_treatment: Option<u32>,
    /// Number of lesions as the clinicians count them.
    pub lesion_count: Option<u32>,
    /// The site's own name for the subject; pseudonymised before it goes anywhere.
    pub subject: Option<Subject>,
}

impl ClinicalData {
    /// A study that came without clinical data: everything unknown.
    pub fn absent() -> Self {
        Self {
            age_years: None,
            sex: None,
            ecog: None,
            hbv: None,
            afp_ng_ml: None,
            ast_u_l: None,
            bilirubin_umol_l: None,
            albumin_g_l: None,
            inr: None,
            ascites: None,
            encephalopathy: None,
            pvtt: None,
            extrahepatic_spread: None,
            prior_therapy: None,
            second_malignancy: None,
            days_ct_to_treatment: None,
            lesion_count: None,
            subject: None,
        }
    }
}

/// Sex as recorded by the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    /// `female`
    Female,
    /// `male`
    Male,
}

impl Sex {
    /// Spellings in `clinical.json`.
    pub const NAMES: [(&'static str, Self); 2] = [("female", Self::Female), ("male", Self::Male)];
}

/// Ascites in the three grades of the Child-Pugh table. `mild` is ascites that is slight or
/// controlled by diuretics, `moderate` everything beyond, refractory ascites included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ascites {
    /// `none`
    None,
    /// `mild`
    Mild,
    /// `moderate`
    Moderate,
}

impl Ascites {
    /// Spellings in `clinical.json`.
    pub const NAMES: [(&'static str, Self); 3] =
        [("none", Self::None), ("mild", Self::Mild), ("moderate", Self::Moderate)];
}

/// Hepatic encephalopathy in the three grades of the Child-Pugh table (West Haven grades).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encephalopathy {
    /// `none`
    None,
    /// `grade1_2`
    Grade1To2,
    /// `grade3_4`
    Grade3To4,
}

impl Encephalopathy {
    /// Spellings in `clinical.json`.
    pub const NAMES: [(&'static str, Self); 3] =
        [("none", Self::None), ("grade1_2", Self::Grade1To2), ("grade3_4", Self::Grade3To4)];
}

/// Portal vein tumour thrombus: none, or the Japanese Vp class of its furthest extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pvtt {
    /// `none`
    None,
    /// `vp1`: distal to the second-order branches.
    Vp1,
    /// `vp2`: second-order branches.
    Vp2,
    /// `vp3`: first-order branches.
    Vp3,
    /// `vp4`: main trunk or contralateral branch.
    Vp4,
}

impl Pvtt {
    /// Spellings in `clinical.json`.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("none", Self::None),
        ("vp1", Self::Vp1),
        ("vp2", Self::Vp2),
        ("vp3", Self::Vp3),
        ("vp4", Self::Vp4),
    ];
}

/// The site's own name for the subject. `Debug` hides it, so that it cannot reach a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// Longest subject accepted, in characters.
    pub const MAX_CHARS: usize = 64;

    /// `None` when empty or longer than [`Subject::MAX_CHARS`].
    pub fn new(text: &str) -> Option<Self> {
        (1..=Self::MAX_CHARS).contains(&text.chars().count()).then(|| Self(text.to_owned()))
    }

    /// The text, for the pseudonymiser alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(hidden)")
    }
}

/// The keys of `clinical.json`, `schema` aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // Each is described where `ClinicalData` holds its value.
pub enum Field {
    AgeYears,
    Sex,
    Ecog,
    Hbv,
    AfpNgMl,
    AstUL,
    BilirubinUmolL,
    AlbuminGL,
    Inr,
    Ascites,
    Encephalopathy,
    Pvtt,
    ExtrahepaticSpread,
    PriorTherapy,
    SecondMalignancy,
    DaysCtToTreatment,
    LesionCount,
    Subject,
}

impl Field {
    /// Every key, in the order of [`ClinicalData`].
    pub const ALL: [Self; 18] = [
        Self::AgeYears,
        Self::Sex,
        Self::Ecog,
        Self::Hbv,
        Self::AfpNgMl,
        Self::AstUL,
        Self::BilirubinUmolL,
        Self::AlbuminGL,
        Self::Inr,
        Self::Ascites,
        Self::Encephalopathy,
        Self::Pvtt,
        Self::ExtrahepaticSpread,
        Self::PriorTherapy,
        Self::SecondMalignancy,
        Self::DaysCtToTreatment,
        Self::LesionCount,
        Self::Subject,
    ];

    /// The key as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::AgeYears => "age_years",
            Self::Sex => "sex",
            Self::Ecog => "ecog",
            Self::Hbv => "hbv",
            Self::AfpNgMl => "afp_ng_ml",
            Self::AstUL => "ast_u_l",
            Self::BilirubinUmolL => "bilirubin_umol_l",
            Self::AlbuminGL => "albumin_g_l",
            Self::Inr => "inr",
            Self::Ascites => "ascites",
            Self::Encephalopathy => "encephalopathy",
            Self::Pvtt => "pvtt",
            Self::ExtrahepaticSpread => "extrahepatic_spread",
            Self::PriorTherapy => "prior_therapy",
            Self::SecondMalignancy => "second_malignancy",
            Self::DaysCtToTreatment => "days_ct_to_treatment",
            Self::LesionCount => "lesion_count",
            Self::Subject => "subject",
        }
    }
}

/// The values accepted. They are wide on purpose: they catch a wrong unit or a slip of the key, they
/// do not judge the patient.
pub mod range {
    /// Completed years.
    pub const AGE_YEARS: (u32, u32) = (0, 120);
    /// ECOG performance status; 5 is death.
    pub const ECOG: (u32, u32) = (0, 4);
    /// ng/mL. Values above a million occur in large tumours.
    pub const AFP_NG_ML: (f64, f64) = (0.0, 1e7);
    /// U/L.
    pub const AST_U_L: (f64, f64) = (1.0, 20_000.0);
    /// µmol/L. A value below is mg/dL: 1 µmol/L is 0.06 mg/dL.
    pub const BILIRUBIN_UMOL_L: (f64, f64) = (1.0, 1000.0);
    /// g/L. No living patient has less, and no value in g/dL reaches it.
    pub const ALBUMIN_G_L: (f64, f64) = (10.0, 70.0);
    /// A ratio. A value above is prothrombin activity in per cent, or seconds.
    pub const INR: (f64, f64) = (0.5, 15.0);
    /// Whole days; a CT after the treatment would be negative.
    pub const DAYS_CT_TO_TREATMENT: (u32, u32) = (0, 3650);
    /// Lesions.
    pub const LESION_COUNT: (u32, u32) = (0, 99);
}
