//! The tumour as every staging sees it: how many lesions, how large, and how far it grew. Lesion
//! count and diameter can come from `clinical.json` and from the image; which one is used is fixed
//! here and said in the result, and where the two contradict each other that is a finding. The nodules
//! of a diffuse tumour cannot be counted: it has no lesion count, whoever gives one.

use super::assessment::Measured;
use super::data::{ClinicalData, Field, HepaticVein, Pvtt};
use super::needs::{Inputs, any};
use super::nomogram::Source;
use crate::units::Millimetres;

/// Lesion count and largest diameter in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burden {
    /// The clinicians' count where there is one, else the image's: connected components undercount
    /// tumours that merged. `None` where the tumour is diffuse.
    pub count: Option<u32>,
    /// Where the count comes from.
    pub count_source: Source,
    /// The image's largest axial diameter where there is one, else the clinicians'.
    pub diameter: Option<Millimetres>,
    /// Where the diameter comes from.
    pub diameter_source: Source,
}

impl Burden {
    /// Chooses as the fields say.
    pub fn of(data: &ClinicalData, measured: &Measured) -> Self {
        let diffuse = data.diffuse_type == Some(true);
        let (count, count_source) = match (data.lesion_count, measured.lesion_count) {
            _ if diffuse => (None, Source::Missing),
            (Some(supplied), _) => (Some(supplied), Source::Supplied),
            (None, Some(measured)) => (Some(measured), Source::Measured),
            (None, None) => (None, Source::Missing),
        };
        let supplied = data.largest_diameter_mm.and_then(|mm| Millimetres::new(mm).ok());
        let (diameter, diameter_source) = match (measured.largest_diameter, supplied) {
            (Some(measured), _) => (Some(measured), Source::Measured),
            (None, Some(supplied)) => (Some(supplied), Source::Supplied),
            (None, None) => (None, Source::Missing),
        };
        Self { count, count_source, diameter, diameter_source }
    }

    /// Count and diameter in mm, noted where absent.
    pub(super) fn need(&self, inputs: &mut Inputs) -> Option<(u32, f64)> {
        let count = inputs.need(Field::LesionCount, self.count);
        let diameter = inputs.need(Field::LargestDiameterMm, self.diameter);
        Some((count?, diameter?.get()))
    }
}

/// Thrombus in a portal or hepatic vein that imaging shows, whatever its class: Vp1–Vp4, Vv1–Vv3.
/// Guidelines speak of macrovascular or portal invasion without a class; that the peripheral classes
/// Vp1 and Vv1 count is our reading.
pub(super) fn macrovascular_invasion(data: &ClinicalData, inputs: &mut Inputs) -> Option<bool> {
    inputs.need_any(&veins(data))
}

/// The same, or invasion of a bile duct.
pub(super) fn vessel_or_duct_invasion(data: &ClinicalData, inputs: &mut Inputs) -> Option<bool> {
    let [portal, hepatic] = veins(data);
    inputs.need_any(&[portal, hepatic, (Field::BileDuctInvasion, data.bile_duct_invasion)])
}

/// Whether there is a thrombus in a portal vein, and in a hepatic one.
fn veins(data: &ClinicalData) -> [(Field, Option<bool>); 2] {
    let portal = data.pvtt.map(|class| class != Pvtt::None);
    let hepatic = data.hepatic_vein_invasion.map(|class| class != HepaticVein::None);
    [(Field::Pvtt, portal), (Field::HepaticVeinInvasion, hepatic)]
}

/// Metastasis in nodes or beyond. `extrahepatic_spread` alone answers; without it, nodes and distant
/// metastases together do.
pub(super) fn extrahepatic_spread(data: &ClinicalData, inputs: &mut Inputs) -> Option<bool> {
    let apart = any([data.lymph_node_metastasis, data.distant_metastasis]);
    inputs.need(Field::ExtrahepaticSpread, data.extrahepatic_spread.or(apart))
}

