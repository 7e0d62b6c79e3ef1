//! Liver, spleen, kidneys, stomach, bowel and the rest of the abdomen.

use super::anatomy::{Paint, Tissue};
use super::random::Random;
use super::shape::{Solid, dot, ellipsoid_distance, smooth_intersection, smooth_union, subtract};

/// Everything soft but the liver and the vessels.
#[derive(Debug, Clone)]
pub(super) struct Organs {
    spleen: Solid,
    kidneys: Vec<Kidney>,
    gallbladder: Solid,
    pancreas: Solid,
    heart: Solid,
    oesophagus: Solid,
    hollow: Vec<Hollow>,
}

#[derive(Debug, Clone)]
struct Kidney {
    outside: Solid,
    pelvis: Solid,
}

/// Stomach or a loop of bowel: a wall, fluid, and gas above a level.
#[derive(Debug, Clone)]
struct Hollow {
    outside: Solid,
    wall_mm: f64,
    /// Gas where y is above this.
    gas_above_y: f64,
}

impl Organs {
    /// Draws sizes and places.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, 0x0a6a);
        let mut around = |centre: [f64; 3], mm: f64| {
            [0, 1, 2].map(|axis| centre[axis] + mm * random.offset()[axis])
        };
        let kidneys = [62.0, -62.0].map(|x| {
            let centre = around([x, -38.0, if x > 0.0 { -62.0 } else { -42.0 }], 4.0);
            let pelvis = [centre[0] - 0.26 * x, centre[1] + 5.0, centre[2]];
            Kidney {
                outside: Solid::ellipsoid(centre, [25.0, 24.0, 50.0]),
                pelvis: Solid::ellipsoid(pelvis, [12.0, 8.0, 20.0]),
            }
        });
        let stomach = Hollow {
            outside: Solid::ellipsoid(around([-56.0, 30.0, 22.0], 5.0), [42.0, 34.0, 44.0]),
            wall_mm: 4.5,
            gas_above_y: 42.0,
        };
        let organs = Self {
            spleen: Solid::ellipsoid(around([-94.0, -34.0, 18.0], 4.0), [22.0, 38.0, 46.0]),
            kidneys: kidneys.into(),
            gallbladder: Solid::ellipsoid(around([46.0, 42.0, -42.0], 3.0), [14.0, 17.0, 26.0]),
            pancreas: Solid::tube(&[
                ([26.0, 8.0, -44.0], 13.0),
                ([4.0, 16.0, -32.0], 9.0),
                ([-36.0, 4.0, -16.0], 9.0),
                ([-74.0, -14.0, 2.0], 8.0),
            ]),
            heart: Solid::ellipsoid(around([-22.0, 22.0, 104.0], 4.0), [56.0, 46.0, 48.0]),
            oesophagus: Solid::tube(&[
                ([-8.0, -2.0, 200.0], 7.0),
                ([-14.0, 4.0, 48.0], 7.0),
                ([-40.0, 20.0, 40.0], 7.0),
            ]),
            hollow: vec![stomach],
        };
        organs.with_bowel(&mut random)
    }

    fn with_bowel(mut self, random: &mut Random) -> Self {
        for _ in 0..22 {
            let centre = [
                random.uniform(-92.0, 92.0),
                random.uniform(-5.0, 62.0),
                random.uniform(-190.0, -58.0),
            ];
            let radii = [0; 3].map(|_| random.uniform(13.0, 24.0));
            let gas_above_y = centre[1] + random.uniform(-4.0, 40.0);
            let outside = Solid::ellipsoid(centre, radii);
            self.hollow.push(Hollow { outside, wall_mm: 3.0, gas_above_y });
        }
        self
    }

    /// Signed distance to what the liver makes room for.
    pub(super) fn liver_neighbours_distance(&self, point: [f64; 3]) -> f64 {
        let kidney = self.kidneys[0].outside.distance(point) - 3.0;
        kidney.min(self.gallbladder.distance(point) - 1.0)
    }

    /// Paints everything below the liver in the order of overlap.
    pub(super) fn paint(&self, paint: &mut Paint, point: [f64; 3], abdomen: f64) {
        for hollow in self.hollow.iter().rev() {
            let outside = hollow.outside.distance(point);
            if outside < 3.0 {
                let outside = outside.max(abdomen);
                paint.solid(outside, Tissue::GutWall);
                let inside = outside + hollow.wall_mm;
                paint.solid(inside, Tissue::GutFluid);
                paint.solid(inside.max(hollow.gas_above_y - point[1]), Tissue::Gas);
            }
        }
        paint.solid(self.heart.distance(point).max(3.0 - abdomen), Tissue::Heart);
        paint.solid(self.oesophagus.distance(point), Tissue::Muscle);
        paint.solid(self.pancreas.distance(point), Tissue::Pancreas);
        paint.solid(self.spleen.distance(point).max(abdomen + 1.0), Tissue::Spleen);
        for kidney in &self.kidneys {
            let outside = kidney.outside.distance(point);
            if outside < 3.0 {
                paint.solid(outside, Tissue::KidneyCortex);
                paint.solid(outside + 8.0, Tissue::KidneyMedulla);
                paint.solid(kidney.pelvis.distance(point), Tissue::Fat);
            }
        }
        let gallbladder = self.gallbladder.distance(point);
        paint.solid(gallbladder, Tissue::GutWall);
        paint.solid(gallbladder + 1.5, Tissue::Bile);
    }
}

/// The liver as two lobes and a cut, before it makes room for its neighbours.
#[derive(Debug, Clone)]
pub(super) struct Liver {
    right: [[f64; 3]; 2],
    left: [[f64; 3]; 2],
    /// A point on the visceral surface.
    cut: [f64; 3],
    /// How much the lobes are blown up to reach the volume asked for.
    pub(super) inflate_mm: f64,
    /// The volume asked for.
    pub(super) target_ml: f64,
}

/// Direction out of the visceral surface: down, left and back.
const VISCERAL: [f64; 3] = [-0.52, -0.16, -0.839];

impl Liver {
    /// Draws sizes; the volume is between 1250 and 1600 ml.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, 0x11fe);
        let mut jitter = |value: [f64; 3], mm: f64| value.map(|v| v + random.uniform(-mm, mm));
        let right = [jitter([66.0, -2.0, 0.0], 3.0), jitter([58.0, 72.0, 76.0], 3.0)];
        let left = [jitter([0.0, 42.0, 24.0], 4.0), jitter([70.0, 32.0, 36.0], 4.0)];
        let cut = jitter([20.0, 0.0, -34.0], 4.0);
        Self { right, left, cut, inflate_mm: 0.0, target_ml: random.uniform(1250.0, 1600.0) }
    }

    /// Signed distance to the lobes.
    pub(super) fn distance(&self, point: [f64; 3]) -> f64 {
        let right = ellipsoid_distance(point, self.right[0], self.right[1]);
        let left = ellipsoid_distance(point, self.left[0], self.left[1]);
        let lobes = smooth_union(right, left, 18.0) - self.inflate_mm;
        smooth_intersection(lobes, dot(subtract(point, self.cut), VISCERAL), 24.0)
    }
}
