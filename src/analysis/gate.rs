//! Is this really a two-phase liver CT? Reasons, not guesses: every quantity is measured, kept with
//! what is accepted, and refused by name. Limits are this product's choices unless a source stands
//! beside them.

use ndarray::{Axis, Zip, s};

use super::decode::limits::LOWEST_HU;
use super::decode::{ImageName, Intake};
use super::enhancement::{self, Aorta, Enhancement};
use super::lesions::Lesions;
use super::pmn::Risk;
use super::registration::Alignment;
use super::volume::resample::{OntoGrid, coverage, inside};
use super::volume::{BACKGROUND, Geometry, HuVolume, Mask, VoxelBox};

/// Why the gate refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateReason {
    /// The phases lie on different parts of the body, or the arterial one misses liver.
    PhasesDoNotMatch,
    /// Both phases are the same image, or their contrast does not tell them apart.
    PhaseUnclear,
    /// A phase, or both, shows no contrast medium.
    NotContrastEnhanced,
    /// The aorta is brighter in the portal venous image than in the arterial one.
    PhasesSwapped,
    /// Too little of the image has the density of soft tissue.
    ImplausibleHu,
    /// No liver of a usable size.
    NoLiver,
    /// The liver goes on beyond the first or last slice.
    LiverCutOff,
    /// No tumour of a listed size.
    NoTumour,
    /// Voxels too long for the networks.
    SpacingNotSupported,
    /// The liver lies too far off in the arterial phase, or does not look like the same liver there.
    PhasesNotAligned,
    /// Much of what was called tumour lies outside the liver.
    LesionsOutsideLiver,
    /// The tumour is like none that the classifier was trained on.
    OutOfDistribution,
}

/// A quantity the gate measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Distance of slices.
    SliceSpacing(ImageName),
    /// The longer side of a voxel within its slice.
    InPlaneSpacing(ImageName),
    /// Largest angle between the grid and the patient's axes; reported only.
    Obliquity(ImageName),
    /// Voxels clipped at −1024 or 3071 HU; reported only, because padding is common.
    Clipped(ImageName),
    /// Voxels of −200..=300 HU.
    SoftTissue(ImageName),
    /// Voxels below −800 HU.
    Air(ImageName),
    /// The larger of the parts of one phase's field of view that the other covers.
    PhaseOverlap,
    /// Correlation of the phases round the liver, where they lie best on each other.
    PhaseSimilarity,
    /// How far the liver lies off in the arterial phase.
    PhaseShift,
    /// The part of that towards the patient's right; reported only.
    ShiftRight,
    /// Towards anterior; reported only.
    ShiftAnterior,
    /// Towards superior; reported only.
    ShiftSuperior,
    /// Mean absolute difference of the phases over soft tissue, the shift corrected.
    PhaseDifference,
    /// Liver including tumour.
    LiverVolume,
    /// Liver in the first (most inferior) slice.
    LiverInFirstSlice,
    /// Liver in the last (most superior) slice.
    LiverInLastSlice,
    /// Liver at the sides of the field of view, or against padding beside it.
    LiverAtSides,
    /// The part of what was called tumour that lay outside the liver and was left out.
    TumourOutside,
    /// Liver voxels within the arterial field of view.
    LiverCovered,
    /// Mean HU of liver without tumour; reported only.
    LiverHu(ImageName),
    /// 99.9th percentile of HU within the middle third, below 700 HU: contrast in the great
    /// vessels, for a reader to judge the timing by; reported only.
    VesselHu(ImageName),
    /// Mean HU of the aorta at the height of the liver; reported, and judged together with the liver
    /// by [`enhancement`].
    AortaHu(ImageName),
    /// Lesions of at least the listed size.
    LesionCount,
    /// Squared distance of the tumour from the nearest prototype; measured where the classifier's
    /// package states a limit.
    PrototypeDistance,
}

/// One measured value and the range accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measurement {
    /// What was measured.
    pub quantity: Quantity,
    /// The value, in [`Quantity::unit`].
    pub value: f64,
    /// Lowest and highest value accepted; `None` when the value is reported only.
    pub accepted: Option<(f64, f64)>,
}

/// What the gate measured, in the order measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GateReport {
    /// Each quantity at most once.
    pub measurements: Vec<Measurement>,
    /// What the contrast in aorta and liver together says against the phases.
    pub against_phases: Option<GateReason>,
}

