//! Round, even, bright things in one axial slice, in the window in which the aorta lies.

use ndarray::{Array2, ArrayView2, s};

use crate::analysis::volume::HuVolume;

/// The aorta's centre lies within this of the body's midline, in millimetres.
const HALF_WIDTH_MM: f64 = 48.0;
/// And so far before the skin of the back.
const FROM_BACK_MM: std::ops::Range<f64> = 40.0..165.0;
/// Pixels are averaged to about this size, which takes off noise.
const PIXEL_MM: f64 = 1.5;
/// Denser than this is body.
const BODY_HU: i16 = -300;
/// The densities at which things are cut out of what surrounds them.
const THRESHOLDS: [f32; 8] = [85.0, 100.0, 115.0, 130.0, 150.0, 175.0, 210.0, 260.0];
/// Thinner branches are cut off: the coeliac trunk and its like, up to twice this, in millimetres.
const OPENED_BY_MM: f64 = 4.5;
/// Area of the aorta at the height of the liver, square millimetres: diameters of 13 to 42 mm, less
/// its blurred rim.
const AREA_MM2: std::ops::RangeInclusive<f64> = 110.0..=1400.0;
/// The longer side over the shorter one.
const MOST_ASPECT: f64 = 1.5;
/// Part of its bounding box that a disc fills: 0.785, and more or less with few pixels.
const FILL: std::ops::RangeInclusive<f64> = 0.58..=0.95;
/// The inner part of a disc that is measured: its rim is mixed with what surrounds it.
const INNER: f64 = 0.65;
/// Standard deviation within the inner part, HU, or this part of its mean: blood is even, a vertebra
/// or a kidney is not.
const MOST_SD_HU: f64 = 28.0;
const MOST_SD_PART: f64 = 0.14;
/// A disc is so much brighter than the ring round it, HU.
const LEAST_ABOVE_RING_HU: f64 = 25.0;
/// Discs of one slice, at most.
const MOST_DISCS: usize = 24;

/// A round thing in a slice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Disc {
    /// Centre from the volume's first row and column, millimetres.
    pub(super) centre_mm: [f64; 2],
    /// Radius of a circle of its area, millimetres.
    pub(super) radius_mm: f64,
    /// Mean of its inner part, HU.
    pub(super) hu: f64,
}

impl Disc {
    /// Distance of the centres within the plane, millimetres.
    pub(super) fn distance_mm(&self, other: &Self) -> f64 {
        let [y, x] = [0, 1].map(|axis| self.centre_mm[axis] - other.centre_mm[axis]);
        y.hypot(x)
    }
}

/// Mean of a disc's inner part in a slice of `volume`, HU.
pub(super) fn mean_within(volume: &HuVolume, slice: usize, disc: &Disc) -> f64 {
    let [_, y_mm, x_mm] = volume.geometry.spacing.zyx();
    let [_, rows, columns] = volume.geometry.shape;
    let radius = disc.radius_mm * INNER;
    let range = |centre: f64, step: f64, size: usize| {
        let low = ((centre - radius) / step).floor().max(0.0) as usize;
        let high = ((centre + radius) / step).ceil().max(0.0) as usize;
        low..(high + 1).min(size)
    };
    let [cy, cx] = disc.centre_mm;
    let (mut sum, mut count) = (0.0, 0u32);
    for y in range(cy, y_mm, rows) {
        for x in range(cx, x_mm, columns) {
            let inside = (y as f64 * y_mm - cy).hypot(x as f64 * x_mm - cx) <= radius;
            // The voxel nearest to the centre counts in any case.
            if inside
                || ((y as f64 * y_mm - cy).abs() <= y_mm / 2.0
                    && (x as f64 * x_mm - cx).abs() <= x_mm / 2.0)
            {
                sum += f64::from(volume.hu[[slice, y, x]]);
                count += 1;
            }
        }
    }
    if count == 0 { f64::NAN } else { sum / f64::from(count) }
}

/// The window of one slice, in averaged pixels.
pub(super) struct Plane {
    hu: Array2<f32>,
    /// Size of a pixel, row and column, millimetres.
    pixel_mm: [f64; 2],
    /// Centre of the first pixel.
    origin_mm: [f64; 2],
}

