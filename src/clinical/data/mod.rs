//! What the clinicians supply about one study (`clinical.json`): types, units and plausible ranges.
//! A value that was not given is `None`; nothing here ever fills one in.

mod field;

mod parse;

use std::fmt;

pub use field::{Field, Kind, bilirubin_may_be_mg_dl, range};
pub use parse::{
    ClinicalDataError, FieldProblem, MAX_BYTES, MAX_PROBLEMS, SCHEMAS, bilirubin_if_mg_dl,
};

/// The supplied clinical data, every value in range and none contradicting another.
/// [`ClinicalData::parse`] is the way in.
#[derive(Debug, Clone, Default, PartialEq)]
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
    /// Largest axial diameter as the clinicians measure it, mm.
    pub largest_diameter_mm: Option<f64>,
    /// Metastasis in a lymph node (N1).
    pub lymph_node_metastasis: Option<bool>,
    /// Metastasis beyond liver and nodes (M1).
    pub distant_metastasis: Option<bool>,
    /// Hepatic vein tumour thrombus.
    pub hepatic_vein_invasion: Option<HepaticVein>,
    /// Invasion of a bile duct (LCSGJ B1–B4).
    pub bile_duct_invasion: Option<bool>,
    /// How much of both lobes is tumour.
    pub lobes: Option<Lobes>,
    /// Diffuse or infiltrative growth, without nodules that could be counted.
    pub diffuse_type: Option<bool>,
    /// Serum creatinine, µmol/L.
    pub creatinine_umol_l: Option<f64>,
    /// Ascites that does not answer to treatment.
    pub refractory_ascites: Option<bool>,
    /// Hepatorenal syndrome.
    pub hepatorenal_syndrome: Option<bool>,
    /// Direction of the flow in the portal vein.
    pub portal_flow: Option<PortalFlow>,
    /// The hepatic artery cannot be reached or treated.
    pub arterial_access_barrier: Option<bool>,
    /// Varices at high risk of bleeding that are not treated.
    pub untreated_varices: Option<bool>,
    /// Occluded bile duct or incompetent papilla.
    pub bile_duct_obstruction: Option<bool>,
    /// Severe disease of another organ, heart and lungs above all.
    pub severe_comorbidity: Option<bool>,
    /// Height, cm.
    pub height_cm: Option<f64>,
    /// Body weight, kg.
    pub weight_kg: Option<f64>,
    /// The site's own name for the subject; pseudonymised before it goes anywhere.
    pub subject: Option<Subject>,
}

impl ClinicalData {
    /// A study that came without clinical data: everything unknown.
    pub fn absent() -> Self {
        Self::default()
    }

    /// Whether there is a value.
    pub fn has(&self, field: Field) -> bool {
        match field {
            Field::AgeYears => self.age_years.is_some(),
            Field::Sex => self.sex.is_some(),
            Field::Ecog => self.ecog.is_some(),
            Field::Hbv => self.hbv.is_some(),
            Field::AfpNgMl => self.afp_ng_ml.is_some(),
            Field::AstUL => self.ast_u_l.is_some(),
            Field::BilirubinUmolL => self.bilirubin_umol_l.is_some(),
            Field::AlbuminGL => self.albumin_g_l.is_some(),
            Field::Inr => self.inr.is_some(),
            Field::Ascites => self.ascites.is_some(),
            Field::Encephalopathy => self.encephalopathy.is_some(),
            Field::Pvtt => self.pvtt.is_some(),
            Field::ExtrahepaticSpread => self.extrahepatic_spread.is_some(),
            Field::PriorTherapy => self.prior_therapy.is_some(),
            Field::SecondMalignancy => self.second_malignancy.is_some(),
            Field::DaysCtToTreatment => self.days_ct_to_treatment.is_some(),
            Field::LesionCount => self.lesion_count.is_some(),
            Field::LargestDiameterMm => self.largest_diameter_mm.is_some(),
            Field::LymphNodeMetastasis => self.lymph_node_metastasis.is_some(),
            Field::DistantMetastasis => self.distant_metastasis.is_some(),
            Field::HepaticVeinInvasion => self.hepatic_vein_invasion.is_some(),
            Field::BileDuctInvasion => self.bile_duct_invasion.is_some(),
            Field::Lobes => self.lobes.is_some(),
            Field::DiffuseType => self.diffuse_type.is_some(),
            Field::CreatinineUmolL => self.creatinine_umol_l.is_some(),
            Field::RefractoryAscites => self.refractory_ascites.is_some(),
            Field::HepatorenalSyndrome => self.hepatorenal_syndrome.is_some(),
            Field::PortalFlow => self.portal_flow.is_some(),
            Field::ArterialAccessBarrier => self.arterial_access_barrier.is_some(),
            Field::UntreatedVarices => self.untreated_varices.is_some(),
            Field::BileDuctObstruction => self.bile_duct_obstruction.is_some(),
            Field::SevereComorbidity => self.severe_comorbidity.is_some(),
            Field::HeightCm => self.height_cm.is_some(),
            Field::WeightKg => self.weight_kg.is_some(),
            Field::Subject => self.subject.is_some(),
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

/// Hepatic vein tumour thrombus: none, or the Japanese Vv class of its furthest extent (LCSGJ,
/// General Rules for the Clinical and Pathological Study of Primary Liver Cancer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HepaticVein {
    /// `none`
    None,
    /// `vv1`: peripheral branches.
    Vv1,
    /// `vv2`: right, middle or left hepatic vein, inferior right hepatic vein, short hepatic vein.
    Vv2,
    /// `vv3`: inferior vena cava.
    Vv3,
}

impl HepaticVein {
    /// Spellings in `clinical.json`.
    pub const NAMES: [(&'static str, Self); 4] =
        [("none", Self::None), ("vv1", Self::Vv1), ("vv2", Self::Vv2), ("vv3", Self::Vv3)];
}

/// Where in the liver the tumour lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lobes {
    /// `one`: in one lobe.
    One,
    /// `both`: in both lobes.
    Both,
    /// `both_replaced`: massive replacement of both entire lobes.
    BothReplaced,
}

impl Lobes {
    /// Spellings in `clinical.json`.
    pub const NAMES: [(&'static str, Self); 3] =
        [("one", Self::One), ("both", Self::Both), ("both_replaced", Self::BothReplaced)];
}

/// Direction of the flow in the portal vein.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortalFlow {
    /// `hepatopetal`: towards the liver.
    Hepatopetal,
    /// `hepatofugal`: away from it.
    Hepatofugal,
}

impl PortalFlow {
    /// Spellings in `clinical.json`.
    pub const NAMES: [(&'static str, Self); 2] =
        [("hepatopetal", Self::Hepatopetal), ("hepatofugal", Self::Hepatofugal)];
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
