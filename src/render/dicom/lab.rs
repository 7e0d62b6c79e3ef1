//! Colours as DICOM names them: CIELab under D50, each component over 16 bits (PS3.3 C.10.7.1.1).

use crate::render::colour::Rgb;

/// sRGB to XYZ under D50 (IEC 61966-2-1, adapted after Bradford).
const TO_XYZ: [[f64; 3]; 3] = [
    [0.436_074_7, 0.385_064_9, 0.143_080_4],
    [0.222_504_5, 0.716_878_6, 0.060_616_9],
    [0.013_932_2, 0.097_104_5, 0.714_173_3],
];
/// White under D50.
const WHITE: [f64; 3] = [0.964_22, 1.0, 0.825_21];

/// `[L*, a*, b*]` of an sRGB colour: L* 0..=100 and a*, b* −128..=127 over 0..=65535.
pub(super) fn cielab(colour: Rgb) -> [u16; 3] {
    let linear = colour.map(|value| {
        let value = f64::from(value) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    let [x, y, z] = std::array::from_fn(|row| {
        let sum: f64 = TO_XYZ[row].iter().zip(linear).map(|(a, b)| a * b).sum();
        root(sum / WHITE[row])
    });
    let (l, a, b) = (116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z));
    [l / 100.0, (a + 128.0) / 255.0, (b + 128.0) / 255.0]
        .map(|part| (part * 65535.0).round().clamp(0.0, 65535.0) as u16)
}

/// The cube root, and CIE's straight line near black.
fn root(t: f64) -> f64 {
    if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_colours_have_their_known_values() {
        // White, black, and sRGB red, which is L* 54.29, a* 80.81, b* 69.89 under D50.
        for (rgb, lab) in [
            ([255, 255, 255], [100.0, 0.0, 0.0]),
            ([0, 0, 0], [0.0, 0.0, 0.0]),
            ([255, 0, 0], [54.29, 80.81, 69.89]),
        ] {
            let [l, a, b] = cielab(rgb).map(f64::from);
            let found = [l / 655.35, a / 65535.0 * 255.0 - 128.0, b / 65535.0 * 255.0 - 128.0];
            for (found, expected) in found.into_iter().zip(lab) {
                assert!((found - expected).abs() < 0.05, "{rgb:?}: {found} {expected}");
            }
        }
    }
}
