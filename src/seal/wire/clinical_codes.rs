//! The codes of the clinical layer: stagings, contraindications, published doses and contradictions.
//! Their sentences carry the sources and what is uncertain, so that no reader of a message goes
//! without.

use super::codes::codes;

codes! {
    /// Hepatic vein tumour thrombus, Japanese Vv classification (LCSGJ).
    HepaticVein {
        None = 0, "none", "No hepatic vein tumour thrombus.";
        Vv1 = 1, "vv1", "In peripheral branches.";
        Vv2 = 2, "vv2", "In the right, middle or left hepatic vein.";
        Vv3 = 3, "vv3", "In the inferior vena cava.";
    }
}

codes! {
    /// Where in the liver the tumour lies.
    Lobes {
        One = 0, "one", "In one lobe.";
        Both = 1, "both", "In both lobes.";
        BothReplaced = 2, "both_replaced", "Massive replacement of both entire lobes.";
    }
}

codes! {
    /// Direction of the flow in the portal vein.
    PortalFlow {
        Hepatopetal = 0, "hepatopetal", "Towards the liver.";
        Hepatofugal = 1, "hepatofugal", "Away from the liver.";
    }
}

codes! {
    /// A side of a cut-off.
    Side {
        High = 0, "high", "At or above it.";
        Low = 1, "low", "At or below it.";
    }
}

codes! {
    /// A key of clinical.json that a score lacks.
    ClinicalField {
        AgeYears = 0, "age_years", "Age.";
        Sex = 1, "sex", "Sex.";
        Ecog = 2, "ecog", "ECOG performance status.";
        Hbv = 3, "hbv", "Hepatitis B.";
        AfpNgMl = 4, "afp_ng_ml", "Alpha-fetoprotein.";
        AstUL = 5, "ast_u_l", "AST.";
        BilirubinUmolL = 6, "bilirubin_umol_l", "Bilirubin.";
        AlbuminGL = 7, "albumin_g_l", "Albumin.";
        Inr = 8, "inr", "INR.";
        Ascites = 9, "ascites", "Ascites.";
        Encephalopathy = 10, "encephalopathy", "Encephalopathy.";
        Pvtt = 11, "pvtt", "Portal vein tumour thrombus.";
        ExtrahepaticSpread = 12, "extrahepatic_spread", "Extrahepatic spread.";
        PriorTherapy = 13, "prior_therapy", "Earlier treatment.";
        SecondMalignancy = 14, "second_malignancy", "Second malignancy.";
        DaysCtToTreatment = 15, "days_ct_to_treatment", "CT to treatment.";
        LesionCount = 16, "lesion_count", "Number of lesions.";
        LargestDiameterMm = 17, "largest_diameter_mm", "Largest axial diameter.";
        LymphNodeMetastasis = 18, "lymph_node_metastasis", "Lymph node metastasis.";
        DistantMetastasis = 19, "distant_metastasis", "Distant metastasis.";
        HepaticVeinInvasion = 20, "hepatic_vein_invasion", "Hepatic vein tumour thrombus.";
        BileDuctInvasion = 21, "bile_duct_invasion", "Bile duct invasion.";
        Lobes = 22, "lobes", "Lobes with tumour.";
        DiffuseType = 23, "diffuse_type", "Diffuse or infiltrative type.";
        CreatinineUmolL = 24, "creatinine_umol_l", "Creatinine.";
        RefractoryAscites = 25, "refractory_ascites", "Refractory ascites.";
        HepatorenalSyndrome = 26, "hepatorenal_syndrome", "Hepatorenal syndrome.";
        PortalFlow = 27, "portal_flow", "Flow in the portal vein.";
        ArterialAccessBarrier = 28, "arterial_access_barrier", "Barrier to arterial access.";
        UntreatedVarices = 29, "untreated_varices", "Untreated high-risk varices.";
        BileDuctObstruction = 30, "bile_duct_obstruction", "Bile duct obstruction.";
        SevereComorbidity = 31, "severe_comorbidity", "Severe comorbidity.";
        HeightCm = 32, "height_cm", "Height.";
        WeightKg = 33, "weight_kg", "Weight.";
    }
}

