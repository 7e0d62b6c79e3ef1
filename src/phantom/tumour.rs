//! One tumour: where it lies, its margin, and how its parts enhance.

use super::anatomy::Anatomy;
use super::random::{LatticeNoise, Random};
use super::shape::{dot, subtract};
use super::spec::{PhantomError, Phenotype, TumourSpec};

/// A tumour in its place.
#[derive(Debug, Clone)]
pub(super) struct Tumour {
    centre: [f64; 3],
    radius: f64,
    stretch: [f64; 3],
    /// How far the margin wanders, as a fraction of the radius.
    irregular: f64,
    margin: LatticeNoise,
    inside: LatticeNoise,
    rim_mm: f64,
    necrosis: f64,
    phenotype: Phenotype,
}

/// What a tumour looks like at a point.
pub(super) struct Part {
    /// Signed distance to the tumour.
    pub(super) distance: f64,
    /// HU arterial, portal.
    pub(super) hu: [f64; 2],
    /// HU of a thin capsule just outside, when the tumour has one.
    pub(super) capsule: Option<[f64; 2]>,
}

/// Clear liver between two tumours, so that they stay two components.
const GAP_MM: f64 = 10.0;
/// How many places are tried.
const PLACES: usize = 6000;

impl Tumour {
    /// Finds a place deep enough in the liver and away from the others, or takes the one given.
    /// `identity` is the phantom's seed and the tumour's index.
    pub(super) fn place(
        anatomy: &Anatomy,
        spec: &TumourSpec,
        identity: (u64, usize),
    ) -> Result<Self, PhantomError> {
        let (seed, index) = identity;
        let mut random = Random::new(seed, 0x70_0000 + index as u64);
        let radius = spec.diameter_mm / 2.0;
        let place = match spec.centre {
            Some(centre) => Some(centre),
            None => [0.95, 0.75, 0.5]
                .iter()
                .find_map(|share| find_place(anatomy, &mut random, radius, radius * share)),
        };
        let centre = place.ok_or(PhantomError::NoRoom { index, diameter_mm: spec.diameter_mm })?;
        let proliferative = spec.phenotype == Phenotype::Proliferative;
        Ok(Self {
            centre,
            radius,
            stretch: [0; 3].map(|_| random.uniform(0.94, 1.06)),
            irregular: if proliferative { random.uniform(0.16, 0.22) } else { 0.03 },
            margin: LatticeNoise::new(random.bits(), (0.42 * spec.diameter_mm).max(5.0)),
            inside: LatticeNoise::new(random.bits(), (0.2 * spec.diameter_mm).max(5.0)),
            rim_mm: random.uniform(5.0, 8.0).min(0.35 * radius),
            necrosis: if spec.diameter_mm >= 30.0 { random.uniform(0.42, 0.52) } else { 0.0 },
            phenotype: spec.phenotype,
        })
    }

    /// What the tumour looks like at a point, in a liver of these HU; `None` away from it.
    pub(super) fn part(&self, point: [f64; 3], liver_hu: [f64; 2]) -> Option<Part> {
        let offset = subtract(point, self.centre);
        let scaled = [0, 1, 2].map(|axis| offset[axis] / self.stretch[axis]);
        let from_centre = dot(scaled, scaled).sqrt();
        if from_centre > self.radius * 1.2 + 8.0 {
            return None;
        }
        let wander = self.margin.at(offset);
        let distance = from_centre - self.radius * (1.0 + self.irregular * wander);
        let mottle = self.inside.at(offset);
        Some(match self.phenotype {
            Phenotype::Proliferative => {
                let core = ramp(-distance - self.rim_mm, 2.5);
                let necrotic = self.radius * (self.necrosis + 0.12 * mottle);
                let dead =
                    if self.necrosis > 0.0 { ramp(necrotic - from_centre, 3.0) } else { 0.0 };
                let hu = [
                    enhanced(liver_hu[0], [45.0, -30.0], core, dead) + 4.0 * mottle,
                    enhanced(liver_hu[1], [-18.0, -36.0], core, dead) + 4.0 * mottle,
                ];
                Part { distance, hu, capsule: None }
            }
            Phenotype::NonProliferative => Part {
                distance,
                hu: [liver_hu[0] + 40.0 + 3.0 * mottle, liver_hu[1] - 25.0 + 3.0 * mottle],
                capsule: Some([liver_hu[0] + 5.0, liver_hu[1] + 32.0]),
            },
        })
    }

    /// Distance from the tumour's nominal sphere to a point.
    fn clearance(&self, point: [f64; 3]) -> f64 {
        let offset = subtract(point, self.centre);
        dot(offset, offset).sqrt() - 1.15 * self.radius
    }
}

/// HU of necrotic tissue, both phases.
const NECROSIS_HU: f64 = 30.0;

/// Liver plus `[rim, core]` enhancement, or necrosis.
fn enhanced(liver: f64, [rim, core]: [f64; 2], core_share: f64, dead_share: f64) -> f64 {
    let alive = liver + rim + (core - rim) * core_share;
    alive + (NECROSIS_HU - alive) * dead_share
}

/// 0 to 1 over `width` millimetres round zero.
fn ramp(distance: f64, width: f64) -> f64 {
    (0.5 + distance / width).clamp(0.0, 1.0)
}

fn find_place(
    anatomy: &Anatomy,
    random: &mut Random,
    radius: f64,
    depth_mm: f64,
) -> Option<[f64; 3]> {
    for _ in 0..PLACES {
        let point = [
            random.uniform(-60.0, 125.0),
            random.uniform(-75.0, 75.0),
            random.uniform(-90.0, 75.0),
        ];
        let room = anatomy.tumours().iter().all(|t| t.clearance(point) >= 1.15 * radius + GAP_MM);
        if room && anatomy.liver_distance(point) <= -depth_mm {
            return Some(point);
        }
    }
    None
}