impl Plane {
    /// Cuts the window out; `None` where there is no body.
    pub(super) fn of(volume: &HuVolume, slice: usize) -> Option<Self> {
        let [_, y_mm, x_mm] = volume.geometry.spacing.zyx();
        let full = volume.hu.index_axis(ndarray::Axis(0), slice);
        let (rows, columns) = full.dim();
        let [back_mm, middle_mm] = back_and_middle_mm(&full, [y_mm, x_mm])?;
        let clamp = |mm: f64, step: f64, size: usize| (mm / step).clamp(0.0, size as f64) as usize;
        let [top, bottom] =
            [FROM_BACK_MM.start, FROM_BACK_MM.end].map(|mm| clamp(back_mm + mm, y_mm, rows));
        let [left, right] =
            [-HALF_WIDTH_MM, HALF_WIDTH_MM].map(|mm| clamp(middle_mm + mm, x_mm, columns));
        let window = full.slice(s![top..bottom, left..right]);
        let block = [y_mm, x_mm].map(|mm| (PIXEL_MM / mm).round().max(1.0) as usize);
        let shape = [window.nrows() / block[0], window.ncols() / block[1]];
        if shape.contains(&0) {
            return None;
        }
        // The mean of one pixel is the pixel.
        let hu = if block == [1, 1] {
            window.mapv(f32::from)
        } else {
            Array2::from_shape_fn(shape, |(y, x)| {
                let [y, x] = [y * block[0], x * block[1]];
                let pixels = window.slice(s![y..y + block[0], x..x + block[1]]);
                pixels.iter().map(|hu| f32::from(*hu)).sum::<f32>() / pixels.len() as f32
            })
        };
        let centre = |start: usize, block: usize, step: f64| {
            (start as f64 + (block as f64 - 1.0) / 2.0) * step
        };
        Some(Self {
            hu,
            pixel_mm: [block[0] as f64 * y_mm, block[1] as f64 * x_mm],
            origin_mm: [centre(top, block[0], y_mm), centre(left, block[1], x_mm)],
        })
    }

    /// Every disc, cut out at any of the thresholds; of those at one place the one that stands out
    /// most.
    pub(super) fn discs(&self) -> Vec<Disc> {
        let mut found: Vec<(f64, Disc)> = Vec::new();
        for threshold in THRESHOLDS {
            for pixels in self.components(threshold) {
                found.extend(self.disc(&pixels));
            }
        }
        found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut discs: Vec<Disc> = Vec::new();
        for (_, disc) in found {
            let apart =
                |other: &Disc| other.distance_mm(&disc) > other.radius_mm.min(disc.radius_mm);
            if discs.len() < MOST_DISCS && discs.iter().all(apart) {
                discs.push(disc);
            }
        }
        discs
    }

    /// Connected pixels at or above a threshold, thin branches cut off.
    fn components(&self, threshold: f32) -> Vec<Vec<[usize; 2]>> {
        components(self.opened(self.hu.mapv(|hu| hu >= threshold)))
    }

    /// Morphological opening by a disc: what a disc of [`OPENED_BY_MM`] within the set can reach.
    fn opened(&self, set: Array2<bool>) -> Array2<bool> {
        let reach = self.pixel_mm.map(|mm| (OPENED_BY_MM / mm) as isize);
        let near = |dy: isize, dx: isize| {
            (dy as f64 * self.pixel_mm[0]).hypot(dx as f64 * self.pixel_mm[1]) <= OPENED_BY_MM
        };
        let rows =
            (-reach[0]..=reach[0]).flat_map(|dy| (-reach[1]..=reach[1]).map(move |dx| (dy, dx)));
        let disc: Vec<(isize, isize)> = rows.filter(|(dy, dx)| near(*dy, *dx)).collect();
        opened(&set, &disc, reach.map(isize::unsigned_abs))
    }