/// Slice distance up to which the networks are used, millimetres: thick abdominal series have 8 mm.
pub const MOST_SLICE_SPACING_MM: f64 = 10.0;
/// In-plane voxel size up to which the networks are used, millimetres.
pub const MOST_IN_PLANE_SPACING_MM: f64 = 4.0;
/// Least part of an image that is soft tissue, percent. An abdomen fills a fifth of its field of
/// view and more; noise and phantoms of water and air do not reach this.
pub const LEAST_SOFT_TISSUE_PERCENT: f64 = 3.0;
/// Least part of an image that is air, percent: lung and what surrounds a patient. Values that are half
/// of Hounsfield units have none.
pub const LEAST_AIR_PERCENT: f64 = 0.5;
/// Below this is air, lung included.
pub const AIR_HU: i16 = -800;
/// Least correlation of the phases round the liver.
pub const LEAST_PHASE_SIMILARITY: f64 = 0.4;
/// Most shift of the liver that is corrected, millimetres. A quiet breath moves a liver by 10 to 20 mm;
/// a liver further off is bent as well, which no shift mends.
pub const MOST_PHASE_SHIFT_MM: f64 = 20.0;
/// Least shift that is corrected, millimetres: less is below a voxel, and interpolation blurs.
pub const LEAST_CORRECTED_MM: f64 = 0.5;
/// Most of the tumour that may lie outside the liver, percent.
pub const MOST_TUMOUR_OUTSIDE_PERCENT: f64 = 50.0;
/// Least overlap of the phases, percent of the smaller field of view: an arterial series of the
/// upper abdomen beside a portal series down to the pelvis is usual.
pub const LEAST_PHASE_OVERLAP_PERCENT: f64 = 50.0;
/// Least mean difference of two phases, HU: two scans differ by noise alone by several HU, the same
/// scan sent twice by nothing.
pub const LEAST_PHASE_DIFFERENCE_HU: f64 = 0.5;
/// Least liver volume, millilitres: below the remnants that extended hepatectomy leaves.
pub const LEAST_LIVER_ML: f64 = 300.0;
/// Most liver in the first or last slice, or at the sides, square centimetres: a grazed dome, not a cut.
pub const MOST_LIVER_CUT_CM2: f64 = 20.0;
/// Least part of the liver within the arterial field of view, percent.
pub const LEAST_LIVER_COVERED_PERCENT: f64 = 99.0;
/// HU of soft tissue, enhanced or not, and fat's upper half.
pub const SOFT_TISSUE_HU: std::ops::RangeInclusive<i16> = -200..=300;
/// Contrast in vessels stays below this; above are bone and metal.
const MOST_VESSEL_HU: i16 = 700;

