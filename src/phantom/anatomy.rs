//! The whole abdomen: what lies at a point, and its HU in both phases.

use super::body::Body;
use super::organs::{Liver, Organs};
use super::random::{LatticeNoise, Random};
use super::shape::add;
use super::spec::{PhantomError, PhantomSpec};
use super::tumour::Tumour;
use super::vessels::Vessels;

/// What a point is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tissue {
    /// Outside the patient.
    Air,
    /// The couch's shell.
    CouchShell,
    /// The couch's filling.
    CouchFoam,
    /// Skin.
    Skin,
    /// Fat under the skin and round the organs.
    Fat,
    /// Muscle, diaphragm and gullet.
    Muscle,
    /// Compact bone.
    Bone,
    /// Bone marrow.
    Marrow,
    /// Discs between vertebrae.
    Disc,
    /// Spinal canal.
    Canal,
    /// Lung.
    Lung,
    /// Vessels of the lung.
    LungVessel,
    /// Heart.
    Heart,
    /// Aorta and its branches.
    Aorta,
    /// Inferior caval vein.
    VenaCava,
    /// Portal vein and its branches.
    PortalVein,
    /// Hepatic veins.
    HepaticVein,
    /// Liver parenchyma.
    Liver,
    /// Gallbladder content.
    Bile,
    /// Spleen.
    Spleen,
    /// Outer kidney.
    KidneyCortex,
    /// Inner kidney.
    KidneyMedulla,
    /// Pancreas.
    Pancreas,
    /// Wall of stomach, bowel and gallbladder.
    GutWall,
    /// Fluid in stomach and bowel.
    GutFluid,
    /// Gas in stomach and bowel.
    Gas,
    /// Tumour.
    Tumour,
}

impl Tissue {
    /// Mean HU in the arterial and portal venous phase, and how far a seed may move both.
    pub fn enhancement(self) -> ([f64; 2], f64) {
        match self {
            Self::Air => ([-1000.0, -1000.0], 0.0),
            Self::CouchShell => ([-150.0, -150.0], 20.0),
            Self::CouchFoam => ([-920.0, -920.0], 10.0),
            Self::Skin => ([10.0, 15.0], 5.0),
            Self::Fat => ([-98.0, -97.0], 6.0),
            Self::Muscle => ([54.0, 58.0], 4.0),
            Self::Bone => ([520.0, 530.0], 60.0),
            Self::Marrow => ([150.0, 160.0], 25.0),
            Self::Disc => ([75.0, 80.0], 8.0),
            Self::Canal => ([25.0, 28.0], 4.0),
            Self::Lung => ([-850.0, -845.0], 15.0),
            Self::LungVessel => ([-150.0, -150.0], 40.0),
            Self::Heart => ([220.0, 150.0], 15.0),
            Self::Aorta => ([320.0, 155.0], 18.0),
            Self::VenaCava => ([80.0, 145.0], 8.0),
            Self::PortalVein => ([110.0, 180.0], 8.0),
            Self::HepaticVein => ([72.0, 165.0], 6.0),
            Self::Liver => ([70.0, 110.0], 6.0),
            Self::Bile => ([8.0, 8.0], 5.0),
            Self::Spleen => ([125.0, 120.0], 8.0),
            Self::KidneyCortex => ([185.0, 175.0], 10.0),
            Self::KidneyMedulla => ([95.0, 160.0], 10.0),
            Self::Pancreas => ([100.0, 90.0], 8.0),
            Self::GutWall => ([70.0, 85.0], 8.0),
            Self::GutFluid => ([15.0, 15.0], 10.0),
            Self::Gas => ([-940.0, -940.0], 10.0),
            Self::Tumour => ([70.0, 85.0], 0.0),
        }
    }
}

/// Number of tissues.
const TISSUES: usize = Tissue::Tumour as usize + 1;

/// Every tissue, in the order of the enum.
pub const ALL_TISSUES: [Tissue; TISSUES] = [
    Tissue::Air,
    Tissue::CouchShell,
    Tissue::CouchFoam,
    Tissue::Skin,
    Tissue::Fat,
    Tissue::Muscle,
    Tissue::Bone,
    Tissue::Marrow,
    Tissue::Disc,
    Tissue::Canal,
    Tissue::Lung,
    Tissue::LungVessel,
    Tissue::Heart,
    Tissue::Aorta,
    Tissue::VenaCava,
    Tissue::PortalVein,
    Tissue::HepaticVein,
    Tissue::Liver,
    Tissue::Bile,
    Tissue::Spleen,
    Tissue::KidneyCortex,
    Tissue::KidneyMedulla,
    Tissue::Pancreas,
    Tissue::GutWall,
    Tissue::GutFluid,
    Tissue::Gas,
    Tissue::Tumour,
];

