//! The colours of the pictures.

use super::canvas::nearest_level;

/// Red, green, blue.
pub(super) type Rgb = [u8; 3];

/// Page behind the pictures.
pub(super) const PAGE: Rgb = [13, 17, 23];
/// Behind a picture.
pub(super) const CELL: Rgb = [0, 0, 0];
/// Hairlines.
pub(super) const RULE: Rgb = [48, 54, 61];
/// Main text.
pub(super) const TEXT: Rgb = [230, 237, 243];
/// Quiet text.
pub(super) const QUIET: Rgb = [145, 156, 168];
/// Contour of the liver.
pub(super) const LIVER_LINE: Rgb = [64, 224, 190];
/// Contour of tumours.
pub(super) const TUMOUR_LINE: Rgb = [255, 107, 53];
/// The line of the largest diameter.
pub(super) const DIAMETER_LINE: Rgb = [255, 221, 87];
/// Banner of what is not for clinical use.
pub(super) const BANNER: Rgb = [255, 196, 61];
/// Text on the banner.
pub(super) const BANNER_TEXT: Rgb = [33, 22, 0];

/// Nine points of a map whose lightness rises evenly from black through purple and orange to pale
/// yellow, so that order is seen without colour vision too (after "inferno", van der Walt and
/// Smith 2015, released to the public domain).
const MAP: [Rgb; 9] = [
    [0, 0, 4],
    [31, 12, 72],
    [85, 15, 109],
    [136, 34, 106],
    [186, 54, 85],
    [227, 89, 51],
    [249, 140, 10],
    [249, 201, 50],
    [252, 255, 164],
];

/// The heat map's colour for 0..=1; outside that the ends.
pub(super) fn heat(value: f32) -> Rgb {
    let scaled = value.clamp(0.0, 1.0) * (MAP.len() - 1) as f32;
    let low = (scaled as usize).min(MAP.len() - 2);
    let part = scaled - low as f32;
    [0, 1, 2].map(|c| {
        let (a, b) = (f32::from(MAP[low][c]), f32::from(MAP[low + 1][c]));
        nearest_level(a + (b - a) * part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_grows_lighter_throughout() {
        let lightness = |rgb: Rgb| {
            0.2126 * f64::from(rgb[0]) + 0.7152 * f64::from(rgb[1]) + 0.0722 * f64::from(rgb[2])
        };
        for step in 0..100 {
            let (a, b) = (step as f32 / 100.0, (step + 1) as f32 / 100.0);
            assert!(lightness(heat(b)) + 0.5 >= lightness(heat(a)), "{a}");
        }
        assert_eq!(heat(-1.0), MAP[0]);
        assert_eq!(heat(2.0), MAP[8]);
    }
}
