//! What holds the organs: skin, fat, muscle, ribs, spine, diaphragm and lungs, and the couch.

use super::anatomy::{Paint, Tissue};
use super::random::{LatticeNoise, Random};
use super::shape::{Solid, ellipsoid_distance};

/// The wall of the trunk and everything bony.
#[derive(Debug, Clone)]
pub(super) struct Body {
    /// Half width and half depth of the trunk at the skin.
    half: [f64; 2],
    fat_mm: f64,
    muscle_mm: f64,
    /// Tops of the right and left half of the diaphragm.
    dome_top: [f64; 2],
    rib_offset: f64,
    disc_offset: f64,
    wall_noise: LatticeNoise,
    lung_noise: LatticeNoise,
    muscles: Vec<Solid>,
}

/// Distance from one rib to the next.
const RIB_PITCH_MM: f64 = 27.0;
/// Distance from one vertebral disc to the next.
const VERTEBRA_MM: f64 = 34.0;
/// Centre of the vertebral bodies `[x, y]`.
const VERTEBRA_CENTRE: [f64; 2] = [0.0, -48.0];
/// Centre of the spinal canal `[x, y]`.
const CANAL_CENTRE: [f64; 2] = [0.0, -74.0];
/// Thickness of the diaphragm.
const DIAPHRAGM_MM: f64 = 3.0;