impl Quantity {
    /// Name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::SliceSpacing(_) => "slice spacing",
            Self::InPlaneSpacing(_) => "in-plane spacing",
            Self::Obliquity(_) => "obliquity",
            Self::Clipped(_) => "clipped voxels",
            Self::SoftTissue(_) => "soft tissue",
            Self::Air(_) => "air",
            Self::PhaseOverlap => "overlap of the phases",
            Self::PhaseSimilarity => "correlation of the phases",
            Self::PhaseShift => "shift of the liver between the phases",
            Self::ShiftRight => "shift to the right",
            Self::ShiftAnterior => "shift to anterior",
            Self::ShiftSuperior => "shift to superior",
            Self::PhaseDifference => "mean difference of the phases",
            Self::LiverVolume => "liver volume",
            Self::LiverInFirstSlice => "liver in the lowest slice",
            Self::LiverInLastSlice => "liver in the highest slice",
            Self::LiverAtSides => "liver at the sides",
            Self::TumourOutside => "tumour outside the liver",
            Self::LiverCovered => "liver within the arterial image",
            Self::LiverHu(_) => "mean liver density",
            Self::VesselHu(_) => "brightest vessels",
            Self::AortaHu(_) => "mean aortic density",
            Self::LesionCount => "lesions",
            Self::PrototypeDistance => "distance from the nearest prototype",
        }
    }

    /// The image measured, when it is one of two.
    pub fn image(self) -> Option<ImageName> {
        match self {
            Self::SliceSpacing(image)
            | Self::InPlaneSpacing(image)
            | Self::Obliquity(image)
            | Self::Clipped(image)
            | Self::SoftTissue(image)
            | Self::Air(image)
            | Self::LiverHu(image)
            | Self::VesselHu(image)
            | Self::AortaHu(image) => Some(image),
            Self::PhaseOverlap
            | Self::PhaseSimilarity
            | Self::PhaseShift
            | Self::ShiftRight
            | Self::ShiftAnterior
            | Self::ShiftSuperior
            | Self::PhaseDifference
            | Self::LiverVolume
            | Self::LiverInFirstSlice
            | Self::LiverInLastSlice
            | Self::LiverAtSides
            | Self::TumourOutside
            | Self::LiverCovered
            | Self::LesionCount
            | Self::PrototypeDistance => None,
        }
    }

    /// Unit of the value.
    pub fn unit(self) -> &'static str {
        match self {
            Self::SliceSpacing(_)
            | Self::InPlaneSpacing(_)
            | Self::PhaseShift
            | Self::ShiftRight
            | Self::ShiftAnterior
            | Self::ShiftSuperior => "mm",
            Self::Obliquity(_) => "degrees",
            Self::Clipped(_)
            | Self::SoftTissue(_)
            | Self::Air(_)
            | Self::PhaseOverlap
            | Self::TumourOutside
            | Self::LiverCovered => "%",
            Self::PhaseDifference | Self::LiverHu(_) | Self::VesselHu(_) | Self::AortaHu(_) => "HU",
            Self::LiverVolume => "ml",
            Self::LiverInFirstSlice | Self::LiverInLastSlice | Self::LiverAtSides => "cm2",
            Self::PhaseSimilarity | Self::LesionCount | Self::PrototypeDistance => "",
        }
    }

    /// What is accepted.
    fn accepted(self) -> Option<(f64, f64)> {
        let at_least = |low| Some((low, f64::INFINITY));
        let at_most = |high| Some((0.0, high));
        match self {
            Self::SliceSpacing(_) => at_most(MOST_SLICE_SPACING_MM),
            Self::InPlaneSpacing(_) => at_most(MOST_IN_PLANE_SPACING_MM),
            Self::SoftTissue(_) => at_least(LEAST_SOFT_TISSUE_PERCENT),
            Self::Air(_) => at_least(LEAST_AIR_PERCENT),
            Self::PhaseOverlap => at_least(LEAST_PHASE_OVERLAP_PERCENT),
            Self::PhaseSimilarity => at_least(LEAST_PHASE_SIMILARITY),
            Self::PhaseShift => at_most(MOST_PHASE_SHIFT_MM),
            Self::PhaseDifference => at_least(LEAST_PHASE_DIFFERENCE_HU),
            Self::LiverVolume => at_least(LEAST_LIVER_ML),
            Self::LiverInFirstSlice | Self::LiverInLastSlice | Self::LiverAtSides => {
                at_most(MOST_LIVER_CUT_CM2)
            }
            Self::TumourOutside => at_most(MOST_TUMOUR_OUTSIDE_PERCENT),
            Self::LiverCovered => at_least(LEAST_LIVER_COVERED_PERCENT),
            Self::LesionCount => at_least(1.0),
            // The limit of a prototype distance is the package's.
            Self::PrototypeDistance
            | Self::Obliquity(_)
            | Self::Clipped(_)
            | Self::ShiftRight
            | Self::ShiftAnterior
            | Self::ShiftSuperior
            | Self::LiverHu(_)
            | Self::VesselHu(_)
            | Self::AortaHu(_) => None,
        }
    }

    /// What a refusal is called; `None` for quantities that are reported only.
    fn reason(self) -> Option<GateReason> {
        match self {
            Self::SliceSpacing(_) | Self::InPlaneSpacing(_) => {
                Some(GateReason::SpacingNotSupported)
            }
            Self::SoftTissue(_) | Self::Air(_) => Some(GateReason::ImplausibleHu),
            Self::PhaseOverlap | Self::LiverCovered => Some(GateReason::PhasesDoNotMatch),
            Self::PhaseSimilarity | Self::PhaseShift => Some(GateReason::PhasesNotAligned),
            Self::PhaseDifference => Some(GateReason::PhaseUnclear),
            Self::LiverVolume => Some(GateReason::NoLiver),
            Self::LiverInFirstSlice | Self::LiverInLastSlice | Self::LiverAtSides => {
                Some(GateReason::LiverCutOff)
            }
            Self::TumourOutside => Some(GateReason::LesionsOutsideLiver),
            Self::LesionCount => Some(GateReason::NoTumour),
            Self::PrototypeDistance => Some(GateReason::OutOfDistribution),
            Self::Obliquity(_)
            | Self::Clipped(_)
            | Self::ShiftRight
            | Self::ShiftAnterior
            | Self::ShiftSuperior
            | Self::LiverHu(_)
            | Self::VesselHu(_)
            | Self::AortaHu(_) => None,
        }
    }
}

impl Measurement {
    /// True when the value is reported only or lies in the range.
    pub fn passed(&self) -> bool {
        self.accepted.is_none_or(|(low, high)| (low..=high).contains(&self.value))
    }
}

impl GateReport {
    /// The value of a quantity, when it was measured.
    pub fn get(&self, quantity: Quantity) -> Option<f64> {
        self.measurements.iter().find(|m| m.quantity == quantity).map(|m| m.value)
    }

    /// Why the gate refuses, in the order measured, each reason once. A missing phase is no
    /// measurement: [`phases`](super::phases) names it.
    pub fn reasons(&self) -> Vec<GateReason> {
        let mut reasons = Vec::new();
        for measurement in self.measurements.iter().filter(|m| !m.passed()) {
            if let Some(reason) = measurement.quantity.reason()
                && !reasons.contains(&reason)
            {
                reasons.push(reason);
            }
        }
        reasons.extend(self.against_phases.filter(|reason| !reasons.contains(reason)));
        reasons
    }

