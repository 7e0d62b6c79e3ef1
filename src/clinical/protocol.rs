//! The published doses of FOLFOX-HAIC and TACE as a reference card: what the papers gave, and for a
//! body surface the total. **Reference, never an order**: nothing here looks at the patient's liver,
//! blood count or earlier cycles, and the card stands beside the result, not in the recommendation.

use super::data::{ClinicalData, Field};
use super::needs::{Inputs, NeedsInputs};

/// How often and how: Cao 2025; Li et al., phase III, J Clin Oncol 2022;40:150.
pub const SCHEDULE: &str = "HAIC every 3 weeks, until progression or intolerance (Cao 2025) or at most \
                            6 cycles (Li 2022); TACE superselective, gelatin sponge if needed (Cao 2025).";

/// One published dose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dose {
    /// HAIC: Cao 2025; He et al., phase II, 2017.
    Oxaliplatin85,
    /// HAIC: Cao 2025; Li et al., phase III, J Clin Oncol 2022;40:150.
    Oxaliplatin130,
    /// HAIC: Cao 2025, which cites Li 2022, where it is 400.
    Leucovorin200,
    /// HAIC: Li 2022 and He 2017.
    Leucovorin400,
    /// HAIC: 5-fluorouracil, bolus: all three.
    FluorouracilBolus,
    /// HAIC: 5-fluorouracil over 23 or 46 h (Cao 2025) or 24 h (Li 2022).
    FluorouracilInfusion,
    /// TACE: iodised oil, mL: Cao 2025.
    Lipiodol,
    /// TACE: platinum, mg: Cao 2025.
    Platinum,
    /// TACE: epirubicin, mg: Cao 2025.
    Epirubicin,
}

impl Dose {
    /// Every dose.
    pub const ALL: [Self; 9] = [
        Self::Oxaliplatin85,
        Self::Oxaliplatin130,
        Self::Leucovorin200,
        Self::Leucovorin400,
        Self::FluorouracilBolus,
        Self::FluorouracilInfusion,
        Self::Lipiodol,
        Self::Platinum,
        Self::Epirubicin,
    ];

    /// Lowest and highest published amount, in [`Dose::unit`].
    pub fn range(self) -> (u32, u32) {
        match self {
            Self::Oxaliplatin85 => (85, 85),
            Self::Oxaliplatin130 => (130, 130),
            Self::Leucovorin200 => (200, 200),
            Self::Leucovorin400 | Self::FluorouracilBolus => (400, 400),
            Self::FluorouracilInfusion => (2400, 2400),
            Self::Lipiodol => (10, 20),
            Self::Platinum => (30, 50),
            Self::Epirubicin => (20, 40),
        }
    }

    /// The unit of [`Dose::range`].
    pub fn unit(self) -> Unit {
        match self {
            Self::Oxaliplatin85
            | Self::Oxaliplatin130
            | Self::Leucovorin200
            | Self::Leucovorin400
            | Self::FluorouracilBolus
            | Self::FluorouracilInfusion => Unit::MilligramPerSquareMetre,
            Self::Lipiodol => Unit::Millilitre,
            Self::Platinum | Self::Epirubicin => Unit::Milligram,
        }
    }

    /// Dose × body surface in mg, for the doses that are given per m².
    pub fn total_mg(self, surface_m2: f64) -> Option<f64> {
        let per_m2 = f64::from(self.range().0);
        (self.unit() == Unit::MilligramPerSquareMetre).then_some(per_m2 * surface_m2)
    }
}

/// The unit of a dose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// mg/m²
    MilligramPerSquareMetre,
    /// mg
    Milligram,
    /// mL
    Millilitre,
}

/// Body surface in m² from height (cm) and weight (kg): √(height · weight / 3600), Mosteller, N Engl J
/// Med 1987;317:1098.
pub fn body_surface_m2(data: &ClinicalData) -> Result<f64, NeedsInputs> {
    let mut inputs = Inputs::default();
    let height = inputs.need(Field::HeightCm, data.height_cm);
    let weight = inputs.need(Field::WeightKg, data.weight_kg);
    match (height, weight) {
        (Some(height), Some(weight)) => Ok((height * weight / 3600.0).sqrt()),
        _ => Err(inputs.lacking()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surface(height: Option<f64>, weight: Option<f64>) -> Result<f64, NeedsInputs> {
        let data = ClinicalData { height_cm: height, weight_kg: weight, ..ClinicalData::absent() };
        body_surface_m2(&data)
    }

    /// 175 cm and 70 kg: 1.845 m² (omnicalc-8ti.pages.dev/health/body-surface-area-calculator); 170 cm
    /// and 70 kg: 1.82 m² (droracle.ai/articles/675301); 180 cm and 80 kg: √4 = 2 by hand.
    #[test]
    fn body_surface_worked_examples() {
        for (height, weight, expected, tolerance) in
            [(175.0, 70.0, 1.845, 5e-4), (170.0, 70.0, 1.82, 5e-3), (180.0, 80.0, 2.0, 1e-12)]
        {
            let found = surface(Some(height), Some(weight)).unwrap();
            assert!((found - expected).abs() < tolerance, "{height} {weight}: {found}");
        }
        assert_eq!(
            surface(Some(175.0), None).unwrap_err().to_string(),
            "not computable: needs weight_kg"
        );
        assert_eq!(surface(None, None).unwrap_err().0.len(), 2);
    }

    /// Reference notes, sections 1.3 and 3.10: 85/130, 200 and 400, 400, 2400 mg/m²; totals by hand
    /// for 2 m².
    #[test]
    fn totals_for_a_body_surface() {
        let totals = Dose::ALL.map(|dose| dose.total_mg(2.0));
        let expected = [170.0, 260.0, 400.0, 800.0, 800.0, 4800.0].map(Some);
        assert_eq!(totals[..6], expected);
        assert_eq!(totals[6..], [None; 3]);
        assert_eq!(Dose::Lipiodol.range(), (10, 20));
        assert_eq!(Dose::Platinum.range(), (30, 50));
        assert_eq!(Dose::Epirubicin.range(), (20, 40));
    }
}
