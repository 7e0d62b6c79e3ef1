//! `clinical.json` as understood, in wire form.

use super::scaled;
use crate::clinical::data::{
    Ascites, ClinicalData, Encephalopathy, HepaticVein, Lobes, PortalFlow, Pvtt, Sex,
};
use crate::seal::wire;

/// Every value but the subject.
pub(super) fn supplied(data: &ClinicalData) -> wire::Supplied {
    let thousandths = |value: Option<f64>| value.map(|v| scaled(v, 1e3).max(0) as u64);
    wire::Supplied {
        age_years_e3: data.age_years.map(|years| u64::from(years) * 1000),
        sex: data.sex.map(sex),
        ecog: data.ecog.map(u64::from),
        hbv: data.hbv,
        afp_ng_ml_e3: thousandths(data.afp_ng_ml),
        ast_u_l_e3: thousandths(data.ast_u_l),
        bilirubin_umol_l_e3: thousandths(data.bilirubin_umol_l),
        albumin_g_l_e3: thousandths(data.albumin_g_l),
        inr_e3: thousandths(data.inr),
        ascites: data.ascites.map(ascites),
        encephalopathy: data.encephalopathy.map(encephalopathy),
        pvtt: data.pvtt.map(pvtt),
        extrahepatic_spread: data.extrahepatic_spread,
        prior_therapy: data.prior_therapy,
        second_malignancy: data.second_malignancy,
        days_ct_to_treatment: data.days_ct_to_treatment.map(i64::from),
        lesion_count: data.lesion_count.map(u64::from),
        largest_diameter_um: thousandths(data.largest_diameter_mm),
        lymph_node_metastasis: data.lymph_node_metastasis,
        distant_metastasis: data.distant_metastasis,
        hepatic_vein_invasion: data.hepatic_vein_invasion.map(hepatic_vein),
        bile_duct_invasion: data.bile_duct_invasion,
        lobes: data.lobes.map(lobes),
        diffuse_type: data.diffuse_type,
        creatinine_umol_l_e3: thousandths(data.creatinine_umol_l),
        refractory_ascites: data.refractory_ascites,
        hepatorenal_syndrome: data.hepatorenal_syndrome,
        portal_flow: data.portal_flow.map(portal_flow),
        arterial_access_barrier: data.arterial_access_barrier,
        untreated_varices: data.untreated_varices,
        bile_duct_obstruction: data.bile_duct_obstruction,
        severe_comorbidity: data.severe_comorbidity,
        height_cm_e3: thousandths(data.height_cm),
        weight_kg_e3: thousandths(data.weight_kg),
    }
}

fn sex(sex: Sex) -> wire::Sex {
    match sex {
        Sex::Female => wire::Sex::Female,
        Sex::Male => wire::Sex::Male,
    }
}

fn ascites(ascites: Ascites) -> wire::Ascites {
    match ascites {
        Ascites::None => wire::Ascites::None,
        Ascites::Mild => wire::Ascites::Mild,
        Ascites::Moderate => wire::Ascites::Severe,
    }
}

fn encephalopathy(grade: Encephalopathy) -> wire::Encephalopathy {
    match grade {
        Encephalopathy::None => wire::Encephalopathy::None,
        Encephalopathy::Grade1To2 => wire::Encephalopathy::Mild,
        Encephalopathy::Grade3To4 => wire::Encephalopathy::Severe,
    }
}

fn pvtt(pvtt: Pvtt) -> wire::Pvtt {
    match pvtt {
        Pvtt::None => wire::Pvtt::None,
        Pvtt::Vp1 => wire::Pvtt::Vp1,
        Pvtt::Vp2 => wire::Pvtt::Vp2,
        Pvtt::Vp3 => wire::Pvtt::Vp3,
        Pvtt::Vp4 => wire::Pvtt::Vp4,
    }
}

fn hepatic_vein(class: HepaticVein) -> wire::HepaticVein {
    match class {
        HepaticVein::None => wire::HepaticVein::None,
        HepaticVein::Vv1 => wire::HepaticVein::Vv1,
        HepaticVein::Vv2 => wire::HepaticVein::Vv2,
        HepaticVein::Vv3 => wire::HepaticVein::Vv3,
    }
}

fn lobes(lobes: Lobes) -> wire::Lobes {
    match lobes {
        Lobes::One => wire::Lobes::One,
        Lobes::Both => wire::Lobes::Both,
        Lobes::BothReplaced => wire::Lobes::BothReplaced,
    }
}

fn portal_flow(flow: PortalFlow) -> wire::PortalFlow {
    match flow {
        PortalFlow::Hepatopetal => wire::PortalFlow::Hepatopetal,
        PortalFlow::Hepatofugal => wire::PortalFlow::Hepatofugal,
    }
}
