//! What contrast medium has done to an image: the aorta's and the liver's density, and which phase
//! that is. Slow blood does not lie: file names and series descriptions sometimes do.
//!
//! The aorta is found without a network: in a window before the spine, a round, even thing brighter
//! than what surrounds it, at nearly the same place in slice after slice. Blood without contrast
//! medium is no brighter than muscle, so no aorta is found there.

mod discs;

use std::fmt;

use ndarray::Zip;

use super::gate::GateReason;
use super::threads::each;
use super::volume::{HuVolume, LIVER, Mask, VoxelBox};
use discs::{Disc, Plane};

/// Slices that are looked at, spread over the liver.
const SLICES: usize = 32;
/// The aorta must be seen in this part of them.
const LEAST_PART_SEEN: f64 = 0.6;
/// From one slice to the next the aorta's centre moves by at most this, plus a part of the distance.
const MOST_STEP_MM: f64 = 6.0;
/// Part of the slices' distance that is added: a tortuous aorta.
const MOST_SLOPE: f64 = 0.4;
/// Slices that may lie between two in which it is seen.
const MOST_SKIPPED: usize = 4;

/// Between the phases the aorta's centre lies apart by at most this, once the livers lie on each other:
/// the vena cava lies further from it.
const MOST_APART_MM: f64 = 20.0;

/// Blood without contrast medium has 30 to 50 HU; an aorta darker than this is not enhanced.
pub const LEAST_ENHANCED_AORTA_HU: f64 = 90.0;
/// Liver without contrast medium has 45 to 65 HU, less when it is fatty. Below this it says nothing
/// for contrast medium.
pub const LEAST_ENHANCED_LIVER_HU: f64 = 75.0;
/// From the arterial to the portal venous phase the aorta loses at least this.
pub const LEAST_AORTA_DROP_HU: f64 = 30.0;
/// And the liver, which gains, loses no more than this.
pub const MOST_LIVER_DROP_HU: f64 = 10.0;

/// Density of the great vessel and of the liver in one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Enhancement {
    /// Mean of the aorta; `None` when nothing like an enhanced aorta is there.
    pub aorta_hu: Option<f64>,
    /// Mean of the liver without tumour.
    pub liver_hu: f64,
}

impl fmt::Display for Enhancement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.aorta_hu {
            Some(aorta) => write!(f, "aorta {aorta:.0} HU, liver {:.0} HU", self.liver_hu),
            None => write!(f, "no bright aorta, liver {:.0} HU", self.liver_hu),
        }
    }
}

/// What one image shows by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// No contrast medium.
    NonContrast,
    /// A bright aorta beside a liver that is hardly enhanced.
    Arterial,
    /// An enhanced liver and a fading aorta.
    Portal,
    /// Both faded.
    Delayed,
}

impl Enhancement {
    /// The phase, where the densities leave no doubt. The ranges leave gaps on purpose: an aorta of
    /// 200 to 400 HU is arterial, 130 to 180 HU portal venous, below 110 HU delayed.
    pub fn shows(&self) -> Option<Shown> {
        let enhanced_liver = self.liver_hu >= LEAST_ENHANCED_LIVER_HU;
        let Some(aorta) = self.aorta_hu.filter(|hu| *hu >= LEAST_ENHANCED_AORTA_HU) else {
            return (!enhanced_liver).then_some(Shown::NonContrast);
        };
        let above_liver = aorta - self.liver_hu;
        if aorta >= 200.0 && above_liver >= 110.0 {
            Some(Shown::Arterial)
        } else if (125.0..=220.0).contains(&aorta) && enhanced_liver && above_liver <= 100.0 {
            Some(Shown::Portal)
        } else if aorta <= 110.0 && enhanced_liver {
            Some(Shown::Delayed)
        } else {
            None
        }
    }

    fn has_contrast(&self) -> bool {
        self.aorta_hu.is_some_and(|hu| hu >= LEAST_ENHANCED_AORTA_HU)
    }
}

/// Why two images cannot be the arterial and the portal venous phase; `None` when they can.
pub fn against_phases(arterial: &Enhancement, portal: &Enhancement) -> Option<GateReason> {
    let (Some(early), Some(late)) = (arterial.aorta_hu, portal.aorta_hu) else {
        let dark = |image: &Enhancement| image.liver_hu < LEAST_ENHANCED_LIVER_HU;
        return Some(if dark(arterial) && dark(portal) {
            GateReason::NotContrastEnhanced
        } else {
            GateReason::PhaseUnclear
        });
    };
    if !arterial.has_contrast() || !portal.has_contrast() {
        return Some(GateReason::NotContrastEnhanced);
    }
    let (drop, liver_drop) = (early - late, arterial.liver_hu - portal.liver_hu);
    if drop <= -LEAST_AORTA_DROP_HU && liver_drop >= -MOST_LIVER_DROP_HU {
        return Some(GateReason::PhasesSwapped);
    }
    // Each must also look like its phase by itself: a portal venous and a delayed image fade too.
    let other_than = |image: &Enhancement, phase| image.shows().is_some_and(|shown| shown != phase);
    let unclear = drop < LEAST_AORTA_DROP_HU
        || liver_drop > MOST_LIVER_DROP_HU
        || other_than(arterial, Shown::Arterial)
        || other_than(portal, Shown::Portal);
    unclear.then_some(GateReason::PhaseUnclear)
}

/// Why an image by itself cannot be the portal venous phase.
pub fn against_portal(portal: &Enhancement) -> Option<GateReason> {
    match portal.shows() {
        Some(Shown::NonContrast) => Some(GateReason::NotContrastEnhanced),
        Some(Shown::Arterial | Shown::Delayed) => Some(GateReason::PhaseUnclear),
        Some(Shown::Portal) | None => None,
    }
}