    /// The disc that these pixels are, and by how much it stands out; `None` when they are none.
    fn disc(&self, pixels: &[[usize; 2]]) -> Option<(f64, Disc)> {
        let [y_mm, x_mm] = self.pixel_mm;
        let area = pixels.len() as f64 * y_mm * x_mm;
        if !AREA_MM2.contains(&area) {
            return None;
        }
        let bounds = [0, 1].map(|axis| {
            let along = pixels.iter().map(|pixel| pixel[axis]);
            along.clone().min().zip(along.max()).unwrap_or((0, 0))
        });
        let (rows, columns) = self.hu.dim();
        // What goes on beyond the window is not seen whole.
        if bounds[0].0 == 0
            || bounds[1].0 == 0
            || bounds[0].1 + 1 == rows
            || bounds[1].1 + 1 == columns
        {
            return None;
        }
        let [height, width] =
            [0, 1].map(|a| (bounds[a].1 - bounds[a].0 + 1) as f64 * self.pixel_mm[a]);
        let aspect = (height / width).max(width / height);
        if aspect > MOST_ASPECT || !FILL.contains(&(area / (height * width))) {
            return None;
        }
        let mean = |axis: usize| {
            pixels.iter().map(|pixel| pixel[axis] as f64).sum::<f64>() / pixels.len() as f64
        };
        let centre = [mean(0), mean(1)];
        let radius_mm = (area / std::f64::consts::PI).sqrt();
        let (hu, sd) = self.within(centre, 0.0..INNER * radius_mm)?;
        let (ring, _) = self.within(centre, 1.45 * radius_mm..2.0 * radius_mm)?;
        if sd > MOST_SD_HU.max(MOST_SD_PART * hu) || hu - ring < LEAST_ABOVE_RING_HU {
            return None;
        }
        let centre_mm =
            [0, 1].map(|axis| self.origin_mm[axis] + centre[axis] * self.pixel_mm[axis]);
        Some((hu - ring, Disc { centre_mm, radius_mm, hu }))
    }

    /// Mean and standard deviation of the pixels at a distance from `centre`, which is in pixels.
    fn within(&self, centre: [f64; 2], distance_mm: std::ops::Range<f64>) -> Option<(f64, f64)> {
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        let reach = [0, 1].map(|axis| distance_mm.end / self.pixel_mm[axis]);
        let (rows, columns) = self.hu.dim();
        let range = |axis: usize, size: usize| {
            let low = (centre[axis] - reach[axis]).floor().max(0.0) as usize;
            low..((centre[axis] + reach[axis]).ceil() as usize + 1).min(size)
        };
        for y in range(0, rows) {
            for x in range(1, columns) {
                let [dy, dx] = [y as f64 - centre[0], x as f64 - centre[1]];
                let distance = (dy * self.pixel_mm[0]).hypot(dx * self.pixel_mm[1]);
                if distance_mm.contains(&distance) {
                    let hu = f64::from(self.hu[[y, x]]);
                    count += 1.0;
                    sum += hu;
                    squares += hu * hu;
                }
            }
        }
        let mean = sum / count;
        (count > 0.0).then(|| (mean, (squares / count - mean * mean).max(0.0).sqrt()))
    }
}

/// The union of the places of `disc`, steps `(dy, dx)` of at most `reach`, at which all of it lies
/// within the set. Whole planes are moved against each other, because rows of pixels go fast.
fn opened(set: &Array2<bool>, disc: &[(isize, isize)], reach: [usize; 2]) -> Array2<bool> {
    let (rows, columns) = set.dim();
    let around = (rows + 2 * reach[0], columns + 2 * reach[1]);
    // Nothing beyond the border belongs to the set.
    let mut wide = Array2::from_elem(around, false);
    let moved = |(dy, dx): (isize, isize)| {
        let start = [reach[0].wrapping_add_signed(dy), reach[1].wrapping_add_signed(dx)];
        s![start[0]..start[0] + rows, start[1]..start[1] + columns]
    };
    wide.slice_mut(moved((0, 0))).assign(set);
    let mut fits = set.clone();
    for &step in disc {
        fits.zip_mut_with(&wide.slice(moved(step)), |fits, &inside| *fits &= inside);
    }
    wide.fill(false);
    for &step in disc {
        wide.slice_mut(moved(step)).zip_mut_with(&fits, |reached, &fits| *reached |= fits);
    }
    wide.slice(moved((0, 0))).to_owned()
}

