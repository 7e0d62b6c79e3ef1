//! A plane through a volume laid into a rectangle of pixels, in true proportion.

use ndarray::Array3;

use super::canvas::Rect;
use crate::analysis::volume::VoxelBox;
use crate::units::Spacing;

/// Which way a plane cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plane {
    Axial,
    Coronal,
    Sagittal,
}

impl Plane {
    /// Array axes (0 = z, 1 = y, 2 = x) along the picture's columns, along its rows, and through it.
    fn axes(self) -> [usize; 3] {
        match self {
            Self::Axial => [2, 1, 0],
            Self::Coronal => [2, 0, 1],
            Self::Sagittal => [1, 0, 2],
        }
    }

    /// The patient's side at the left, right, top and bottom of the picture. Every array axis runs
    /// against the picture: Right, Anterior and Superior are left or on top.
    pub(super) fn letters(self) -> [&'static str; 4] {
        match self {
            Self::Axial => ["R", "L", "A", "P"],
            Self::Coronal => ["R", "L", "S", "I"],
            Self::Sagittal => ["A", "P", "S", "I"],
        }
    }

    /// The plane's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Axial => "Axial",
            Self::Coronal => "Coronal",
            Self::Sagittal => "Sagittal",
        }
    }
}

/// A plane at an index, the part of it shown, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section {
    pub(super) plane: Plane,
    /// Index along the axis the plane cuts.
    pub(super) index: usize,
    /// Pixels that hold the picture.
    pub(super) rect: Rect,
    /// Pixels for each millimetre, the same both ways.
    pub(super) pixels_per_mm: f64,
    spacing: [f64; 3],
    shown: VoxelBox,
}

impl Section {
    /// Fits the shown box of a volume into a cell, centred.
    pub(super) fn fit(
        (plane, index): (Plane, usize),
        shown: VoxelBox,
        spacing: Spacing,
        cell: Rect,
    ) -> Self {
        let spacing = spacing.zyx();
        let [column, row, _] = plane.axes();
        let extent = |axis: usize| (shown.end[axis] - shown.start[axis]) as f64 * spacing[axis];
        let pixels_per_mm =
            (f64::from(cell.width) / extent(column)).min(f64::from(cell.height) / extent(row));
        let width = ((extent(column) * pixels_per_mm).round() as i32).clamp(1, cell.width.max(1));
        let height = ((extent(row) * pixels_per_mm).round() as i32).clamp(1, cell.height.max(1));
        let rect = Rect {
            x: cell.x + (cell.width - width) / 2,
            y: cell.y + (cell.height - height) / 2,
            width,
            height,
        };
        Self { plane, index, rect, pixels_per_mm, spacing, shown }
    }

    /// Pixel (centre at halves) of an array index, which may lie between voxels.
    pub(super) fn pixel(&self, index: [f64; 3]) -> [f32; 2] {
        let [column, row, _] = self.plane.axes();
        let from_edge = |axis: usize| {
            (self.shown.end[axis] as f64 - 0.5 - index[axis])
                * self.spacing[axis]
                * self.pixels_per_mm
        };
        let x = f64::from(self.rect.x) + from_edge(column);
        let y = f64::from(self.rect.y) + from_edge(row);
        [x as f32, y as f32]
    }

    /// Values at every pixel of the rectangle and one pixel around it, interpolated between voxels:
    /// `(width + 2) × (height + 2)`, row by row. Each row of voxels is interpolated along itself once,
    /// then the rows of pixels between them.
    pub(super) fn values<T: Copy>(&self, volume: &Array3<T>, value: impl Fn(T) -> f32) -> Vec<f32> {
        let [column, row, _] = self.plane.axes();
        let columns: Vec<Between> =
            (-1..=self.rect.width).map(|p| self.between(column, p, volume)).collect();
        let rows: Vec<Between> =
            (-1..=self.rect.height).map(|p| self.between(row, p, volume)).collect();
        let first = rows.iter().map(|v| v.low).min().unwrap_or(0);
        let last = rows.iter().map(|v| v.high).max().unwrap_or(0);
        let at = |r: usize, c: usize| value(volume[self.index_of(r, c)]);
        let along: Vec<Vec<f32>> = (first..=last)
            .map(|r| columns.iter().map(|u| u.mix(at(r, u.low), at(r, u.high))).collect())
            .collect();
        let mut values = Vec::with_capacity(columns.len() * rows.len());
        for v in rows {
            let pairs = along[v.low - first].iter().zip(&along[v.high - first]);
            values.extend(pairs.map(|(&low, &high)| v.mix(low, high)));
        }
        values
    }