/// Where the aorta is, slice by slice.
#[derive(Debug, Clone, PartialEq)]
pub struct Aorta {
    places: Vec<Place>,
    /// Mean density, HU.
    pub hu: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    slice: usize,
    disc: Disc,
}

impl Aorta {
    /// Looks for the aorta at the height of `liver`, slice by slice on up to `threads` threads.
    pub fn find(volume: &HuVolume, liver: VoxelBox, threads: usize) -> Option<Self> {
        let slices = spread(liver.start[0], liver.end[0]);
        let [slice_mm, ..] = volume.geometry.spacing.zyx();
        let seen: Vec<Vec<Place>> = each(threads, &slices, |&slice| {
            let plane = Plane::of(volume, slice);
            let discs = plane.map(|plane| plane.discs()).unwrap_or_default();
            discs.into_iter().map(|disc| Place { slice, disc }).collect()
        });
        let places = longest_chain(&seen, slice_mm);
        let enough =
            !places.is_empty() && places.len() as f64 >= LEAST_PART_SEEN * slices.len() as f64;
        enough.then(|| {
            let hu = median(places.iter().map(|place| place.disc.hu).collect());
            Self { places, hu }
        })
    }

    /// True when both are one vessel: their middles in the slices in which both are seen.
    fn is_near(&self, other: &Self) -> bool {
        let apart_mm = self.places.iter().filter_map(|place| {
            let same = other.places.iter().find(|other| other.slice == place.slice)?;
            Some(place.disc.distance_mm(&same.disc))
        });
        // Without a slice in common the median is no number, and nothing is near.
        median(apart_mm.collect()) <= MOST_APART_MM
    }

    /// Density at the same places of another volume on the same grid.
    pub fn hu_in(&self, other: &HuVolume) -> f64 {
        median(
            self.places
                .iter()
                .map(|place| discs::mean_within(other, place.slice, &place.disc))
                .collect(),
        )
    }
}

/// The aorta's density in both phases, which lie on one grid. It is looked for in each. Where it is
/// found in both at nearly one place, each is measured where it was found: the phases lie on each other
/// by their livers, and the aorta does not move with those. Else the brighter one's places are measured
/// in both, because it is found where it is bright.
pub fn aorta_in_both(
    arterial: &HuVolume,
    portal: &HuVolume,
    liver: VoxelBox,
    threads: usize,
) -> Option<[f64; 2]> {
    let found = [arterial, portal].map(|image| Aorta::find(image, liver, threads));
    if let [Some(early), Some(late)] = &found
        && early.is_near(late)
    {
        return Some([early.hu, late.hu]);
    }
    let brighter = found.into_iter().flatten().max_by(|a, b| a.hu.total_cmp(&b.hu))?;
    Some([brighter.hu_in(arterial), brighter.hu_in(portal)])
}

/// Mean density of liver without tumour; `None` without liver.
pub fn liver_mean_hu(volume: &HuVolume, mask: &Mask) -> Option<f64> {
    let (mut voxels, mut sum) = (0u64, 0i64);
    Zip::from(&volume.hu).and(&mask.labels).for_each(|&hu, &label| {
        if label == LIVER {
            voxels += 1;
            sum += i64::from(hu);
        }
    });
    (voxels > 0).then(|| sum as f64 / voxels as f64)
}

/// At most [`SLICES`] slices, evenly spread.
fn spread(start: usize, end: usize) -> Vec<usize> {
    let count = end.saturating_sub(start);
    let looked_at = count.min(SLICES);
    (0..looked_at).map(|n| start + (2 * n + 1) * count / (2 * looked_at)).collect()
}

/// The longest series of places that follow each other; of equally long ones the brightest.
fn longest_chain(seen: &[Vec<Place>], slice_mm: f64) -> Vec<Place> {
    /// How a chain that ends here got here: its length, its brightness, and the place before.
    #[derive(Clone, Copy)]
    struct Link {
        length: usize,
        hu: f64,
        before: Option<(usize, usize)>,
    }
    let better = |a: &Link, b: &Link| a.length.cmp(&b.length).then(a.hu.total_cmp(&b.hu));
    let mut links: Vec<Vec<Link>> = Vec::with_capacity(seen.len());
    for (n, places) in seen.iter().enumerate() {
        let earlier = n.saturating_sub(1 + MOST_SKIPPED)..n;
        let link = |place: &Place| {
            let reach = |at: (usize, usize)| {
                let before = &seen[at.0][at.1];
                let distance_mm = (place.slice - before.slice) as f64 * slice_mm;
                let step = place.disc.distance_mm(&before.disc);
                step <= MOST_STEP_MM + MOST_SLOPE * distance_mm
            };
            let candidates = earlier.clone().flat_map(|m| (0..seen[m].len()).map(move |k| (m, k)));
            let longer = candidates.filter(|at| reach(*at)).map(|at| {
                let Link { length, hu, .. } = links[at.0][at.1];
                Link { length: length + 1, hu: hu + place.disc.hu, before: Some(at) }
            });
            let alone = Link { length: 1, hu: place.disc.hu, before: None };
            longer.chain([alone]).max_by(better).unwrap_or(alone)
        };
        let row = places.iter().map(link).collect();
        links.push(row);
    }
    let ends = links.iter().enumerate();
    let ends =
        ends.flat_map(|(n, row)| row.iter().enumerate().map(move |(k, link)| ((n, k), link)));
    let mut at = ends.max_by(|(_, a), (_, b)| better(a, b)).map(|(at, _)| at);
    let mut chain = Vec::new();
    while let Some((n, k)) = at {
        chain.push(seen[n][k]);
        at = links[n][k].before;
    }
    chain.reverse();
    chain
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests;