/// Whether a point belongs to the liver or to a tumour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Neither.
    Background,
    /// Liver with its vessels.
    Liver,
    /// The tumour of this index.
    Tumour(u8),
}

/// What a point looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// HU without noise: arterial, portal.
    pub hu: [f64; 2],
    /// The tissue that fills at least half of the point's surroundings.
    pub tissue: Tissue,
    /// Truth for the segmentation.
    pub label: Label,
}

/// Tissues laid over one another, each with a soft edge.
pub(super) struct Paint<'a> {
    enhancement: &'a [[f64; 2]; TISSUES],
    /// Width of an edge in millimetres.
    edge_mm: f64,
    sample: Sample,
}

impl Paint<'_> {
    /// Lays a tissue over a point at this signed distance from it.
    pub(super) fn solid(&mut self, distance: f64, tissue: Tissue) {
        self.layer(distance, tissue, self.enhancement[tissue as usize], Label::Background);
    }

    /// As [`Self::solid`] for a structure that counts as liver.
    pub(super) fn within_liver(&mut self, distance: f64, tissue: Tissue) {
        self.layer(distance, tissue, self.enhancement[tissue as usize], Label::Liver);
    }

    fn layer(&mut self, distance: f64, tissue: Tissue, hu: [f64; 2], label: Label) {
        let coverage = 0.5 - distance / self.edge_mm;
        if coverage <= 0.0 {
            return;
        }
        let coverage = coverage.min(1.0);
        for (below, above) in self.sample.hu.iter_mut().zip(hu) {
            *below += (above - *below) * coverage;
        }
        if coverage >= 0.5 {
            self.sample.tissue = tissue;
            self.sample.label = label;
        }
    }
}

/// One patient.
#[derive(Debug, Clone)]
pub struct Anatomy {
    body: Body,
    organs: Organs,
    liver: Liver,
    vessels: Vessels,
    tumours: Vec<Tumour>,
    warp: LatticeNoise,
    texture: LatticeNoise,
    enhancement: [[f64; 2]; TISSUES],
    edge_mm: f64,
}

/// How far the smooth deformation of the organs moves a point, along each axis.
const WARP_MM: f64 = 5.0;
/// Grid on which the liver's volume is set.
const VOLUME_STEP_MM: f64 = 5.0;

impl Anatomy {
    /// Draws a patient: organs, then a liver of the volume asked for, then the tumours in it.
    pub fn new(spec: &PhantomSpec) -> Result<Self, PhantomError> {
        spec.check()?;
        let seed = spec.seed;
        let mut random = Random::new(seed, 0xa7a7);
        let spacing = spec.spacing.zyx();
        let mut anatomy = Self {
            body: Body::new(seed),
            organs: Organs::new(seed),
            liver: Liver::new(seed),
            vessels: Vessels::new(seed),
            tumours: Vec::new(),
            warp: LatticeNoise::new(random.bits(), 55.0),
            texture: LatticeNoise::new(random.bits(), 14.0),
            enhancement: enhancement(&mut random),
            edge_mm: (0.4 * (spacing[0] + spacing[1])).clamp(1.2, 4.0),
        };
        anatomy.set_liver_volume();
        for (index, tumour) in spec.tumours.iter().enumerate() {
            let placed = Tumour::place(&anatomy, tumour, (seed, index))?;
            anatomy.tumours.push(placed);
        }
        Ok(anatomy)
    }

    /// What lies at a point in patient millimetres.
    pub fn sample(&self, point: [f64; 3]) -> Sample {
        let air = self.enhancement[Tissue::Air as usize];
        let start = Sample { hu: air, tissue: Tissue::Air, label: Label::Background };
        let mut paint =
            Paint { enhancement: &self.enhancement, edge_mm: self.edge_mm, sample: start };
        let depth = self.body.depth(point);
        if depth > -3.0 {
            let moved = self.warped(point);
            paint.solid(-FILL, Tissue::Fat);
            self.body.paint_chest(&mut paint, point, depth);
            let abdomen = self.body.abdomen_distance(point, depth);
            self.organs.paint(&mut paint, moved, abdomen);
            let liver = self.liver_at(point, moved, depth);
            if liver < 8.0 {
                self.paint_liver(&mut paint, point, moved, liver);
            }
            self.vessels.paint_trunks(&mut paint, moved);
            self.paint_tumours(&mut paint, point, liver);
        }
        self.body.paint_wall(&mut paint, point, depth);
        paint.sample
    }

    /// Signed distance to the liver in patient millimetres: the lobes, deformed, where their
    /// neighbours leave room.
    pub(super) fn liver_distance(&self, point: [f64; 3]) -> f64 {
        self.liver_at(point, self.warped(point), self.body.depth(point))
    }