    /// The two voxels along an axis on both sides of a pixel.
    fn between<T>(&self, axis: usize, pixel: i32, volume: &Array3<T>) -> Between {
        let mm = (f64::from(pixel) + 0.5) / self.pixels_per_mm;
        let index = self.shown.end[axis] as f64 - 0.5 - mm / self.spacing[axis];
        let last = volume.shape()[axis] - 1;
        let index = index.clamp(0.0, last as f64);
        let low = (index as usize).min(last);
        Between { low, high: (low + 1).min(last), part: (index - low as f64) as f32 }
    }

    fn index_of(&self, row: usize, column: usize) -> [usize; 3] {
        let [column_axis, row_axis, through] = self.plane.axes();
        let mut index = [0; 3];
        index[column_axis] = column;
        index[row_axis] = row;
        index[through] = self.index;
        index
    }
}

/// A place between two neighbouring voxels.
struct Between {
    low: usize,
    high: usize,
    part: f32,
}

impl Between {
    fn mix(&self, low: f32, high: f32) -> f32 {
        low * (1.0 - self.part) + high * self.part
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(shape: [usize; 3]) -> VoxelBox {
        VoxelBox { start: [0; 3], end: shape }
    }

    #[test]
    fn proportions_are_those_of_the_patient() {
        let spacing = Spacing::new([5.0, 1.0, 2.0]).unwrap();
        let cell = Rect { x: 10, y: 20, width: 400, height: 400 };
        let shown = whole([20, 100, 50]);
        for plane in [Plane::Axial, Plane::Coronal, Plane::Sagittal] {
            let section = Section::fit((plane, 0), shown, spacing, cell);
            assert_eq!((section.rect.width, section.rect.height), (400, 400), "{plane:?}");
        }
        let flat = Section::fit((Plane::Coronal, 0), whole([10, 100, 50]), spacing, cell);
        assert_eq!((flat.rect.width, flat.rect.height), (400, 200));
        assert_eq!(flat.rect.y, 120);
    }

    /// The definition: the four voxels around a pixel, one pixel at a time.
    fn reference(section: &Section, volume: &Array3<u8>) -> Vec<f32> {
        let [column, row, _] = section.plane.axes();
        let at = |r, c| f32::from(volume[section.index_of(r, c)]);
        let mut values = Vec::new();
        for p in -1..=section.rect.height {
            let v = section.between(row, p, volume);
            for q in -1..=section.rect.width {
                let u = section.between(column, q, volume);
                let low = at(v.low, u.low) * (1.0 - u.part) + at(v.low, u.high) * u.part;
                let high = at(v.high, u.low) * (1.0 - u.part) + at(v.high, u.high) * u.part;
                values.push(low * (1.0 - v.part) + high * v.part);
            }
        }
        values
    }

    proptest! {
        #[test]
        fn values_are_those_of_the_definition(
            voxels in prop::collection::vec(any::<u8>(), 5 * 6 * 7),
            (start, end) in ([0usize..2, 0..3, 0..3], [3usize..6, 4..7, 4..8]),
            spacing in [0.5..4.0, 0.5..4.0, 0.5..4.0],
            (width, height) in (1i32..40, 1i32..40),
        ) {
            let volume = Array3::from_shape_vec([5, 6, 7], voxels).unwrap();
            let cell = Rect { x: 3, y: 4, width, height };
            let (shown, spacing) = (VoxelBox { start, end }, Spacing::new(spacing).unwrap());
            for plane in [Plane::Axial, Plane::Coronal, Plane::Sagittal] {
                let section = Section::fit((plane, 2), shown, spacing, cell);
                prop_assert_eq!(section.values(&volume, f32::from), reference(&section, &volume));
            }
        }
    }

    #[test]
    fn the_patients_right_is_at_the_left_of_the_picture() {
        let spacing = Spacing::new([1.0; 3]).unwrap();
        let cell = Rect { x: 0, y: 0, width: 40, height: 40 };
        let section = Section::fit((Plane::Axial, 3), whole([8, 8, 8]), spacing, cell);
        let mut volume = Array3::<u8>::zeros([8, 8, 8]);
        // High x is Right, high y is Anterior.
        volume[[3, 7, 7]] = 1;
        let values = section.values(&volume, f32::from);
        assert!(values[42 * 3 + 3] > 0.9, "top left");
        assert!(values[42 * 3 + 38] < 0.1 && values[42 * 38 + 3] < 0.1);
        assert_eq!(section.pixel([3.0, 7.0, 7.0]), [2.5, 2.5]);
    }
}
