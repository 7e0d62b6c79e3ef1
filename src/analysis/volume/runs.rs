//! Connected components of a set of voxels, as runs along x. Memory follows the outline of the set,
//! not the size of the scan: a liver of two million voxels is some forty thousand runs.

use ndarray::{ArrayView3, Axis};

use super::VoxelBox;

/// Consecutive voxels of one row that belong to one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Slice.
    pub z: usize,
    /// Row.
    pub y: usize,
    /// First voxel.
    pub start: usize,
    /// One past the last voxel.
    pub end: usize,
}

impl Run {
    /// Voxels in the run.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// The box of its voxels.
    pub fn bounds(&self) -> VoxelBox {
        let (z, y) = (self.z, self.y);
        VoxelBox { start: [z, y, self.start], end: [z + 1, y + 1, self.end] }
    }

    /// Never: a run holds at least one voxel.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// The 26-connected components of the voxels for which `belongs` holds, each as its runs in
/// `[z, y, x]` order; components in the order of their first voxel.
pub fn components(labels: ArrayView3<'_, u8>, belongs: impl Fn(u8) -> bool) -> Vec<Vec<Run>> {
    let (runs, row_starts) = runs(labels, belongs);
    let rows = labels.dim().1;
    let mut parents: Vec<usize> = (0..runs.len()).collect();
    for (n, run) in runs.iter().enumerate() {
        // The rows before this one that touch it: y−1 in this slice, y−1..=y+1 in the one below.
        let same_slice = (run.y > 0).then(|| run.z * rows + run.y - 1);
        let below = (run.z > 0).then(|| {
            let low = run.y.saturating_sub(1);
            let high = (run.y + 1).min(rows - 1);
            (low..=high).map(move |y| (run.z - 1) * rows + y)
        });
        for row in same_slice.into_iter().chain(below.into_iter().flatten()) {
            let neighbours = row_starts[row]..row_starts[row + 1];
            let first = runs[neighbours.clone()].partition_point(|r| r.end < run.start);
            for other in neighbours.skip(first) {
                if runs[other].start > run.end {
                    break;
                }
                union(&mut parents, n, other);
            }
        }
    }
    collect(runs, parents)
}

/// Every run, and where each row's runs start (one entry more than there are rows).
fn runs(labels: ArrayView3<'_, u8>, belongs: impl Fn(u8) -> bool) -> (Vec<Run>, Vec<usize>) {
    let mut runs = Vec::new();
    let mut row_starts = vec![0];
    for (z, slice) in labels.axis_iter(Axis(0)).enumerate() {
        for (y, row) in slice.axis_iter(Axis(0)).enumerate() {
            let mut start = None;
            for (x, &label) in row.iter().enumerate() {
                match (belongs(label), start) {
                    (true, None) => start = Some(x),
                    (false, Some(first)) => {
                        runs.push(Run { z, y, start: first, end: x });
                        start = None;
                    }
                    _ => {}
                }
            }
            if let Some(first) = start {
                runs.push(Run { z, y, start: first, end: row.len() });
            }
            row_starts.push(runs.len());
        }
    }
    (runs, row_starts)
}

fn root(parents: &mut [usize], mut n: usize) -> usize {
    while parents[n] != n {
        parents[n] = parents[parents[n]];
        n = parents[n];
    }
    n
}

/// The earlier root wins, so that a component is named by its first run.
fn union(parents: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b)] = a.min(b);
}

fn collect(runs: Vec<Run>, mut parents: Vec<usize>) -> Vec<Vec<Run>> {
    let mut components: Vec<Vec<Run>> = Vec::new();
    let mut index = vec![usize::MAX; runs.len()];
    for (n, run) in runs.into_iter().enumerate() {
        let root = root(&mut parents, n);
        if root == n {
            index[n] = components.len();
            components.push(Vec::new());
        }
        components[index[root]].push(run);
    }
    components
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use proptest::prelude::*;

    use super::*;

    /// Slow and obvious: spread each label to the 26 neighbours until nothing changes.
    fn reference(labels: &Array3<u8>) -> Array3<usize> {
        let mut names = Array3::zeros(labels.dim());
        for (n, (name, &label)) in names.iter_mut().zip(labels).enumerate() {
            *name = if label > 0 { n + 1 } else { 0 };
        }
        loop {
            let before = names.clone();
            for ((z, y, x), name) in names.indexed_iter_mut().filter(|(_, name)| **name > 0) {
                for ((oz, oy, ox), &other) in before.indexed_iter() {
                    let near = oz.abs_diff(z) <= 1 && oy.abs_diff(y) <= 1 && ox.abs_diff(x) <= 1;
                    if near && other > 0 {
                        *name = (*name).min(other);
                    }
                }
            }
            if names == before {
                return names;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_spreading(bits in prop::collection::vec(0u8..4, 4 * 5 * 6)) {
            // One voxel in four set: many components that nearly touch.
            let set = bits.into_iter().map(|b| u8::from(b == 0)).collect();
            let labels = Array3::from_shape_vec((4, 5, 6), set).unwrap();
            let mut painted = Array3::zeros(labels.dim());
            for runs in components(labels.view(), |label| label > 0) {
                let first = (runs[0].z * 5 + runs[0].y) * 6 + runs[0].start + 1;
                for run in runs {
                    for x in run.start..run.end {
                        painted[[run.z, run.y, x]] = first;
                    }
                }
            }
            prop_assert_eq!(painted, reference(&labels));
        }
    }
}
