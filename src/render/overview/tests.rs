//! The overview picture, looked at pixel by pixel.

use std::io::Cursor;

use super::*;
use crate::analysis::findings::Outcome;
use crate::analysis::lesions::Lesions;
use crate::analysis::pmn::{HeatMap, Risk};
use crate::analysis::volume::geometry::{Geometry, StoredAxis, StoredGrid};
use crate::analysis::volume::{HuVolume, Mask, VoxelBox};
use crate::clinical::ClinicalFindings;
use crate::phantom::{Preset, generate};
use crate::units::{Millimetres, Probability, Spacing};

fn volume(hu: Array3<i16>, zyx_mm: [f64; 3]) -> HuVolume {
    let shape = [hu.shape()[0], hu.shape()[1], hu.shape()[2]];
    let [sz, sy, sx] = zyx_mm;
    let axis = |file_axis| StoredAxis { file_axis, reversed: false };
    let geometry = Geometry {
        shape,
        spacing: Spacing::new(zyx_mm).unwrap(),
        voxel_to_world: [[sx, 0.0, 0.0, 0.0], [0.0, sy, 0.0, 0.0], [0.0, 0.0, sz, 0.0]],
        stored: StoredGrid {
            shape: [shape[2], shape[1], shape[0]],
            axes: [axis(2), axis(1), axis(0)],
            header: Vec::new(),
        },
    };
    HuVolume { hu, geometry }
}

/// A block of liver with a block of tumour in it, at a third of each axis.
fn blocks(shape: [usize; 3], zyx_mm: [f64; 3]) -> (Images, Findings) {
    let inside = |index: [usize; 3], low: usize, high: usize| {
        (0..3).all(|a| (shape[a] * low / 8..shape[a] * high / 8).contains(&index[a]))
    };
    let labels = Array3::from_shape_fn(shape, |(z, y, x)| {
        let index = [z, y, x];
        if inside(index, 3, 5) { TUMOUR } else { u8::from(inside(index, 2, 6)) * LIVER }
    });
    let hu = Array3::from_elem(shape, 60);
    let similarity = labels.mapv(|l| if l == TUMOUR { 255 } else { l * 40 });
    let ends = [
        [shape[1] as f64 / 2.0, shape[2] as f64 * 0.375],
        [shape[1] as f64 / 2.0, shape[2] as f64 * 0.62],
    ];
    let lesion = Lesion {
        volume_mm3: 1000.0,
        diameter: Millimetres::new(42.5).unwrap(),
        slice: shape[0] / 2,
        ends,
        centre_mm: [0.0; 3],
        bounds: VoxelBox { start: [0; 3], end: shape },
    };
    let images = Images {
        portal: volume(hu.clone(), zyx_mm),
        arterial: Some(volume(hu, zyx_mm)),
        mask: Mask { labels },
        heat_map: Some(HeatMap { similarity }),
    };
    (images, findings(vec![lesion]))
}

fn findings(lesions: Vec<Lesion>) -> Findings {
    let p = |v: f64| Probability::new(v).unwrap();
    let count = lesions.len();
    Findings {
        series: None,
        outcome: Outcome::Ok,
        reasons: Vec::new(),
        gate: None,
        lesions: Some(Lesions { lesions, count, liver_mm3: 1.4e6, tumour_mm3: 1.6e5 }),
        risk: Some(Risk {
            score: p(0.87),
            proliferative: true,
            threshold: p(0.5),
            distances: [0.0; 6],
            haic_good: p(0.6),
            tace_good: p(0.3),
            most_distance: None,
        }),
        clinical: ClinicalFindings::of_nobody(),
        timings: Vec::new(),
    }
}

fn labels() -> OverviewLabels {
    OverviewLabels {
        title: "Liver CT overview".to_owned(),
        subtitle: "two-phase study · 160 × 160 × 80 voxels".to_owned(),
        demonstration: true,
    }
}

struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

fn decode(png: &[u8]) -> Picture {
    let mut reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
    let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut rgb).unwrap();
    Picture { width: info.width as usize, height: info.height as usize, rgb }
}