    /// True when nothing measured on this image alone speaks against using it.
    pub fn admits(&self, image: ImageName) -> bool {
        self.measurements.iter().all(|m| m.quantity.image() != Some(image) || m.passed())
    }

    /// Measures one image by itself.
    pub fn add_image(&mut self, image: ImageName, volume: &HuVolume, intake: &Intake) {
        let [z, y, x] = volume.geometry.spacing.zyx();
        self.add(Quantity::SliceSpacing(image), z);
        self.add(Quantity::InPlaneSpacing(image), y.max(x));
        self.add(Quantity::Obliquity(image), volume.geometry.obliquity_degrees());
        let clipped = intake.clipped_low + intake.clipped_high;
        let voxels = volume.hu.len() as f64;
        self.add(Quantity::Clipped(image), 100.0 * clipped as f64 / voxels);
        let (mut soft, mut air) = (0u64, 0u64);
        for hu in &volume.hu {
            soft += u64::from(SOFT_TISSUE_HU.contains(hu));
            air += u64::from(*hu < AIR_HU);
        }
        self.add(Quantity::SoftTissue(image), 100.0 * soft as f64 / voxels);
        self.add(Quantity::Air(image), 100.0 * air as f64 / voxels);
        if let Some(hu) = vessel_hu(volume) {
            self.add(Quantity::VesselHu(image), f64::from(hu));
        }
    }

    /// Measures how the grids of the two phases lie to each other, as their files say.
    pub fn add_overlap(&mut self, portal: &Geometry, arterial: &Geometry) {
        let overlap = coverage(portal, arterial).max(coverage(arterial, portal));
        self.add(Quantity::PhaseOverlap, 100.0 * overlap);
    }

    /// True when the phases show one place of the body and a liver is there to compare.
    pub fn can_be_aligned(&self) -> bool {
        let holds = |quantity: Quantity| {
            let mut measured = self.measurements.iter().filter(|m| m.quantity == quantity);
            measured.any(Measurement::passed)
        };
        holds(Quantity::PhaseOverlap) && holds(Quantity::LiverVolume)
    }

    /// Judges where the arterial phase lies, and returns by how much it is to be moved to lie on the
    /// portal venous one, RAS+ millimetres `[x, y, z]`; nothing where that is refused.
    pub fn add_alignment(&mut self, alignment: &Alignment) -> [f64; 3] {
        self.add(Quantity::PhaseSimilarity, alignment.similarity);
        self.add(Quantity::PhaseShift, alignment.distance_mm());
        let along = [Quantity::ShiftRight, Quantity::ShiftAnterior, Quantity::ShiftSuperior];
        for (quantity, mm) in along.into_iter().zip(alignment.shift_mm) {
            self.add(quantity, mm);
        }
        let corrected = (LEAST_CORRECTED_MM..=MOST_PHASE_SHIFT_MM)
            .contains(&alignment.distance_mm())
            && alignment.similarity >= LEAST_PHASE_SIMILARITY;
        alignment.shift_mm.map(|mm| if corrected { -mm } else { 0.0 })
    }

    /// Notes that the liver of the arterial phase could not be compared, where nothing else says why.
    pub fn add_no_alignment(&mut self) {
        let covered = |m: &Measurement| m.quantity == Quantity::LiverCovered && !m.passed();
        if !self.measurements.iter().any(covered) {
            self.add(Quantity::PhaseSimilarity, 0.0);
        }
    }

    /// Measures whether the two phases differ. `arterial` is on the portal grid.
    pub fn add_difference(&mut self, portal: &HuVolume, arterial: &OntoGrid) {
        let (mut voxels, mut difference) = (0u64, 0u64);
        Zip::from(&portal.hu).and(&arterial.volume.hu).for_each(|portal, arterial| {
            if SOFT_TISSUE_HU.contains(portal) && SOFT_TISSUE_HU.contains(arterial) {
                voxels += 1;
                difference += u64::from(portal.abs_diff(*arterial));
            }
        });
        if voxels > 0 {
            self.add(Quantity::PhaseDifference, difference as f64 / voxels as f64);
        }
    }

    /// Measures how far the tumour is from what the classifier knows, where its package says how far
    /// it may be. True when it is not further.
    pub fn admits_distances(&mut self, risk: &Risk) -> bool {
        let Some(limit) = risk.most_distance else { return true };
        let quantity = Quantity::PrototypeDistance;
        let value = f64::from(risk.nearest());
        let measured = Measurement { quantity, value, accepted: Some((0.0, limit)) };
        self.measurements.push(measured);
        measured.passed()
    }