impl Body {
    /// Draws the sizes.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, 0xb0d1);
        let long = 400.0;
        let mut muscles = Vec::new();
        for side in [-1.0, 1.0] {
            muscles.push(Solid::ellipsoid([side * 33.0, -74.0, 0.0], [25.0, 18.0, long]));
            muscles.push(Solid::ellipsoid([side * 36.0, -46.0, -130.0], [17.0, 16.0, 95.0]));
        }
        Self {
            half: [random.uniform(146.0, 155.0), random.uniform(104.0, 112.0)],
            fat_mm: random.uniform(12.0, 19.0),
            muscle_mm: random.uniform(11.0, 15.0),
            dome_top: [random.uniform(74.0, 84.0), random.uniform(58.0, 68.0)],
            rib_offset: random.uniform(0.0, RIB_PITCH_MM),
            disc_offset: random.uniform(0.0, VERTEBRA_MM),
            wall_noise: LatticeNoise::new(random.bits(), 45.0),
            lung_noise: LatticeNoise::new(random.bits(), 9.0),
            muscles,
        }
    }

    /// Millimetres below the skin, negative outside. A rounded trunk between an ellipse and a
    /// superellipse of degree four.
    pub(super) fn depth(&self, point: [f64; 3]) -> f64 {
        let [a, b] = self.half;
        let (u, v) = (point[0] / a, point[1] / b);
        let (u2, v2) = (u * u, v * v);
        let round = (u2 + v2).sqrt();
        let gradient = (u2 / (a * a) + v2 / (b * b)).sqrt();
        if gradient < 1e-9 {
            return b;
        }
        let square = (u2 * u2 + v2 * v2).sqrt().sqrt();
        let radius = 0.55 * round + 0.45 * square;
        -round * (radius - 1.0) / gradient
    }

    /// Signed distance to the inside of the wall, for a point `depth` below the skin.
    pub(super) fn cavity_distance(&self, depth: f64) -> f64 {
        self.fat_mm + self.muscle_mm - depth
    }

    /// Height of the diaphragm over `[x, y]`, patient millimetres.
    pub(super) fn diaphragm_z(&self, point: [f64; 3]) -> f64 {
        let back = (point[1] + 5.0) / 62.0;
        let half = |centre: f64, top: f64| {
            let side = (point[0] - centre) / 75.0;
            top - 45.0 * (side * side + back * back)
        };
        half(66.0, self.dome_top[0]).max(half(-66.0, self.dome_top[1]))
    }

    /// Signed distance to spine and the muscles beside it: no organ goes there.
    pub(super) fn spine_distance(&self, point: [f64; 3]) -> f64 {
        let muscle = self.muscles.iter().map(|m| m.distance(point)).fold(1000.0, f64::min);
        cylinder(point, VERTEBRA_CENTRE, [23.0, 18.0]).min(muscle)
    }

    /// Signed distance to the space below the diaphragm and inside the wall.
    pub(super) fn abdomen_distance(&self, point: [f64; 3], depth: f64) -> f64 {
        let below = point[2] - self.diaphragm_z(point) + DIAPHRAGM_MM;
        // The dome is steep at its edge: scale the height to a distance.
        (below * 0.7).max(self.cavity_distance(depth))
    }

    /// Lungs and diaphragm, painted before the organs.
    pub(super) fn paint_chest(&self, paint: &mut Paint, point: [f64; 3], depth: f64) {
        let above = (self.diaphragm_z(point) - point[2]) * 0.7;
        let cavity = self.cavity_distance(depth);
        paint.solid((-above).max(above - DIAPHRAGM_MM).max(cavity), Tissue::Muscle);
        let lung = above.max(cavity).max(19.0 + 9.0 * self.wall_noise.at(point) - point[0].abs());
        if lung < 3.0 {
            paint.solid(lung, Tissue::Lung);
            let vessel = 5.0 * (0.62 - self.lung_noise.at(point));
            paint.solid(vessel.max(lung + 4.0), Tissue::LungVessel);
        }
    }

    /// Wall, ribs and spine, painted over the organs; then everything outside the skin.
    pub(super) fn paint_wall(&self, paint: &mut Paint, point: [f64; 3], depth: f64) {
        for muscle in &self.muscles {
            paint.solid(muscle.distance(point), Tissue::Muscle);
        }
        self.paint_spine(paint, point);
        let fat_mm = self.fat_mm * (1.0 + 0.25 * self.wall_noise.at(point));
        let inner = self.fat_mm + self.muscle_mm;
        if depth < inner + 3.0 {
            let back = (-60.0 - point[1]).max(0.0) / 20.0;
            if back < 1.0 {
                paint.solid(depth - inner, Tissue::Muscle);
            }
            self.paint_rib(paint, point, depth);
            paint.solid(depth - fat_mm, Tissue::Fat);
        }
        self.paint_spinous(paint, point);
        paint.solid(depth - 2.0, Tissue::Skin);
        paint.solid(depth, Tissue::Air);
        if depth < -2.0 {
            self.paint_couch(paint, point);
        }
    }

    fn paint_rib(&self, paint: &mut Paint, point: [f64; 3], depth: f64) {
        let [x, y, z] = point;
        let along = (z + 0.5 * y - self.rib_offset) / RIB_PITCH_MM;
        let height = (along - (along + 0.5).floor()) * RIB_PITCH_MM;
        let off = depth - (self.fat_mm + 0.55 * self.muscle_mm);
        let (h, d) = (height / 6.5, off / 4.2);
        let round = ((h * h + d * d).sqrt() - 1.0) * 4.2;
        // The costal margin rises towards the front; nothing near the midline.
        let gap = if y > 0.0 { 38.0 } else { 30.0 };
        let margin = (0.75 * y - 62.0 - z).max(gap - x.abs());
        paint.solid(round.max(margin), Tissue::Bone);
        paint.solid((round + 2.2).max(margin), Tissue::Marrow);
    }

    fn paint_spine(&self, paint: &mut Paint, point: [f64; 3]) {
        if point[0].abs() > 45.0 || point[1] > -25.0 {
            return;
        }
        let along = (point[2] - self.disc_offset) / VERTEBRA_MM;
        let disc = (along - (along + 0.5).floor()).abs() * VERTEBRA_MM - 3.5;
        let body = cylinder(point, VERTEBRA_CENTRE, [22.0, 17.0]);
        paint.solid(body, Tissue::Bone);
        paint.solid((body + 2.5).max(2.0 - disc), Tissue::Marrow);
        paint.solid(body.max(disc), Tissue::Disc);
        let arch = cylinder(point, CANAL_CENTRE, [15.0, 13.0]);
        paint.solid(arch.max(7.0 - disc), Tissue::Bone);
        let process = ellipsoid_distance(
            [point[0].abs(), point[1], (disc + 3.5) - 17.0],
            [22.0, -70.0, 0.0],
            [20.0, 6.0, 7.0],
        );
        paint.solid(process, Tissue::Bone);
        paint.solid(cylinder(point, CANAL_CENTRE, [9.0, 8.0]), Tissue::Canal);
    }

    fn paint_spinous(&self, paint: &mut Paint, point: [f64; 3]) {
        if point[0].abs() > 12.0 || point[1] > -75.0 {
            return;
        }
        let along = (point[2] - self.disc_offset) / VERTEBRA_MM;
        let height = (along - along.floor() - 0.5) * VERTEBRA_MM;
        let spinous =
            ellipsoid_distance([point[0], point[1], height], [0.0, -88.0, 0.0], [4.5, 9.0, 10.0]);
        paint.solid(spinous, Tissue::Bone);
    }

    fn paint_couch(&self, paint: &mut Paint, point: [f64; 3]) {
        let top = -self.half[1] - 5.0 + point[0] * point[0] / 1500.0;
        let below = top - point[1];
        let plate = (below - 18.0).max(-below).max(point[0].abs() - 205.0);
        paint.solid(plate, Tissue::CouchShell);
        paint.solid(plate + 2.0, Tissue::CouchFoam);
    }
}

/// First-order distance to an elliptic cylinder along z.
fn cylinder(point: [f64; 3], centre: [f64; 2], radii: [f64; 2]) -> f64 {
    ellipsoid_distance(
        [point[0], point[1], 0.0],
        [centre[0], centre[1], 0.0],
        [radii[0], radii[1], 1.0],
    )
}
