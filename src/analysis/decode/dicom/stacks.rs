//! Slices of one series → stacks that can each be one volume: of one orientation, one size and one
//! acquisition, each place taken once.

use std::collections::BTreeMap;

use super::grid::{SAME_PLACE_MM, along, normal};
use super::slice::{Acquisition, Slice};

/// Directions of one stack differ by at most this in a component, as far as rounding goes.
const SAME_DIRECTION: f64 = 1e-4;
/// Pixel spacings of one stack differ by at most this, in millimetres.
const SAME_SPACING_MM: f64 = 1e-4;

/// Splits a series by patient, frame of reference, orientation and size. The order of `slices` has no
/// influence.
pub(super) fn by_geometry(mut slices: Vec<Slice>) -> Vec<Vec<Slice>> {
    slices.sort_by(compare);
    let mut stacks: Vec<Vec<Slice>> = Vec::new();
    for slice in slices {
        match stacks.iter_mut().find(|stack| same_geometry(&stack[0], &slice)) {
            Some(stack) => stack.push(slice),
            None => stacks.push(vec![slice]),
        }
    }
    for stack in &mut stacks {
        let normal = normal(&stack[0]);
        stack.sort_by(|a, b| along(a, normal).total_cmp(&along(b, normal)));
    }
    stacks
}

fn same_geometry(a: &Slice, b: &Slice) -> bool {
    let near =
        |a: &[f64], b: &[f64], most: f64| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= most);
    a.frame_of_reference == b.frame_of_reference
        && a.clues.patient_id == b.clues.patient_id
        && a.study == b.study
        && (a.rows, a.columns) == (b.rows, b.columns)
        && near(&a.orientation, &b.orientation, SAME_DIRECTION)
        && near(&a.pixel_spacing, &b.pixel_spacing, SAME_SPACING_MM)
}

/// A total order that no file name and no order of files takes part in.
fn compare(a: &Slice, b: &Slice) -> std::cmp::Ordering {
    let numbers = |slice: &Slice| -> Vec<f64> {
        let acquisition = &slice.acquisition;
        let times = [acquisition.number, acquisition.acquired_s, acquisition.content_s];
        let times = times.map(|time| time.unwrap_or(f64::MIN));
        [&slice.orientation[..], &slice.position, &times, &slice.pixel_spacing].concat()
    };
    let (a, b) = (numbers(a), numbers(b));
    let first = a.iter().zip(&b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
    first.unwrap_or(std::cmp::Ordering::Equal)
}

/// Leaves out slices that repeat another one's place and pixels; `same_pixels` compares two.
pub(super) fn without_copies(
    stack: Vec<Slice>,
    mut same_pixels: impl FnMut(&Slice, &Slice) -> bool,
) -> (Vec<Slice>, usize) {
    let before = stack.len();
    let mut kept: Vec<Slice> = Vec::with_capacity(before);
    for slice in stack {
        let normal = normal(&slice);
        let here =
            |other: &&Slice| (along(other, normal) - along(&slice, normal)).abs() < SAME_PLACE_MM;
        let copy = kept.iter().rev().take_while(here).any(|other| same_pixels(other, &slice));
        if !copy {
            kept.push(slice);
        }
    }
    let copies = before - kept.len();
    (kept, copies)
}

/// Splits a stack (in order along its normal) that holds several acquisitions of the same places.
pub(super) fn by_acquisition(stack: Vec<Slice>) -> Vec<Vec<Slice>> {
    let by_number: [fn(&Acquisition) -> Option<f64>; 2] = [|a| a.number, |a| a.temporal_position];
    for key in by_number {
        if let Some(groups) = split_by_value(&stack, key) {
            return groups.into_iter().flat_map(by_acquisition).collect();
        }
    }
    let by_time: [fn(&Acquisition) -> Option<f64>; 3] =
        [|a| a.trigger_ms, |a| a.acquired_s, |a| a.content_s];
    let split = by_time.into_iter().find_map(|key| split_by_rank(&stack, key));
    split.unwrap_or_else(|| vec![stack])
}

/// Groups of equal values, when two of them lie on the same part of the body. Acquisitions side by
/// side, as of a table that moves on, stay together.
fn split_by_value(
    stack: &[Slice],
    key: fn(&Acquisition) -> Option<f64>,
) -> Option<Vec<Vec<Slice>>> {
    let mut groups: BTreeMap<u64, Vec<Slice>> = BTreeMap::new();
    for slice in stack {
        groups.entry(key(&slice.acquisition)?.to_bits()).or_default().push(slice.clone());
    }
    let normal = normal(stack.first()?);
    let mut ranges: Vec<[f64; 2]> = groups
        .values()
        .map(|group| [&group[0], &group[group.len() - 1]].map(|slice| along(slice, normal)))
        .collect();
    ranges.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let overlapping = ranges.windows(2).any(|pair| pair[1][0] < pair[0][1] + SAME_PLACE_MM);
    overlapping.then(|| groups.into_values().collect())
}

/// When every place is taken equally often: the first of each place, the second, and so on, provided
/// that one whole pass is over before the next begins.
fn split_by_rank(stack: &[Slice], key: fn(&Acquisition) -> Option<f64>) -> Option<Vec<Vec<Slice>>> {
    let normal = normal(stack.first()?);
    let moment = |slice: &Slice| key(&slice.acquisition);
    let mut places: Vec<Vec<&Slice>> = Vec::new();
    for slice in stack {
        moment(slice)?;
        match places.last_mut() {
            Some(place) if along(slice, normal) - along(place[0], normal) < SAME_PLACE_MM => {
                place.push(slice);
            }
            _ => places.push(vec![slice]),
        }
    }
    let passes = places[0].len();
    if passes < 2 || places.iter().any(|place| place.len() != passes) {
        return None;
    }
    for place in &mut places {
        place
            .sort_by(|a, b| moment(a).partial_cmp(&moment(b)).unwrap_or(std::cmp::Ordering::Equal));
    }
    let of_pass = |pass: usize| places.iter().map(move |place| place[pass]);
    let ends = |pass: usize| of_pass(pass).filter_map(moment).fold(f64::MIN, f64::max);
    let begins = |pass: usize| of_pass(pass).filter_map(moment).fold(f64::MAX, f64::min);
    let apart = (1..passes).all(|pass| ends(pass - 1) < begins(pass));
    apart.then(|| (0..passes).map(|pass| of_pass(pass).cloned().collect()).collect())
}
