//! Where the liver of the arterial phase lies against that of the portal venous phase: the patient
//! breathed in between. Three numbers, because a breath moves the liver far more than it turns it.
//!
//! The phases are compared round the liver alone, by normalised cross-correlation of clipped
//! densities on a regular lattice: spine and ribs stay where they are when a patient breathes, and
//! would hide what the liver did. The liver against lung, fat and bowel is the same edge in both
//! phases, however bright its vessels are. The best whole step is looked for at 8 mm in all of the
//! range, followed to 4 and 2 mm, and the place between two steps is the top of a parabola.
//!
//! Sums are whole numbers, so that neither the machine nor the number of threads changes a bit of
//! what comes out. Memory is bounded by a number of points.

mod lattice;

use std::ops::Range;

use ndarray::Array3;

use super::threads::each;
use super::volume::{BACKGROUND, HuVolume, Mask, VoxelBox};
use lattice::{HIGHEST, Lattice, halved, row};

/// Distance of the points of the finest lattice, millimetres; doubled as often as it takes to stay
/// within [`MOST_POINTS`].
const STEP_MM: f64 = 2.0;
/// Points of the arterial lattice, at most: 32 MiB. A liver has two to four millions.
const MOST_POINTS: usize = 16 << 20;
/// The lattices: every point, every second, every fourth.
const LEVELS: usize = 3;
/// Points of the finest lattice to a cell of the coarsest, along an axis.
const CELL: usize = 1 << (LEVELS - 1);
/// Steps of the coarsest lattice that are tried to each side: 32 mm, half as much again as what is
/// corrected, so that what lies beyond the limit is seen to lie there.
const REACH: usize = 4;
/// Points whose sums fit 32 bits.
const PART: usize = i32::MAX as usize / (HIGHEST as usize * HIGHEST as usize);
/// Moves from one whole step to the next on a finer lattice, at most.
const MOST_MOVES: usize = 8;

/// Where the arterial phase lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    /// What lies at `p` in the portal venous phase lies at `p + shift_mm` in the arterial one: RAS+
    /// millimetres `[x, y, z]`.
    pub shift_mm: [f64; 3],
    /// Correlation of the phases round the liver at the best whole step, −1..=1.
    pub similarity: f64,
}

impl Alignment {
    /// Length of the shift, millimetres.
    pub fn distance_mm(&self) -> f64 {
        self.shift_mm.iter().map(|mm| mm * mm).sum::<f64>().sqrt()
    }
}

/// Estimates how the liver lies in `arterial`, which may be on any grid, against `portal`, on whose
/// grid `mask` lies. `None` without liver, or where the arterial phase shows too little of it, or
/// nothing but one density.
pub fn register(
    arterial: &HuVolume,
    portal: &HuVolume,
    mask: &Mask,
    threads: usize,
) -> Option<Alignment> {
    let liver = VoxelBox::of_voxels(mask.labels.view(), |label| label != BACKGROUND)?;
    let mut step_mm = STEP_MM;
    let mut lattice = Lattice::round(portal, liver, step_mm);
    while lattice.points_with(REACH * CELL) > MOST_POINTS {
        step_mm *= 2.0;
        lattice = Lattice::round(portal, liver, step_mm);
    }
    let fixed = lattice.near_liver(portal, mask, threads);
    let moving = lattice.wider(REACH * CELL).sampled(arterial, portal, threads);
    let mut fixed = vec![fixed];
    let mut moving = vec![moving];
    for level in 1..LEVELS {
        fixed.push(halved(&fixed[level - 1], threads));
        moving.push(halved(&moving[level - 1], threads));
    }
    let pair = |level: usize| Pair::new(&fixed[level], &moving[level], threads);
    let mut best = pair(LEVELS - 1).best_of(&cube(REACH as isize))?;
    for level in (0..LEVELS - 1).rev() {
        best = pair(level).climbed(best.shift.map(|step| 2 * step))?;
    }
    let steps = pair(0).between_steps(&best);
    let spacing = portal.geometry.spacing.zyx();
    let along = [0, 1, 2].map(|axis| steps[axis] * step_mm / spacing[axis]);
    let [from, to] = [[0.0; 3], along].map(|at| portal.geometry.to_world(at));
    Some(Alignment { shift_mm: [0, 1, 2].map(|n| to[n] - from[n]), similarity: best.correlation })
}

/// A whole step on a lattice and how well the phases agree there.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    shift: [isize; 3],
    correlation: f64,
}

/// All steps of at most `reach` along each axis.
fn cube(reach: isize) -> Vec<[isize; 3]> {
    let side = || -reach..=reach;
    side().flat_map(|z| side().flat_map(move |y| side().map(move |x| [z, y, x]))).collect()
}

/// A step, and the six next to it.
fn around(centre: [isize; 3]) -> Vec<[isize; 3]> {
    let beside = [0, 1, 2].into_iter().flat_map(|axis| {
        [-1, 1].map(|side| {
            let mut shift = centre;
            shift[axis] += side;
            shift
        })
    });
    [centre].into_iter().chain(beside).collect()
}

/// Both phases on lattices of one step; the moving one is wider by the same margin on every side.
struct Pair<'a> {
    fixed: &'a Array3<i16>,
    moving: &'a Array3<i16>,
    spans: Vec<Span>,
    threads: usize,
}

