//! The clinical sheet that goes with a phantom: complete, and inside the validity box (18–75 years,
//! ECOG 0–1, Child-Pugh A, no earlier therapy; DESIGN sections 4 and 9).

use serde::Serialize;

use super::random::Random;
use super::spec::PhantomSpec;

/// `clinical.json`, schema 2.
#[derive(Debug, Serialize)]
pub(super) struct ClinicalSheet {
    schema: u32,
    subject: String,
    age_years: u32,
    sex: &'static str,
    ecog: u32,
    hbv: bool,
    afp_ng_ml: f64,
    ast_u_l: f64,
    bilirubin_umol_l: f64,
    albumin_g_l: f64,
    inr: f64,
    ascites: &'static str,
    encephalopathy: &'static str,
    pvtt: &'static str,
    extrahepatic_spread: bool,
    prior_therapy: bool,
    second_malignancy: bool,
    days_ct_to_treatment: u32,
    lesion_count: usize,
    lymph_node_metastasis: bool,
    distant_metastasis: bool,
    hepatic_vein_invasion: &'static str,
    bile_duct_invasion: bool,
    lobes: &'static str,
    diffuse_type: bool,
    creatinine_umol_l: f64,
    refractory_ascites: bool,
    hepatorenal_syndrome: bool,
    portal_flow: &'static str,
    arterial_access_barrier: bool,
    untreated_varices: bool,
    bile_duct_obstruction: bool,
    severe_comorbidity: bool,
    height_cm: f64,
    weight_kg: f64,
}

impl ClinicalSheet {
    /// Draws the values of one patient: Child-Pugh 5 points whatever the seed.
    pub(super) fn new(spec: &PhantomSpec) -> Self {
        let mut random = Random::new(spec.seed, 0xc119);
        let mut tenths = |low: f64, high: f64| (random.uniform(low, high) * 10.0).round() / 10.0;
        Self {
            schema: 2,
            subject: format!("phantom-{}", spec.seed),
            age_years: tenths(42.0, 69.0) as u32,
            sex: "male",
            ecog: 0,
            hbv: true,
            afp_ng_ml: tenths(180.0, 900.0),
            ast_u_l: tenths(32.0, 70.0),
            bilirubin_umol_l: tenths(9.0, 19.0),
            albumin_g_l: tenths(37.0, 44.0),
            inr: tenths(1.0, 1.2),
            ascites: "none",
            encephalopathy: "none",
            pvtt: "none",
            extrahepatic_spread: false,
            prior_therapy: false,
            second_malignancy: false,
            days_ct_to_treatment: 7,
            lesion_count: spec.tumours.len(),
            lymph_node_metastasis: false,
            distant_metastasis: false,
            hepatic_vein_invasion: "none",
            bile_duct_invasion: false,
            lobes: "both",
            diffuse_type: false,
            creatinine_umol_l: tenths(60.0, 100.0),
            refractory_ascites: false,
            hepatorenal_syndrome: false,
            portal_flow: "hepatopetal",
            arterial_access_barrier: false,
            untreated_varices: false,
            bile_duct_obstruction: false,
            severe_comorbidity: false,
            height_cm: tenths(160.0, 185.0),
            weight_kg: tenths(55.0, 85.0),
        }
    }
}