codes! {
    /// A staging or tumour-burden score; none takes part in the recommendation.
    StagingSystem {
        ModifiedAlbi = 0, "malbi", "Modified ALBI grade. The limit -2.27 between 2a and 2b was not found printed in a source at hand.";
        Bclc = 1, "bclc_2022", "BCLC 2022. Limits of 2 and 3 cm count as within; any Vp or Vv class counts as invasion; Child-Pugh B counts as preserved function; transplantability and the cause of an ECOG of 1 or 2 are not asked.";
        Easl = 2, "easl_2018", "EASL 2018. A modified BCLC; the figure was not at hand: that its limits themselves are excluded is from memory, and Child-Pugh B counts as preserved although the figure reads A without ascites; any Vp or Vv class and an ECOG of 1 or 2 count as stage C; what Cao 2025 calls EASL is not known.";
        Cnlc = 3, "cnlc", "CNLC. Read in a secondary copy of the guideline; the limits themselves count as within; any Vp or Vv class counts as macrovascular invasion.";
        Lcsgj = 4, "jsh_lcsgj", "JSH. LCSGJ TNM; whether Cao 2025 means it or the JSH treatment algorithm is not known.";
        Hklc = 5, "hklc", "HKLC. UNVERIFIED: the tree of stages I to IIIb and V was not found in a source at hand.";
        SixAndTwelve = 6, "six_and_twelve", "Six-and-twelve. Made for candidates of TACE without vascular invasion or extrahepatic spread.";
        UpToSeven = 7, "up_to_seven", "Up-to-seven. Published for transplantation without microvascular invasion, which is not checked.";
    }
}

codes! {
    /// A stage; the number is 16 times the number of its system and more.
    Stage {
        Malbi1 = 0, "malbi_1", "mALBI grade 1.";
        Malbi2a = 1, "malbi_2a", "mALBI grade 2a.";
        Malbi2b = 2, "malbi_2b", "mALBI grade 2b.";
        Malbi3 = 3, "malbi_3", "mALBI grade 3.";
        Bclc0 = 16, "bclc_0", "BCLC stage 0.";
        BclcA = 17, "bclc_a", "BCLC stage A.";
        BclcB = 18, "bclc_b", "BCLC stage B.";
        BclcC = 19, "bclc_c", "BCLC stage C.";
        BclcD = 20, "bclc_d", "BCLC stage D.";
        Easl0 = 32, "easl_0", "EASL stage 0.";
        EaslA = 33, "easl_a", "EASL stage A.";
        EaslB = 34, "easl_b", "EASL stage B.";
        EaslC = 35, "easl_c", "EASL stage C.";
        EaslD = 36, "easl_d", "EASL stage D.";
        CnlcIa = 48, "cnlc_ia", "CNLC stage Ia.";
        CnlcIb = 49, "cnlc_ib", "CNLC stage Ib.";
        CnlcIIa = 50, "cnlc_iia", "CNLC stage IIa.";
        CnlcIIb = 51, "cnlc_iib", "CNLC stage IIb.";
        CnlcIIIa = 52, "cnlc_iiia", "CNLC stage IIIa.";
        CnlcIIIb = 53, "cnlc_iiib", "CNLC stage IIIb.";
        CnlcIV = 54, "cnlc_iv", "CNLC stage IV.";
        LcsgjI = 64, "lcsgj_i", "LCSGJ stage I.";
        LcsgjII = 65, "lcsgj_ii", "LCSGJ stage II.";
        LcsgjIII = 66, "lcsgj_iii", "LCSGJ stage III.";
        LcsgjIVa = 67, "lcsgj_iva", "LCSGJ stage IVA.";
        LcsgjIVb = 68, "lcsgj_ivb", "LCSGJ stage IVB.";
        HklcI = 80, "hklc_i", "HKLC stage I.";
        HklcIIa = 81, "hklc_iia", "HKLC stage IIa.";
        HklcIIb = 82, "hklc_iib", "HKLC stage IIb.";
        HklcIIIa = 83, "hklc_iiia", "HKLC stage IIIa.";
        HklcIIIb = 84, "hklc_iiib", "HKLC stage IIIb.";
        HklcIVa = 85, "hklc_iva", "HKLC stage IVa.";
        HklcIVb = 86, "hklc_ivb", "HKLC stage IVb.";
        HklcVa = 87, "hklc_va", "HKLC stage Va.";
        HklcVb = 88, "hklc_vb", "HKLC stage Vb.";
        AtMost6 = 96, "at_most_6", "Sum at most 6.";
        Above6To12 = 97, "above_6_to_12", "Sum above 6, at most 12.";
        Above12 = 98, "above_12", "Sum above 12.";
        Within7 = 112, "within_7", "Within up-to-seven.";
        Beyond7 = 113, "beyond_7", "Beyond up-to-seven.";
    }
}