    /// Measures the segmented liver; `lesions` were measured on the same mask, from which
    /// `outside_mm3` of tumour outside the liver were taken.
    pub fn add_liver(
        &mut self,
        portal: &HuVolume,
        mask: &Mask,
        lesions: &Lesions,
        outside_mm3: f64,
    ) {
        let liver_ml = lesions.liver_mm3 / 1000.0;
        self.add(Quantity::LiverVolume, liver_ml);
        if liver_ml < LEAST_LIVER_ML {
            // No liver: what else could be said of it would only hide that.
            return;
        }
        self.add(Quantity::LiverInFirstSlice, slice_area_cm2(mask, &portal.geometry, 0));
        let last = portal.geometry.shape[0] - 1;
        self.add(Quantity::LiverInLastSlice, slice_area_cm2(mask, &portal.geometry, last));
        self.add(Quantity::LiverAtSides, side_area_cm2(portal, mask));
        let tumour_mm3 = lesions.tumour_mm3 + outside_mm3;
        if tumour_mm3 > 0.0 {
            self.add(Quantity::TumourOutside, 100.0 * outside_mm3 / tumour_mm3);
        }
        self.add(Quantity::LesionCount, lesions.count as f64);
        self.add_liver_hu(ImageName::Portal, portal, mask);
    }

    /// Measures the liver in the arterial phase, which lies on the mask's grid.
    pub fn add_arterial_liver(&mut self, arterial: &OntoGrid, mask: &Mask) {
        if let Some(percent) = covered_percent(mask, arterial) {
            self.add(Quantity::LiverCovered, percent);
        }
        self.add_liver_hu(ImageName::Arterial, &arterial.volume, mask);
    }

    /// Measures the contrast in aorta and liver, and judges the phases by it. All lie on one grid.
    pub fn add_enhancement(
        &mut self,
        arterial: Option<&HuVolume>,
        portal: &HuVolume,
        mask: &Mask,
        threads: usize,
    ) {
        let Some((liver, portal_liver)) =
            VoxelBox::of_voxels(mask.labels.view(), |label| label != BACKGROUND)
                .zip(self.get(Quantity::LiverHu(ImageName::Portal)))
        else {
            return;
        };
        let Some(arterial) = arterial else {
            let aorta_hu = Aorta::find(portal, liver, threads).map(|aorta| aorta.hu);
            self.add_aorta(ImageName::Portal, aorta_hu);
            let portal = Enhancement { aorta_hu, liver_hu: portal_liver };
            self.against_phases = enhancement::against_portal(&portal);
            return;
        };
        // Two images of different places, or one image twice: their contrast has nothing to add.
        if self.reasons().iter().any(|reason| {
            matches!(
                reason,
                GateReason::PhasesDoNotMatch
                    | GateReason::PhaseUnclear
                    | GateReason::PhasesNotAligned
            )
        }) {
            return;
        }
        let Some(arterial_liver) = self.get(Quantity::LiverHu(ImageName::Arterial)) else { return };
        let found = enhancement::aorta_in_both(arterial, portal, liver, threads);
        let [early, late] = [0, 1].map(|phase| found.map(|hu| hu[phase]));
        self.add_aorta(ImageName::Arterial, early);
        self.add_aorta(ImageName::Portal, late);
        let arterial = Enhancement { aorta_hu: early, liver_hu: arterial_liver };
        let portal = Enhancement { aorta_hu: late, liver_hu: portal_liver };
        self.against_phases = enhancement::against_phases(&arterial, &portal);
    }

    fn add_aorta(&mut self, image: ImageName, hu: Option<f64>) {
        if let Some(hu) = hu {
            self.add(Quantity::AortaHu(image), hu);
        }
    }

    fn add_liver_hu(&mut self, image: ImageName, volume: &HuVolume, mask: &Mask) {
        if let Some(hu) = enhancement::liver_mean_hu(volume, mask) {
            self.add(Quantity::LiverHu(image), hu);
        }
    }

    fn add(&mut self, quantity: Quantity, value: f64) {
        self.measurements.push(Measurement { quantity, value, accepted: quantity.accepted() });
    }
}

/// 99.9th percentile of HU above water and below bone in the middle third of the field of view;
/// `None` when nothing there is that dense.
fn vessel_hu(volume: &HuVolume) -> Option<i16> {
    let [_, ny, nx] = volume.geometry.shape;
    let middle = volume.hu.slice(s![.., ny / 3..2 * ny / 3, nx / 3..2 * nx / 3]);
    let mut histogram = vec![0u64; MOST_VESSEL_HU as usize + 1];
    for &hu in middle {
        if (0..=MOST_VESSEL_HU).contains(&hu) {
            histogram[hu as usize] += 1;
        }
    }
    let above = histogram.iter().sum::<u64>() / 1000;
    let mut seen = 0;
    let brightest = histogram.iter().enumerate().rev().find(|(_, count)| {
        seen += **count;
        seen > above
    });
    brightest.map(|(hu, _)| hu as i16)
}

