//! The order and direction of a file's axes: three letters such as LPS, and the affine they give.

use super::spec::{PhantomError, PhantomSpec};

/// Where the file's axes `i, j, k` point: for each, the patient axis (0 = x, 1 = y, 2 = z) and
/// whether it runs against RAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation {
    axes: [(usize, bool); 3],
}

/// Letters of the patient axes, along and against RAS.
const LETTERS: [[char; 2]; 3] = [['R', 'L'], ['A', 'P'], ['S', 'I']];

impl Orientation {
    /// Axes towards Right, Anterior, Superior: the order in memory.
    pub const RAS: Self = Self { axes: [(0, false), (1, false), (2, false)] };
    /// Axes towards Left, Posterior, Superior: as most scanners' axial slices are stored.
    pub const LPS: Self = Self { axes: [(0, true), (1, true), (2, false)] };

    /// Reads three letters, one of R/L, one of A/P and one of S/I, in the file's order; upper or
    /// lower case.
    pub fn parse(letters: &str) -> Result<Self, PhantomError> {
        let wrong = || PhantomError::Orientation(letters.chars().take(16).collect());
        let mut axes = Vec::with_capacity(3);
        for letter in letters.chars().take(4) {
            let letter = letter.to_ascii_uppercase();
            let axis = LETTERS.iter().position(|pair| pair.contains(&letter)).ok_or_else(wrong)?;
            axes.push((axis, LETTERS[axis][1] == letter));
        }
        let axes: [(usize, bool); 3] = axes.try_into().map_err(|_| wrong())?;
        let each_once = (0..3).all(|axis| axes.iter().any(|(found, _)| *found == axis));
        if each_once { Ok(Self { axes }) } else { Err(wrong()) }
    }

    /// The three letters.
    pub fn letters(self) -> String {
        self.axes.iter().map(|(axis, against)| LETTERS[*axis][usize::from(*against)]).collect()
    }

    /// All 48: six orders times eight directions.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::with_capacity(48);
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for directions in 0..8 {
                let axes = [0, 1, 2].map(|file| (order[file], directions >> file & 1 == 1));
                all.push(Self { axes });
            }
        }
        all
    }

    /// For each file axis, the patient axis and whether it runs against RAS.
    pub fn axes(self) -> [(usize, bool); 3] {
        self.axes
    }
}

/// Where a file's voxels lie.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placement {
    /// Voxels along the file's axes `i, j, k`.
    pub(super) shape: [usize; 3],
    /// Millimetres along the file's axes.
    pub(super) spacing: [f64; 3],
    /// Directions of the file's axes, unit columns.
    pub(super) directions: [[f64; 3]; 3],
    /// RAS+ millimetres of voxel (0, 0, 0).
    pub(super) origin: [f64; 3],
}

impl Placement {
    /// The placement a spec asks for.
    pub(super) fn of(spec: &PhantomSpec) -> Self {
        let rotation = rotation(spec.oblique);
        let spacing_xyz = reversed(spec.spacing.zyx());
        let shape_xyz = reversed(spec.shape);
        let axes = spec.orientation.axes();
        let directions = axes.map(|(axis, against)| {
            let sign = if against { -1.0 } else { 1.0 };
            [0, 1, 2].map(|row| sign * rotation[row][axis])
        });
        let shape = axes.map(|(axis, _)| shape_xyz[axis]);
        let spacing = axes.map(|(axis, _)| spacing_xyz[axis]);
        let mut origin = spec.origin_mm;
        for file in 0..3 {
            let half = (shape[file] as f64 - 1.0) / 2.0 * spacing[file];
            for (value, direction) in origin.iter_mut().zip(directions[file]) {
                *value -= half * direction;
            }
        }
        Self { shape, spacing, directions, origin }
    }
}

/// Patient millimetres → RAS+ millimetres in the scanner.
pub(super) fn patient_to_world(spec: &PhantomSpec, point: [f64; 3]) -> [f64; 3] {
    let rotation = rotation(spec.oblique);
    [0, 1, 2].map(|row| {
        let turned: f64 = (0..3).map(|axis| rotation[row][axis] * point[axis]).sum();
        turned + spec.origin_mm[row]
    })
}

/// The rotation matrix of the quaternion `(1, v)`: exact to rounding, without sine or cosine.
fn rotation(v: [f64; 3]) -> [[f64; 3]; 3] {
    let [x, y, z] = v;
    let norm = 1.0 + x * x + y * y + z * z;
    let rows = [
        [1.0 + x * x - y * y - z * z, 2.0 * (x * y - z), 2.0 * (x * z + y)],
        [2.0 * (x * y + z), 1.0 - x * x + y * y - z * z, 2.0 * (y * z - x)],
        [2.0 * (x * z - y), 2.0 * (y * z + x), 1.0 - x * x - y * y + z * z],
    ];
    rows.map(|row| row.map(|value| value / norm))
}

fn reversed<T: Copy>([a, b, c]: [T; 3]) -> [T; 3] {
    [c, b, a]
}

#[cfg(test)]
mod tests {
    use super::super::spec::Preset;
    use super::*;

    #[test]
    fn letters_round_trip_and_bad_ones_are_refused() {
        let all = Orientation::all();
        assert_eq!(all.len(), 48);
        for orientation in &all {
            assert_eq!(Orientation::parse(&orientation.letters()), Ok(*orientation));
        }
        let names: std::collections::BTreeSet<String> = all.iter().map(|o| o.letters()).collect();
        assert_eq!(names.len(), 48);
        assert_eq!(Orientation::parse("lps"), Ok(Orientation::LPS));
        for bad in ["", "LP", "LPSI", "LLS", "LPX", "RLS", "ÄÖÜ"] {
            assert!(Orientation::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rotations_are_orthonormal() {
        let r = rotation([0.1, -0.2, 0.05]);
        for i in 0..3 {
            for j in 0..3 {
                let dot: f64 = (0..3).map(|k| r[k][i] * r[k][j]).sum();
                assert!((dot - f64::from(i == j)).abs() < 1e-12);
            }
        }
        assert_eq!(rotation([0.0; 3]), [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
    }

    #[test]
    fn the_grid_is_centred_where_the_spec_says() {
        let mut spec = Preset::Small.spec(1);
        spec.oblique = [0.0, 0.1, 0.2];
        for orientation in Orientation::all() {
            spec.orientation = orientation;
            let placement = Placement::of(&spec);
            for row in 0..3 {
                let centre: f64 = (0..3)
                    .map(|file| {
                        (placement.shape[file] as f64 - 1.0) / 2.0
                            * placement.spacing[file]
                            * placement.directions[file][row]
                    })
                    .sum();
                assert!((placement.origin[row] + centre - spec.origin_mm[row]).abs() < 1e-9);
            }
        }
    }
}