impl Picture {
    fn at(&self, x: i32, y: i32) -> Rgb {
        let at = 3 * (y as usize * self.width + x as usize);
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    fn count_near(&self, cell: Rect, colour: Rgb) -> usize {
        let near = |found: Rgb| (0..3).all(|c| found[c].abs_diff(colour[c]) < 24);
        (cell.y..cell.bottom())
            .flat_map(|y| (cell.x..cell.right()).map(move |x| (x, y)))
            .filter(|(x, y)| near(self.at(*x, *y)))
            .count()
    }
}

#[test]
fn contours_lie_on_the_edge_of_the_mask() {
    let (images, findings) = blocks([32, 64, 64], [2.0, 2.0, 2.0]);
    let picture = decode(&overview(&images, &findings, &labels()).unwrap().png().unwrap());
    assert_eq!((picture.width, picture.height), (1500, 1080));
    let cell = layout::cell(1, 0);
    let shown = shown_box(&images, [16, 32, 32]);
    let section = Section::fit((Plane::Axial, 16), shown, images.portal.geometry.spacing, cell);
    let column = |index: f64| section.pixel([16.0, 20.0, index])[0] as i32;
    let row = section.pixel([16.0, 20.0, 0.0])[1] as i32;
    // The liver's block is 16..48 along x: its edges are half a voxel outside.
    for edge in [15.5, 47.5] {
        let found = (-2..=2).any(|off| {
            let rgb = picture.at(column(edge) + off, row);
            (0..3).all(|c| rgb[c].abs_diff(LIVER_LINE[c]) < 40)
        });
        assert!(found, "liver contour at {edge}");
    }
    let row = section.pixel([16.0, 28.0, 0.0])[1] as i32;
    for edge in [23.5, 39.5] {
        let found = (-2..=2).any(|off| {
            let rgb = picture.at(column(edge) + off, row);
            (0..3).all(|c| rgb[c].abs_diff(TUMOUR_LINE[c]) < 40)
        });
        assert!(found, "tumour contour at {edge}");
    }
    assert_eq!(picture.count_near(layout::cell(0, 0), LIVER_LINE), 0);
}

#[test]
fn the_banner_is_there_exactly_when_asked_for() {
    let (images, findings) = blocks([16, 16, 16], [2.0; 3]);
    let with = decode(&overview(&images, &findings, &labels()).unwrap().png().unwrap());
    let released = OverviewLabels { demonstration: false, ..labels() };
    let without = decode(&overview(&images, &findings, &released).unwrap().png().unwrap());
    assert_eq!(with.at(5, 5), BANNER);
    assert_eq!(without.at(5, 5), PAGE);
}

#[test]
fn missing_phases_lesions_and_maps_are_said_and_do_not_panic() {
    let (mut images, _) = blocks([16, 20, 24], [2.0; 3]);
    images.arterial = None;
    images.heat_map = None;
    images.mask.labels.fill(BACKGROUND);
    let mut nothing = findings(Vec::new());
    nothing.lesions = None;
    nothing.risk = None;
    let picture = decode(&overview(&images, &nothing, &labels()).unwrap().png().unwrap());
    for cell in [layout::cell(0, 0), layout::cell(2, 1)] {
        let text = picture.count_near(cell, QUIET);
        assert!((50..5000).contains(&text), "{text}");
        assert_eq!(picture.at(cell.x + 3, cell.y + 3), CELL);
    }
}

#[test]
fn odd_shapes_and_spacings_are_drawn() {
    for (shape, mm) in [
        ([16, 16, 16], [0.2, 0.2, 0.2]),
        ([16, 16, 1024], [10.0, 0.2, 10.0]),
        ([1024, 16, 16], [10.0, 10.0, 0.2]),
        ([1, 1, 1], [5.0, 1.0, 1.0]),
        ([16, 1024, 16], [0.2, 10.0, 0.2]),
    ] {
        let (images, findings) = blocks(shape, mm);
        assert!(overview(&images, &findings, &labels()).is_ok(), "{shape:?}");
    }
}

#[test]
fn a_lesion_outside_the_volume_does_not_panic() {
    let (images, mut findings) = blocks([16, 16, 16], [2.0; 3]);
    let lesion = &mut findings.lesions.as_mut().unwrap().lesions[0];
    lesion.slice = 999;
    for end in [-1e30, 1e30, f64::NAN, f64::INFINITY] {
        findings.lesions.as_mut().unwrap().lesions[0].ends = [[end, 3.0], [5.0, end]];
        assert!(overview(&images, &findings, &labels()).is_ok());
    }
}

#[test]
fn volumes_on_different_grids_are_refused() {
    let (mut images, findings) = blocks([16, 16, 16], [2.0; 3]);
    images.mask.labels = Array3::zeros([16, 16, 17]);
    let error = overview(&images, &findings, &labels()).unwrap_err();
    assert!(error.to_string().contains("the mask"), "{error}");
}

#[test]
fn a_phantom_shows_its_tumour() {
    let phantom = generate(&Preset::Small.spec(11)).unwrap();
    let zyx_mm = phantom.spec.spacing.zyx();
    let slice = phantom.truth.tumours[0].slice;
    let similarity = Array3::from_shape_fn(phantom.labels.raw_dim(), |index| {
        let hu = phantom.portal[index];
        match phantom.labels[index] {
            BACKGROUND => 0,
            LIVER => (40 - (hu - 110).clamp(-30, 30)) as u8,
            _ => (215 - (hu - 80).clamp(-40, 40)) as u8,
        }
    });
    let row = (0..phantom.labels.shape()[1])
        .max_by_key(|y| tumour_width(&phantom.labels, slice, *y).map_or(0, |(a, b)| b - a))
        .unwrap();
    let (first, last) = tumour_width(&phantom.labels, slice, row).unwrap();
    let lesion = Lesion {
        volume_mm3: phantom.truth.tumours[0].volume_mm3,
        diameter: Millimetres::new((last - first) as f64 * zyx_mm[2]).unwrap(),
        slice,
        ends: [[row as f64, first as f64], [row as f64, last as f64]],
        centre_mm: phantom.truth.tumours[0].centre_mm,
        bounds: VoxelBox { start: [0; 3], end: phantom.spec.shape },
    };
    let images = Images {
        portal: volume(phantom.portal, zyx_mm),
        arterial: phantom.arterial.map(|hu| volume(hu, zyx_mm)),
        mask: Mask { labels: phantom.labels },
        heat_map: Some(HeatMap { similarity }),
    };
    let drawn = overview(&images, &findings(vec![lesion]), &labels()).unwrap();
    let png = drawn.png().unwrap();
    let picture = decode(&png);
    for row in 0..3 {
        assert!(picture.count_near(layout::cell(1, row), LIVER_LINE) > 150, "row {row}");
        assert!(picture.count_near(layout::cell(1, row), TUMOUR_LINE) > 60, "row {row}");
    }
    assert!(picture.count_near(layout::cell(1, 0), DIAMETER_LINE) > 60);
}

/// First and last tumour voxel of a row.
fn tumour_width(labels: &Array3<u8>, z: usize, y: usize) -> Option<(usize, usize)> {
    let inside = |x: &usize| labels[[z, y, *x]] == TUMOUR;
    let first = (0..labels.shape()[2]).find(inside)?;
    let last = (0..labels.shape()[2]).rev().find(inside)?;
    Some((first, last))
}