codes! {
    /// A published contraindication to TACE (World J Hepatol 2015;7:2009; commonwealthradiologyassociates.com/?p=8564). 0-7 absolute, 8 disputed, 9-12 relative.
    Contraindication {
        Decompensation = 0, "decompensation", "Absolute: decompensated cirrhosis, Child-Pugh 8 points or more (one source: above 8).";
        Jaundice = 1, "jaundice", "Absolute: jaundice, read as bilirubin above 3 mg/dL (the source names no number).";
        Encephalopathy = 2, "encephalopathy", "Absolute: hepatic encephalopathy.";
        RefractoryAscites = 3, "refractory_ascites", "Absolute: refractory ascites.";
        HepatorenalSyndrome = 4, "hepatorenal_syndrome", "Absolute: hepatorenal syndrome.";
        BothLobesReplaced = 5, "both_lobes_replaced", "Absolute: massive replacement of both entire lobes.";
        PortalFlow = 6, "portal_flow", "Absolute: thrombus in the main portal trunk (Vp4) or hepatofugal flow.";
        ArterialAccess = 7, "arterial_access", "Absolute: technical barrier to treatment through the hepatic artery.";
        RenalFailure = 8, "renal_failure", "Absolute in one source, relative in the other: renal failure, creatinine of 2 mg/dL or more.";
        LargeTumour = 9, "large_tumour", "Relative: largest diameter of 10 cm or more (one source: above 10 cm).";
        UntreatedVarices = 10, "untreated_varices", "Relative: untreated varices at high risk of bleeding.";
        BileDuctObstruction = 11, "bile_duct_obstruction", "Relative: occluded bile duct or incompetent papilla.";
        SevereComorbidity = 12, "severe_comorbidity", "Relative: severe comorbidity.";
    }
}

codes! {
    /// A published dose: reference, never an order.
    DoseItem {
        Oxaliplatin85 = 0, "oxaliplatin_85", "HAIC: oxaliplatin, mg/m² (Cao 2025; He 2017).";
        Oxaliplatin130 = 1, "oxaliplatin_130", "HAIC: oxaliplatin, mg/m² (Cao 2025; Li 2022).";
        Leucovorin200 = 2, "leucovorin_200", "HAIC: leucovorin, mg/m² (Cao 2025, citing a trial that gave 400).";
        Leucovorin400 = 3, "leucovorin_400", "HAIC: leucovorin, mg/m² (Li 2022; He 2017).";
        FluorouracilBolus = 4, "fluorouracil_bolus", "HAIC: fluorouracil bolus, mg/m² (Cao 2025; Li 2022; He 2017).";
        FluorouracilInfusion = 5, "fluorouracil_infusion", "HAIC: fluorouracil over 23 or 46 h (Cao 2025) or 24 h (Li 2022), mg/m².";
        Lipiodol = 6, "lipiodol", "TACE: iodised oil, mL (Cao 2025).";
        Platinum = 7, "platinum", "TACE: platinum, mg (Cao 2025).";
        Epirubicin = 8, "epirubicin", "TACE: epirubicin, mg (Cao 2025).";
    }
}

codes! {
    /// What puts a value in doubt: it contradicts the image or may be in another unit. All the values are in the message.
    ClinicalFinding {
        LesionCountDiffers = 0, "lesion_count_differs", "The supplied lesion count differs from the image's; stagings and nomograms use the supplied one.";
        DiameterDiffers = 1, "diameter_differs", "The supplied largest diameter differs from the image's; the image's is used.";
        BilirubinUnit = 2, "bilirubin_unit", "The supplied bilirubin is below 6 µmol/L: is it in mg/dL? Correct it, or confirm it with the laboratory.";
    }
}

impl Contraindication {
    /// Absolute in every source that has it: the numbers 0 to 7.
    pub fn is_absolute(self) -> bool {
        self <= Self::ArterialAccess
    }

    /// The sentence without its weight and without its full stop.
    pub fn bare(self) -> &'static str {
        let sentence = self.sentence();
        let (_, words) = sentence.split_once(": ").unwrap_or(("", sentence));
        words.trim_end_matches('.')
    }
}

impl StagingSystem {
    /// The name: what stands before the first full stop of the sentence.
    pub fn title(self) -> &'static str {
        self.sentence().split_once(". ").map_or(self.sentence(), |(name, _)| name)
    }

    /// What is uncertain about the rule: the rest of the sentence.
    pub fn caveat(self) -> &'static str {
        self.sentence().split_once(". ").map_or("", |(_, caveat)| caveat)
    }
}

impl Stage {
    /// Whether the stage is one of that system.
    pub fn belongs_to(self, system: StagingSystem) -> bool {
        self.code() / STAGES_PER_SYSTEM == system.code()
    }
}

/// Numbers reserved for the stages of one system.
const STAGES_PER_SYSTEM: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_has_stages_and_every_stage_one_system() {
        for system in StagingSystem::ALL {
            let stages = Stage::ALL.iter().filter(|stage| stage.belongs_to(*system)).count();
            assert!((2..=16).contains(&stages), "{system:?}");
        }
        for stage in Stage::ALL {
            let owners = StagingSystem::ALL.iter().filter(|system| stage.belongs_to(**system));
            assert_eq!(owners.count(), 1, "{stage:?}");
        }
    }
}