/// The part of a row in which points count.
struct Span {
    z: usize,
    y: usize,
    columns: Range<usize>,
}

impl<'a> Pair<'a> {
    fn new(fixed: &'a Array3<i16>, moving: &'a Array3<i16>, threads: usize) -> Self {
        let (depth, height, _) = fixed.dim();
        let span = |(z, y)| {
            let counts = |value: &i16| *value >= 0;
            let row = row(fixed, z, y);
            let (first, last) = row.iter().position(counts).zip(row.iter().rposition(counts))?;
            Some(Span { z, y, columns: first..last + 1 })
        };
        let rows = (0..depth).flat_map(|z| (0..height).map(move |y| (z, y)));
        Self { fixed, moving, spans: rows.filter_map(span).collect(), threads }
    }

    fn margin(&self) -> isize {
        ((self.moving.dim().0 - self.fixed.dim().0) / 2) as isize
    }

    /// The best of these steps, the first of equals; `None` where none has enough to compare.
    fn best_of(&self, shifts: &[[isize; 3]]) -> Option<Candidate> {
        let correlations = each(self.threads, shifts, |shift| self.correlation(*shift));
        let candidates = shifts.iter().zip(correlations);
        candidates
            .filter_map(|(&shift, c)| Some(Candidate { shift, correlation: c? }))
            .reduce(|best, next| if next.correlation > best.correlation { next } else { best })
    }

    /// From a step to the best of those round it, until none is better.
    fn climbed(&self, start: [isize; 3]) -> Option<Candidate> {
        let mut best = self.best_of(&around(start))?;
        let mut centre = start;
        for _ in 1..MOST_MOVES {
            if best.shift == centre {
                break;
            }
            centre = best.shift;
            best = self.best_of(&around(centre))?;
        }
        Some(best)
    }

    /// The top of the parabola through the best step and its two neighbours, along each axis.
    fn between_steps(&self, best: &Candidate) -> [f64; 3] {
        [0, 1, 2].map(|axis| {
            let beside = |side: isize| {
                let mut shift = best.shift;
                shift[axis] += side;
                self.correlation(shift)
            };
            let whole = best.shift[axis] as f64;
            let (Some(before), Some(after)) = (beside(-1), beside(1)) else { return whole };
            let bend = before - 2.0 * best.correlation + after;
            if bend >= 0.0 {
                return whole;
            }
            whole + ((before - after) / (2.0 * bend)).clamp(-0.5, 0.5)
        })
    }

    /// Correlation with the moving phase so many steps on; `None` where less than half of the points
    /// have a partner, or one phase is all of one density.
    fn correlation(&self, shift: [isize; 3]) -> Option<f64> {
        let margin = self.margin();
        if shift.iter().any(|step| step.abs() > margin) {
            return None;
        }
        let start = shift.map(|step| (step + margin) as usize);
        let mut sums = Sums::default();
        for Span { z, y, columns } in &self.spans {
            let moving = row(self.moving, z + start[0], y + start[1]);
            let partners = columns.start + start[2]..columns.end + start[2];
            sums.add(&row(self.fixed, *z, *y)[columns.clone()], &moving[partners]);
        }
        sums.correlation()
    }
}

/// Sums over the points that have a value in both phases.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    wanted: i64,
    points: i64,
    fixed: i64,
    moving: i64,
    fixed_squares: i64,
    moving_squares: i64,
    products: i64,
}

impl Sums {
    /// Adds one row, a part at a time: the sums of a part fit 32 bits, in which vector instructions
    /// add.
    fn add(&mut self, fixed: &[i16], moving: &[i16]) {
        for (fixed, moving) in fixed.chunks(PART).zip(moving.chunks(PART)) {
            let mut row = [0i32; 7];
            for (&f, &m) in fixed.iter().zip(moving) {
                let there = i16::from(f >= 0);
                let both = there & i16::from(m >= 0);
                let (f, m) = (f * both, m * both);
                row[0] += i32::from(there);
                row[1] += i32::from(both);
                row[2] += i32::from(f);
                row[3] += i32::from(m);
                row[4] += i32::from(f) * i32::from(f);
                row[5] += i32::from(m) * i32::from(m);
                row[6] += i32::from(f) * i32::from(m);
            }
            let row = row.map(i64::from);
            self.wanted += row[0];
            self.points += row[1];
            self.fixed += row[2];
            self.moving += row[3];
            self.fixed_squares += row[4];
            self.moving_squares += row[5];
            self.products += row[6];
        }
    }

    fn correlation(&self) -> Option<f64> {
        if self.points == 0 || 2 * self.points < self.wanted {
            return None;
        }
        let n = i128::from(self.points);
        let spread = |sum: i64, squares: i64| n * i128::from(squares) - i128::from(sum).pow(2);
        let [fixed, moving] =
            [spread(self.fixed, self.fixed_squares), spread(self.moving, self.moving_squares)];
        let common =
            n * i128::from(self.products) - i128::from(self.fixed) * i128::from(self.moving);
        (fixed > 0 && moving > 0)
            .then(|| common as f64 / ((fixed as f64).sqrt() * (moving as f64).sqrt()))
    }
}

#[cfg(test)]
mod tests;