/// Pixels connected through their sides, set by set.
fn components(mut open: Array2<bool>) -> Vec<Vec<[usize; 2]>> {
    let (rows, columns) = open.dim();
    let mut components = Vec::new();
    for start in (0..rows).flat_map(|y| (0..columns).map(move |x| [y, x])) {
        if !std::mem::replace(&mut open[start], false) {
            continue;
        }
        let mut pixels = vec![start];
        let mut next = 0;
        while let Some(&[y, x]) = pixels.get(next) {
            next += 1;
            let around = [[y.wrapping_sub(1), x], [y + 1, x], [y, x.wrapping_sub(1)], [y, x + 1]];
            for at in around {
                if open.get_mut(at).is_some_and(|open| std::mem::replace(open, false)) {
                    pixels.push(at);
                }
            }
        }
        components.push(pixels);
    }
    components
}

/// Where the body's back and its middle are, from the first row and column. The body is the largest
/// connected thing: a table behind it, or an arm beside it, is another one.
fn back_and_middle_mm(slice: &ArrayView2<'_, i16>, pixel_mm: [f64; 2]) -> Option<[f64; 2]> {
    /// Every pixel is more than is needed.
    const COARSE_MM: f64 = 3.0;
    let step = pixel_mm.map(|mm| (COARSE_MM / mm).round().max(1.0) as usize);
    let coarse = slice.slice(s![..;step[0], ..;step[1]]).mapv(|hu| hu > BODY_HU);
    let (rows, columns) = coarse.dim();
    let body = components(coarse).into_iter().max_by_key(Vec::len)?;
    let (mut by_row, mut by_column) = (vec![0; rows], vec![0; columns]);
    for [y, x] in body {
        by_row[y] += 1;
        by_column[x] += 1;
    }
    let widest = *by_row.iter().max()?;
    // A blanket, or a thin table that the back touches, is narrower than the back or a few pixels.
    let back = by_row.iter().position(|&width| width * 4 >= widest)?;
    let middle = weighted_median(&by_column)?;
    Some([(back * step[0]) as f64 * pixel_mm[0], (middle * step[1]) as f64 * pixel_mm[1]])
}

/// The place that has half of the weight on either side; `None` without weight.
fn weighted_median(weights: &[usize]) -> Option<usize> {
    let half = weights.iter().sum::<usize>().div_ceil(2);
    let mut sum = 0;
    let at = weights.iter().position(|weight| {
        sum += weight;
        half > 0 && sum >= half
    });
    at.filter(|_| half > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, one pixel at a time.
    fn reference(set: &Array2<bool>, disc: &[(isize, isize)]) -> Array2<bool> {
        let moved = |(y, x): (usize, usize), (dy, dx): (isize, isize)| {
            [y.wrapping_add_signed(dy), x.wrapping_add_signed(dx)]
        };
        let mut opened = Array2::from_elem(set.dim(), false);
        for (at, _) in set.indexed_iter().filter(|(_, inside)| **inside) {
            if disc.iter().all(|step| set.get(moved(at, *step)) == Some(&true)) {
                disc.iter().for_each(|step| opened[moved(at, *step)] = true);
            }
        }
        opened
    }

    proptest! {
        #[test]
        fn opening_equals_the_definition(
            set in prop::collection::vec(prop::bool::weighted(0.9), 12 * 15),
            reach in [0isize..4, 0isize..4],
        ) {
            let set = Array2::from_shape_vec([12, 15], set).unwrap();
            let [ry, rx] = reach;
            let steps = (-ry..=ry).flat_map(|dy| (-rx..=rx).map(move |dx| (dy, dx)));
            let disc: Vec<_> = steps.filter(|(dy, dx)| dy * dy + dx * dx <= ry * rx).collect();
            let found = opened(&set, &disc, reach.map(isize::unsigned_abs));
            prop_assert_eq!(found, reference(&set, &disc));
        }
    }
}
