//! The keys of `clinical.json`: name, schema, kind and plausible range of each, stated once for the
//! reader, the template and the messages.

use super::{Ascites, Encephalopathy, HepaticVein, Lobes, PortalFlow, Pvtt, Sex};

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
    LargestDiameterMm,
    LymphNodeMetastasis,
    DistantMetastasis,
    HepaticVeinInvasion,
    BileDuctInvasion,
    Lobes,
    DiffuseType,
    CreatinineUmolL,
    RefractoryAscites,
    HepatorenalSyndrome,
    PortalFlow,
    ArterialAccessBarrier,
    UntreatedVarices,
    BileDuctObstruction,
    SevereComorbidity,
    HeightCm,
    WeightKg,
    Subject,
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A whole number within the limits, both included, and its unit.
    Whole((u32, u32), &'static str),
    /// A number within the limits, both included, and its unit.
    Number((f64, f64), &'static str),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Free text of at most [`super::Subject::MAX_CHARS`] characters.
    Name,
}

/// The words of an enum as a [`Kind`].
macro_rules! choice {
    ($name:ident) => {
        Kind::Choice(const { &words($name::NAMES) })
    };
}

const fn words<T: Copy, const N: usize>(names: [(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = names[at].0;
        at += 1;
    }
    words
}

impl Field {
    /// Every key, in the order of [`super::ClinicalData`].
    pub const ALL: [Self; 35] = [
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
        Self::LargestDiameterMm,
        Self::LymphNodeMetastasis,
        Self::DistantMetastasis,
        Self::HepaticVeinInvasion,
        Self::BileDuctInvasion,
        Self::Lobes,
        Self::DiffuseType,
        Self::CreatinineUmolL,
        Self::RefractoryAscites,
        Self::HepatorenalSyndrome,
        Self::PortalFlow,
        Self::ArterialAccessBarrier,
        Self::UntreatedVarices,
        Self::BileDuctObstruction,
        Self::SevereComorbidity,
        Self::HeightCm,
        Self::WeightKg,
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
            Self::LargestDiameterMm => "largest_diameter_mm",
            Self::LymphNodeMetastasis => "lymph_node_metastasis",
            Self::DistantMetastasis => "distant_metastasis",
            Self::HepaticVeinInvasion => "hepatic_vein_invasion",
            Self::BileDuctInvasion => "bile_duct_invasion",
            Self::Lobes => "lobes",
            Self::DiffuseType => "diffuse_type",
            Self::CreatinineUmolL => "creatinine_umol_l",
            Self::RefractoryAscites => "refractory_ascites",
            Self::HepatorenalSyndrome => "hepatorenal_syndrome",
            Self::PortalFlow => "portal_flow",
            Self::ArterialAccessBarrier => "arterial_access_barrier",
            Self::UntreatedVarices => "untreated_varices",
            Self::BileDuctObstruction => "bile_duct_obstruction",
            Self::SevereComorbidity => "severe_comorbidity",
            Self::HeightCm => "height_cm",
            Self::WeightKg => "weight_kg",
            Self::Subject => "subject",
        }
    }

    /// What a person calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::AgeYears => "Age",
            Self::Sex => "Sex",
            Self::Ecog => "ECOG performance status",
            Self::Hbv => "Hepatitis B",
            Self::AfpNgMl => "Alpha-fetoprotein",
            Self::AstUL => "AST",
            Self::BilirubinUmolL => "Bilirubin",
            Self::AlbuminGL => "Albumin",
            Self::Inr => "INR",
            Self::Ascites => "Ascites",
            Self::Encephalopathy => "Encephalopathy",
            Self::Pvtt => "Portal vein tumour thrombus",
            Self::ExtrahepaticSpread => "Extrahepatic spread",
            Self::PriorTherapy => "Earlier treatment",
            Self::SecondMalignancy => "Second malignancy",
            Self::DaysCtToTreatment => "CT to treatment",
            Self::LesionCount => "Number of lesions",
            Self::LargestDiameterMm => "Largest axial diameter",
            Self::LymphNodeMetastasis => "Lymph node metastasis",
            Self::DistantMetastasis => "Distant metastasis",
            Self::HepaticVeinInvasion => "Hepatic vein tumour thrombus",
            Self::BileDuctInvasion => "Bile duct invasion",
            Self::Lobes => "Lobes with tumour",
            Self::DiffuseType => "Diffuse or infiltrative type",
            Self::CreatinineUmolL => "Creatinine",
            Self::RefractoryAscites => "Refractory ascites",
            Self::HepatorenalSyndrome => "Hepatorenal syndrome",
            Self::PortalFlow => "Flow in the portal vein",
            Self::ArterialAccessBarrier => "Barrier to arterial access",
            Self::UntreatedVarices => "Untreated high-risk varices",
            Self::BileDuctObstruction => "Bile duct obstruction",
            Self::SevereComorbidity => "Severe comorbidity",
            Self::HeightCm => "Height",
            Self::WeightKg => "Weight",
            Self::Subject => "Subject",
        }
    }

    /// The first schema that has the key.
    pub fn since(self) -> u64 {
        match self {
            Self::AgeYears
            | Self::Sex
            | Self::Ecog
            | Self::Hbv
            | Self::AfpNgMl
            | Self::AstUL
            | Self::BilirubinUmolL
            | Self::AlbuminGL
            | Self::Inr
            | Self::Ascites
            | Self::Encephalopathy
            | Self::Pvtt
            | Self::ExtrahepaticSpread
            | Self::PriorTherapy
            | Self::SecondMalignancy
            | Self::DaysCtToTreatment
            | Self::LesionCount
            | Self::Subject => 1,
            Self::LargestDiameterMm
            | Self::LymphNodeMetastasis
            | Self::DistantMetastasis
            | Self::HepaticVeinInvasion
            | Self::BileDuctInvasion
            | Self::Lobes
            | Self::DiffuseType
            | Self::CreatinineUmolL
            | Self::RefractoryAscites
            | Self::HepatorenalSyndrome
            | Self::PortalFlow
            | Self::ArterialAccessBarrier
            | Self::UntreatedVarices
            | Self::BileDuctObstruction
            | Self::SevereComorbidity
            | Self::HeightCm
            | Self::WeightKg => 2,
        }
    }

    /// What it holds.
    pub fn kind(self) -> Kind {
        match self {
            Self::AgeYears => Kind::Whole(range::AGE_YEARS, "years"),
            Self::Sex => choice!(Sex),
            Self::Ecog => Kind::Whole(range::ECOG, ""),
            Self::Hbv
            | Self::ExtrahepaticSpread
            | Self::PriorTherapy
            | Self::SecondMalignancy
            | Self::LymphNodeMetastasis
            | Self::DistantMetastasis
            | Self::BileDuctInvasion
            | Self::DiffuseType
            | Self::RefractoryAscites
            | Self::HepatorenalSyndrome
            | Self::ArterialAccessBarrier
            | Self::UntreatedVarices
            | Self::BileDuctObstruction
            | Self::SevereComorbidity => Kind::Flag,
            Self::AfpNgMl => Kind::Number(range::AFP_NG_ML, "ng/mL"),
            Self::AstUL => Kind::Number(range::AST_U_L, "U/L"),
            Self::BilirubinUmolL => Kind::Number(range::BILIRUBIN_UMOL_L, "µmol/L"),
            Self::AlbuminGL => Kind::Number(range::ALBUMIN_G_L, "g/L"),
            Self::Inr => Kind::Number(range::INR, "(a ratio)"),
            Self::Ascites => choice!(Ascites),
            Self::Encephalopathy => choice!(Encephalopathy),
            Self::Pvtt => choice!(Pvtt),
            Self::DaysCtToTreatment => Kind::Whole(range::DAYS_CT_TO_TREATMENT, "days"),
            Self::LesionCount => Kind::Whole(range::LESION_COUNT, "lesions"),
            Self::LargestDiameterMm => Kind::Number(range::LARGEST_DIAMETER_MM, "mm"),
            Self::HepaticVeinInvasion => choice!(HepaticVein),
            Self::Lobes => choice!(Lobes),
            Self::CreatinineUmolL => Kind::Number(range::CREATININE_UMOL_L, "µmol/L"),
            Self::PortalFlow => choice!(PortalFlow),
            Self::HeightCm => Kind::Number(range::HEIGHT_CM, "cm"),
            Self::WeightKg => Kind::Number(range::WEIGHT_KG, "kg"),
            Self::Subject => Kind::Name,
        }
    }
}

