//! Aorta, caval vein, portal and hepatic veins.

use super::anatomy::{Paint, Tissue};
use super::random::Random;
use super::shape::{Solid, add};

/// The large vessels and the trees inside the liver.
#[derive(Debug, Clone)]
pub(super) struct Vessels {
    aorta: Vec<Solid>,
    cava: Solid,
    portal: Vec<Solid>,
    hepatic: Vec<Solid>,
}

/// Where the hepatic veins meet the caval vein.
const CONFLUENCE: [f64; 3] = [24.0, -18.0, 50.0];
/// Where the portal vein enters the liver.
const HILUM: [f64; 3] = [30.0, 8.0, 2.0];

impl Vessels {
    /// Draws the trees.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, 0x7e55);
        let radius = random.uniform(10.0, 12.0);
        let aorta = vec![
            Solid::tube(&[([-13.0, -17.0, -400.0], radius), ([-13.0, -19.0, 400.0], radius)]),
            Solid::tube(&[
                ([-13.0, -12.0, 8.0], 4.0),
                ([-6.0, 6.0, 6.0], 3.5),
                ([18.0, 10.0, 2.0], 2.5),
            ]),
            Solid::tube(&[
                ([-13.0, -12.0, -8.0], 4.0),
                ([-11.0, 6.0, -30.0], 3.5),
                ([-8.0, 10.0, -90.0], 3.0),
            ]),
        ];
        let cava = Solid::tube(&[
            ([19.0, -17.0, -400.0], 10.5),
            ([20.0, -17.0, 0.0], 11.5),
            ([24.0, -16.0, 60.0], 12.5),
            ([18.0, -2.0, 110.0], 12.5),
        ]);
        let mut portal = vec![
            Solid::tube(&[([2.0, 4.0, -40.0], 6.0), ([8.0, 6.0, -22.0], 7.0), (HILUM, 6.5)]),
            Solid::tube(&[
                ([-90.0, -25.0, 10.0], 3.5),
                ([-40.0, -5.0, -12.0], 4.0),
                ([5.0, 5.0, -26.0], 5.0),
            ]),
        ];
        let right = add([64.0, -2.0, 4.0], random.offset().map(|v| v * 5.0));
        let left = add([6.0, 38.0, 18.0], random.offset().map(|v| v * 5.0));
        portal.push(Solid::tube(&[(HILUM, 6.0), (right, 5.0)]));
        portal.push(Solid::tube(&[(HILUM, 5.0), (left, 4.0)]));
        for end in
            [[82.0, 38.0, 32.0], [90.0, 30.0, -28.0], [86.0, -40.0, 30.0], [84.0, -38.0, -28.0]]
        {
            portal.push(branch(&mut random, right, end, 3.8));
        }
        for end in [[-30.0, 44.0, 28.0], [12.0, 62.0, 2.0]] {
            portal.push(branch(&mut random, left, end, 3.0));
        }
        let hepatic =
            [[92.0, -18.0, -8.0], [58.0, 52.0, 12.0], [-18.0, 50.0, 36.0], [74.0, 22.0, 44.0]]
                .map(|end| branch(&mut random, CONFLUENCE, end, 4.5));
        Self { aorta, cava, portal, hepatic: hepatic.into() }
    }

    /// Signed distance to the caval vein: the liver lies round it.
    pub(super) fn cava_distance(&self, point: [f64; 3]) -> f64 {
        self.cava.distance(point)
    }

    /// Veins inside the liver, where `liver` is the signed distance to it.
    pub(super) fn paint_in_liver(&self, paint: &mut Paint, point: [f64; 3], liver: f64) {
        for vein in &self.hepatic {
            paint.within_liver(vein.distance(point).max(liver + 3.0), Tissue::HepaticVein);
        }
        for vein in &self.portal[2..] {
            paint.within_liver(vein.distance(point).max(liver + 3.0), Tissue::PortalVein);
        }
    }

    /// Vessels outside the liver.
    pub(super) fn paint_trunks(&self, paint: &mut Paint, point: [f64; 3]) {
        for vein in &self.portal[..2] {
            paint.solid(vein.distance(point), Tissue::PortalVein);
        }
        paint.solid(self.cava.distance(point), Tissue::VenaCava);
        for artery in &self.aorta {
            paint.solid(artery.distance(point), Tissue::Aorta);
        }
    }
}

/// A vessel that narrows and wanders a little on its way.
fn branch(random: &mut Random, from: [f64; 3], to: [f64; 3], radius: f64) -> Solid {
    let mut points = vec![(from, radius)];
    for (t, narrowing) in [(0.35, 0.85), (0.7, 0.65), (1.0, 0.4)] {
        let straight = [0, 1, 2].map(|axis| from[axis] + t * (to[axis] - from[axis]));
        points.push((add(straight, random.offset().map(|v| v * 7.0)), radius * narrowing));
    }
    Solid::tube(&points)
}