/// N1. No spread at all is no node either.
pub(super) fn node_metastasis(data: &ClinicalData, inputs: &mut Inputs) -> Option<bool> {
    let none = (data.extrahepatic_spread == Some(false)).then_some(false);
    inputs.need(Field::LymphNodeMetastasis, data.lymph_node_metastasis.or(none))
}

/// M1. No spread at all is no distant metastasis either.
pub(super) fn distant_metastasis(data: &ClinicalData, inputs: &mut Inputs) -> Option<bool> {
    let none = (data.extrahepatic_spread == Some(false)).then_some(false);
    inputs.need(Field::DistantMetastasis, data.distant_metastasis.or(none))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clinical::NeedsInputs;

    fn image(mm: Option<f64>, count: Option<u32>) -> Measured {
        let largest_diameter = mm.and_then(|mm| Millimetres::new(mm).ok());
        Measured { largest_diameter, lesion_count: count, risk: None }
    }

    #[test]
    fn the_supplied_count_and_the_measured_diameter_are_used() {
        let data = ClinicalData {
            lesion_count: Some(3),
            largest_diameter_mm: Some(60.0),
            ..ClinicalData::absent()
        };
        let both = Burden::of(&data, &image(Some(70.0), Some(2)));
        assert_eq!((both.count, both.count_source), (Some(3), Source::Supplied));
        assert_eq!(both.diameter.map(Millimetres::get), Some(70.0));
        assert_eq!(both.diameter_source, Source::Measured);
        let supplied = Burden::of(&data, &image(None, None));
        assert_eq!(supplied.diameter.map(Millimetres::get), Some(60.0));
        assert_eq!(supplied.diameter_source, Source::Supplied);
        let seen = Burden::of(&ClinicalData::absent(), &image(Some(70.0), Some(2)));
        assert_eq!((seen.count, seen.count_source), (Some(2), Source::Measured));
        let nothing = Burden::of(&ClinicalData::absent(), &image(None, None));
        let missing = (nothing.count_source, nothing.diameter_source);
        assert_eq!(missing, (Source::Missing, Source::Missing));
    }

    #[test]
    fn a_diffuse_tumour_is_not_counted() {
        let data = ClinicalData {
            diffuse_type: Some(true),
            lesion_count: Some(3),
            ..ClinicalData::absent()
        };
        let diffuse = Burden::of(&data, &image(Some(70.0), Some(2)));
        assert_eq!((diffuse.count, diffuse.count_source), (None, Source::Missing));
        assert_eq!(diffuse.diameter.map(Millimetres::get), Some(70.0));
    }

    #[test]
    fn spread_nodes_and_distant_metastases_answer_for_each_other() {
        let case = |spread, node, distant| {
            let data = ClinicalData {
                extrahepatic_spread: spread,
                lymph_node_metastasis: node,
                distant_metastasis: distant,
                ..ClinicalData::absent()
            };
            let mut inputs = Inputs::default();
            let answers = [
                extrahepatic_spread(&data, &mut inputs),
                node_metastasis(&data, &mut inputs),
                distant_metastasis(&data, &mut inputs),
            ];
            (answers, inputs.lacking())
        };
        let (yes, no) = (Some(true), Some(false));
        let all = NeedsInputs(vec![
            Field::ExtrahepaticSpread,
            Field::LymphNodeMetastasis,
            Field::DistantMetastasis,
        ]);
        assert_eq!(case(None, None, None), ([None, None, None], all));
        assert_eq!(case(no, None, None), ([no, no, no], NeedsInputs(vec![])));
        assert_eq!(case(None, no, no), ([no, no, no], NeedsInputs(vec![])));
        let distant = NeedsInputs(vec![Field::DistantMetastasis]);
        assert_eq!(case(None, yes, None), ([yes, yes, None], distant));
        let apart = NeedsInputs(vec![Field::LymphNodeMetastasis, Field::DistantMetastasis]);
        assert_eq!(case(yes, None, None), ([yes, None, None], apart));
        let spread = NeedsInputs(vec![Field::ExtrahepaticSpread, Field::DistantMetastasis]);
        assert_eq!(case(None, no, None), ([None, no, None], spread));
    }
}