/// Whether a bilirubin within its range, µmol/L, is more likely mg/dL than it should be.
pub fn bilirubin_may_be_mg_dl(umol_l: f64) -> bool {
    umol_l < range::BILIRUBIN_DOUBTFUL_BELOW_UMOL_L
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
    /// µmol/L. A value below is mg/dL: 3 µmol/L is 0.18 mg/dL, less than a laboratory reports. A range
    /// cannot catch the rest: jaundice of 4 mg/dL and a normal 4 µmol/L are the same number, so up to
    /// [`BILIRUBIN_DOUBTFUL_BELOW_UMOL_L`] the unit is asked for, and above it 6 mg/dL and more still
    /// pass for a normal value.
    pub const BILIRUBIN_UMOL_L: (f64, f64) = (3.0, 1000.0);
    /// µmol/L, itself excluded: below it a value is a low normal one, or jaundice in mg/dL.
    pub const BILIRUBIN_DOUBTFUL_BELOW_UMOL_L: f64 = 6.0;
    /// g/L. No living patient has less, and no value in g/dL reaches it.
    pub const ALBUMIN_G_L: (f64, f64) = (10.0, 70.0);
    /// A ratio. A value above is prothrombin activity in per cent, or seconds: a normal prothrombin
    /// time is 11 s and more.
    pub const INR: (f64, f64) = (0.5, 10.0);
    /// Whole days; a CT after the treatment would be negative.
    pub const DAYS_CT_TO_TREATMENT: (u32, u32) = (0, 3650);
    /// Lesions.
    pub const LESION_COUNT: (u32, u32) = (0, 99);
    /// mm. Below a millimetre nothing is measured on CT; a value in cm is likely below 30, which is
    /// also a possible one in mm, so only the comparison with the image can tell.
    pub const LARGEST_DIAMETER_MM: (f64, f64) = (1.0, 500.0);
    /// µmol/L. A value below is mg/dL: 20 µmol/L is 0.2 mg/dL.
    pub const CREATININE_UMOL_L: (f64, f64) = (20.0, 3000.0);
    /// cm. A value below is metres.
    pub const HEIGHT_CM: (f64, f64) = (50.0, 250.0);
    /// kg.
    pub const WEIGHT_KG: (f64, f64) = (10.0, 400.0);
}