/// Liver and tumour in one slice, square centimetres.
fn slice_area_cm2(mask: &Mask, geometry: &Geometry, z: usize) -> f64 {
    let [_, y_mm, x_mm] = geometry.spacing.zyx();
    let slice = mask.labels.index_axis(Axis(0), z);
    slice.iter().filter(|label| **label != BACKGROUND).count() as f64 * y_mm * x_mm / 100.0
}

/// Liver and tumour that end at the sides of the grid or against padding of [`LOWEST_HU`], with which
/// scanners fill what lies outside a round field of view; square centimetres.
fn side_area_cm2(portal: &HuVolume, mask: &Mask) -> f64 {
    let labels = &mask.labels;
    let Some(liver) = VoxelBox::of_voxels(labels.view(), |label| label != BACKGROUND) else {
        return 0.0;
    };
    let beyond = |at: [usize; 3]| match labels.get(at) {
        Some(&label) => label == BACKGROUND && portal.hu[at] == LOWEST_HU,
        None => true,
    };
    let (mut rows, mut columns) = (0u64, 0u64);
    for z in liver.start[0]..liver.end[0] {
        for y in liver.start[1]..liver.end[1] {
            for x in liver.start[2]..liver.end[2] {
                if labels[[z, y, x]] != BACKGROUND {
                    let [up, down] = [[z, y + 1, x], [z, y.wrapping_sub(1), x]].map(beyond);
                    let [right, left] = [[z, y, x + 1], [z, y, x.wrapping_sub(1)]].map(beyond);
                    rows += u64::from(up) + u64::from(down);
                    columns += u64::from(right) + u64::from(left);
                }
            }
        }
    }
    let [z_mm, y_mm, x_mm] = portal.geometry.spacing.zyx();
    (rows as f64 * x_mm + columns as f64 * y_mm) * z_mm / 100.0
}