    fn liver_at(&self, point: [f64; 3], moved: [f64; 3], depth: f64) -> f64 {
        let near = (-130.0..150.0).contains(&point[0]) && (-130.0..130.0).contains(&point[2]);
        if !near {
            return FILL;
        }
        let lobes = self.liver.distance(moved);
        if lobes > 12.0 { lobes } else { lobes.max(self.outside_liver(point, moved, depth)) }
    }

    /// The tumours placed so far.
    pub(super) fn tumours(&self) -> &[Tumour] {
        &self.tumours
    }

    /// The mean HU of a tissue in this patient: arterial, portal.
    pub fn mean_hu(&self, tissue: Tissue) -> [f64; 2] {
        self.enhancement[tissue as usize]
    }

    /// Signed distance to the room the liver may fill.
    fn outside_liver(&self, point: [f64; 3], moved: [f64; 3], depth: f64) -> f64 {
        let room = self.body.abdomen_distance(point, depth) + 1.5;
        let neighbours = self.organs.liver_neighbours_distance(moved);
        let spine = self.body.spine_distance(point) - 6.0;
        room.max(-neighbours).max(-spine).max(-self.vessels.cava_distance(moved))
    }

    fn warped(&self, point: [f64; 3]) -> [f64; 3] {
        add(point, self.warp.vector_at(point).map(|v| v * WARP_MM))
    }

    fn paint_liver(&self, paint: &mut Paint, point: [f64; 3], moved: [f64; 3], liver: f64) {
        let texture = 3.0 * self.texture.at(point);
        let hu = self.mean_hu(Tissue::Liver).map(|v| v + texture);
        paint.layer(liver, Tissue::Liver, hu, Label::Liver);
        self.vessels.paint_in_liver(paint, moved, liver);
    }

    fn paint_tumours(&self, paint: &mut Paint, point: [f64; 3], liver: f64) {
        for (index, tumour) in self.tumours.iter().enumerate() {
            let Some(part) = tumour.part(point, self.mean_hu(Tissue::Liver)) else { continue };
            if let Some(capsule) = part.capsule {
                paint.layer((part.distance - 2.0).max(liver), Tissue::Liver, capsule, Label::Liver);
            }
            // A tumour may bulge a little out of the liver.
            let distance = part.distance.max(liver - 3.0);
            paint.layer(distance, Tissue::Tumour, part.hu, Label::Tumour(index as u8));
        }
    }

    /// Blows the lobes up or down until the liver has its volume, by bisection on a coarse grid.
    fn set_liver_volume(&mut self) {
        let mut points = Vec::new();
        let mut widest = self.liver.clone();
        widest.inflate_mm = MAX_INFLATE_MM;
        let count = |low: f64, high: f64| ((high - low) / VOLUME_STEP_MM) as usize;
        for iz in 0..count(-125.0, 100.0) {
            for iy in 0..count(-100.0, 100.0) {
                for ix in 0..count(-120.0, 145.0) {
                    let point = [
                        -120.0 + VOLUME_STEP_MM * ix as f64,
                        -100.0 + VOLUME_STEP_MM * iy as f64,
                        -125.0 + VOLUME_STEP_MM * iz as f64,
                    ];
                    let moved = self.warped(point);
                    let depth = self.body.depth(point);
                    if widest.distance(moved) <= 0.0
                        && self.outside_liver(point, moved, depth) <= 0.0
                    {
                        points.push(moved);
                    }
                }
            }
        }
        let cell_ml = VOLUME_STEP_MM * VOLUME_STEP_MM * VOLUME_STEP_MM / 1000.0;
        let (mut low, mut high) = (-MAX_INFLATE_MM, MAX_INFLATE_MM);
        for _ in 0..8 {
            self.liver.inflate_mm = (low + high) / 2.0;
            let inside = points.iter().filter(|moved| self.liver.distance(**moved) <= 0.0).count();
            if inside as f64 * cell_ml > self.liver.target_ml {
                high = self.liver.inflate_mm;
            } else {
                low = self.liver.inflate_mm;
            }
        }
    }
}

/// A distance that covers everything.
const FILL: f64 = 1000.0;
/// The most the lobes are blown up or down.
const MAX_INFLATE_MM: f64 = 14.0;

/// Each tissue's enhancement in this patient.
fn enhancement(random: &mut Random) -> [[f64; 2]; TISSUES] {
    ALL_TISSUES.map(|tissue| {
        let (mean, spread) = tissue.enhancement();
        let shift = random.uniform(-spread, spread);
        mean.map(|hu| hu + shift)
    })
}