/// Liver voxels within the arterial field of view, percent; `None` without liver.
fn covered_percent(mask: &Mask, arterial: &OntoGrid) -> Option<f64> {
    let (mut voxels, mut covered) = (0u64, 0u64);
    for ((z, y, x), &label) in mask.labels.indexed_iter() {
        if label != BACKGROUND {
            let world = arterial.volume.geometry.to_world([z as f64, y as f64, x as f64]);
            voxels += 1;
            covered += u64::from(
                arterial.same_grid || inside(arterial.from.shape, arterial.from.to_voxel(world)),
            );
        }
    }
    (voxels > 0).then(|| 100.0 * covered as f64 / voxels as f64)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::analysis::decode::fixture::FileSpec;
    use crate::analysis::lesions::measure;
    use crate::analysis::volume::resample::onto_grid;
    use crate::analysis::volume::{LIVER, TUMOUR};

    const PORTAL: ImageName = ImageName::Portal;

    fn volume(spacing: [f64; 3], hu: impl Fn([usize; 3]) -> i16) -> HuVolume {
        let spec = FileSpec::ras([50, 40, 30], spacing);
        let geometry = Geometry::from_affine(spec.shape, &spec.affine, spec.header()).unwrap();
        HuVolume { hu: Array3::from_shape_fn([30, 40, 50], |(z, y, x)| hu([z, y, x])), geometry }
    }

    const UNCLIPPED: Intake = Intake {
        lowest_hu: -1000.0,
        highest_hu: 400.0,
        clipped_low: 600,
        clipped_high: 0,
        slope_was_zero: false,
    };

    fn image_reasons(volume: &HuVolume) -> Vec<GateReason> {
        let mut report = GateReport::default();
        report.add_image(PORTAL, volume, &UNCLIPPED);
        assert_eq!(report.admits(PORTAL), report.reasons().is_empty());
        assert!(report.admits(ImageName::Arterial));
        report.reasons()
    }

    #[test]
    fn spacing_is_limited_on_both_axes() {
        let soft = |spacing| volume(spacing, |[_, _, x]| if x == 0 { -1000 } else { 40 });
        assert_eq!(image_reasons(&soft([4.0, 4.0, 10.0])), []);
        assert_eq!(image_reasons(&soft([4.01, 1.0, 1.0])), [GateReason::SpacingNotSupported]);
        assert_eq!(image_reasons(&soft([1.0, 4.01, 1.0])), [GateReason::SpacingNotSupported]);
    }

    #[test]
    fn an_image_without_soft_tissue_is_no_abdomen() {
        // 60,000 voxels; 3 % are 1,800.
        let some = |count: usize| {
            volume([1.0; 3], move |[z, y, x]| match (z * 40 + y) * 50 + x {
                at if at < count => 300,
                at if at < 59_700 => 301,
                _ => -801,
            })
        };
        assert_eq!(image_reasons(&some(1800)), []);
        assert_eq!(image_reasons(&some(1799)), [GateReason::ImplausibleHu]);
        let mut report = GateReport::default();
        report.add_image(PORTAL, &some(6000), &UNCLIPPED);
        assert_eq!(report.get(Quantity::SoftTissue(PORTAL)), Some(10.0));
        assert_eq!(report.get(Quantity::Clipped(PORTAL)), Some(1.0));
        assert_eq!(report.get(Quantity::Obliquity(PORTAL)), Some(0.0));
        assert_eq!(report.get(Quantity::LiverVolume), None);
    }

    #[test]
    fn an_image_without_air_is_not_in_hounsfield_units() {
        // 60,000 voxels; 0.5 % are 300. Half of the density of air is not air.
        let with = |count: usize, air: i16| {
            volume([1.0; 3], move |[z, y, x]| if (z * 40 + y) * 50 + x < count { air } else { 40 })
        };
        assert_eq!(image_reasons(&with(300, -801)), []);
        assert_eq!(image_reasons(&with(299, -801)), [GateReason::ImplausibleHu]);
        assert_eq!(image_reasons(&with(6000, -512)), [GateReason::ImplausibleHu]);
    }

    #[test]
    fn a_shift_is_corrected_within_limits_and_refused_beyond() {
        let judged = |mm: f64, similarity: f64| {
            let mut report = GateReport::default();
            let alignment = Alignment { shift_mm: [0.0, 0.0, mm], similarity };
            (report.add_alignment(&alignment)[2], report.reasons())
        };
        let refused = vec![GateReason::PhasesNotAligned];
        let like = LEAST_PHASE_SIMILARITY;
        assert_eq!(judged(-20.0, like), (20.0, vec![]));
        assert_eq!(judged(20.01, like), (0.0, refused.clone()));
        assert_eq!(judged(9.0, like - 0.01), (0.0, refused));
        assert_eq!(judged(0.5, 0.99), (-0.5, vec![]));
        assert_eq!(judged(0.49, 0.99), (0.0, vec![]), "left as it is");
    }

    #[test]
    fn a_liver_with_nothing_to_compare_is_refused_once() {
        let mut report = GateReport::default();
        report.add_no_alignment();
        assert_eq!(report.reasons(), [GateReason::PhasesNotAligned]);
        let mut report = GateReport::default();
        report.add(Quantity::LiverCovered, 40.0);
        report.add_no_alignment();
        assert_eq!(report.reasons(), [GateReason::PhasesDoNotMatch]);
    }

    #[test]
    fn a_liver_at_the_sides_or_against_padding_is_cut_off() {
        let tumour = |[z, y, x]: [usize; 3]| z == 9 && (20..25).contains(&y) && x < 25;
        let liver = |from: usize| {
            move |at: [usize; 3]| match at {
                [5..15, _, _] if at[2] < from || at[1] < 2 || at[1] > 37 => BACKGROUND,
                [5..15, _, 45..=49] => BACKGROUND,
                [5..15, ..] if tumour(at) => TUMOUR,
                [5..15, ..] => LIVER,
                _ => BACKGROUND,
            }
        };
        let area_cm2 = |from: usize, beside: i16| {
            let scan = volume([3.0, 3.0, 4.0], |[_, _, x]| if x == 0 { beside } else { 60 });
            let liver = liver(from);
            let labels = Array3::from_shape_fn([30, 40, 50], |(z, y, x)| liver([z, y, x]));
            side_area_cm2(&scan, &Mask { labels })
        };
        assert_eq!(area_cm2(1, 60), 0.0);
        // 36 rows of 3 mm in ten slices of 4 mm.
        assert!((area_cm2(0, 60) - 43.2).abs() < 1e-9);
        assert!((area_cm2(1, LOWEST_HU) - 43.2).abs() < 1e-9);
        let mut report = GateReport::default();
        report.add(Quantity::LiverAtSides, MOST_LIVER_CUT_CM2);
        assert_eq!(report.reasons(), []);
        report.add(Quantity::LiverAtSides, MOST_LIVER_CUT_CM2 + 0.1);
        assert_eq!(report.reasons(), [GateReason::LiverCutOff]);
    }

    #[test]
    fn tumour_outside_the_liver_is_told() {
        let scan = volume([3.0, 3.0, 4.0], |_| 60);
        let labels = Array3::from_shape_fn([30, 40, 50], |(z, y, x)| match (z, y, x) {
            (9, 10..20, 10..20) => TUMOUR,
            (5..15, 2..38, 2..45) => LIVER,
            _ => BACKGROUND,
        });
        let mask = Mask { labels };
        let lesions = measure(&mask, &scan.geometry).unwrap();
        let reasons = |outside_mm3| {
            let mut report = GateReport::default();
            report.add_liver(&scan, &mask, &lesions, outside_mm3);
            report.reasons()
        };
        assert_eq!(reasons(lesions.tumour_mm3), []);
        assert_eq!(reasons(lesions.tumour_mm3 + 1.0), [GateReason::LesionsOutsideLiver]);
    }

    #[test]
    fn vessels_are_found_in_the_middle_and_bone_is_not() {
        // A vessel of 280 HU through the middle, bone beside it, a brighter speck off the middle.
        let scan = volume([1.0; 3], |[_, y, x]| match (y, x) {
            (18..22, 24..27) => 280,
            (14, 20..30) => 900,
            (2, 2) => 500,
            _ => 40,
        });
        assert_eq!(vessel_hu(&scan), Some(280));
        assert_eq!(vessel_hu(&volume([1.0; 3], |_| -1000)), None);
    }

    #[test]
    fn the_same_phase_twice_is_told_from_a_noisy_pair() {
        let portal = volume([1.0; 3], |[_, _, x]| 40 + x as i16);
        let reasons = |arterial: HuVolume| {
            let mut report = GateReport::default();
            report.add_difference(&portal, &onto_grid(arterial, &portal.geometry, 1));
            report.reasons()
        };
        assert_eq!(reasons(portal.clone()), [GateReason::PhaseUnclear]);
        let other = volume([1.0; 3], |[_, _, x]| 40 + x as i16 + (x % 2) as i16);
        assert_eq!(reasons(other), []);
    }

    /// Masks of a liver on slices `from..to`, and what the gate says of them. Voxels of 36 mm³, so
    /// that a full slice of 2,000 voxels is 180 cm² and 72 ml.
    fn liver_reasons(liver: impl Fn([usize; 3]) -> u8) -> Vec<GateReason> {
        // A voxel of the scan lies round the slice on every side.
        let spec = FileSpec::ras([52, 42, 30], [3.0, 3.0, 4.0]);
        let geometry = Geometry::from_affine(spec.shape, &spec.affine, spec.header()).unwrap();
        let scan = HuVolume { hu: Array3::from_elem([30, 42, 52], 60), geometry };
        let labels = Array3::from_shape_fn([30, 42, 52], |(z, y, x)| match (y, x) {
            (1..=40, 1..=50) => liver([z, y - 1, x - 1]),
            _ => BACKGROUND,
        });
        let mask = Mask { labels };
        let mut report = GateReport::default();
        let lesions = measure(&mask, &scan.geometry).unwrap();
        report.add_liver(&scan, &mask, &lesions, 0.0);
        report.add_arterial_liver(&onto_grid(scan.clone(), &scan.geometry, 1), &mask);
        report.reasons()
    }

    #[test]
    fn liver_size_tumour_and_cut_are_judged() {
        let tumour = |[_, y, x]: [usize; 3]| y < 5 && x < 5;
        let block = |at: [usize; 3]| if tumour(at) { TUMOUR } else { LIVER };
        let slices = |from: usize, to: usize| {
            move |at: [usize; 3]| if (from..to).contains(&at[0]) { block(at) } else { BACKGROUND }
        };
        assert_eq!(liver_reasons(slices(5, 15)), []);
        assert_eq!(liver_reasons(slices(5, 9)), [GateReason::NoLiver], "288 ml");
        assert_eq!(liver_reasons(|_| BACKGROUND), [GateReason::NoLiver]);
        assert_eq!(liver_reasons(slices(0, 9)), [GateReason::LiverCutOff]);
        assert_eq!(liver_reasons(slices(20, 30)), [GateReason::LiverCutOff]);
        // 222 voxels of 9 mm² in the first slice are 19.98 cm²; 223 are a cut.
        let grazed = |voxels: usize| {
            move |at: [usize; 3]| match at[0] {
                0 if at[1] * 50 + at[2] < voxels => LIVER,
                1..10 => block(at),
                _ => BACKGROUND,
            }
        };
        assert_eq!(liver_reasons(grazed(222)), []);
        assert_eq!(liver_reasons(grazed(223)), [GateReason::LiverCutOff]);
        let healthy = |at: [usize; 3]| if (5..15).contains(&at[0]) { LIVER } else { BACKGROUND };
        assert_eq!(liver_reasons(healthy), [GateReason::NoTumour]);
    }

    #[test]
    fn liver_outside_the_arterial_image_counts() {
        let portal = volume([3.0, 3.0, 4.0], |_| 60);
        let mut arterial = volume([3.0, 3.0, 4.0], |_| 80);
        // The arterial image starts 40 mm, ten slices, higher.
        arterial.geometry.voxel_to_world[2][3] += 40.0;
        let phase = onto_grid(arterial, &portal.geometry, 1);
        let mask = |from: usize| Mask {
            labels: Array3::from_shape_fn([30, 40, 50], |(z, ..)| {
                u8::from((from..20).contains(&z))
            }),
        };
        assert_eq!(covered_percent(&mask(10), &phase), Some(100.0));
        assert_eq!(covered_percent(&mask(0), &phase), Some(50.0));
        assert_eq!(covered_percent(&mask(20), &phase), None);
    }
}
