//! A picture being drawn: blending, rectangles and smooth lines. Whatever lies outside is cut off.

use super::colour::Rgb;
use super::picture::Picture;

/// Eight-bit RGB, row by row from the top left.
#[derive(Debug)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// A rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
}

impl Rect {
    /// The first pixel right of the rectangle.
    pub(super) fn right(self) -> i32 {
        self.x + self.width
    }

    /// The first pixel below the rectangle.
    pub(super) fn bottom(self) -> i32 {
        self.y + self.height
    }
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke {
    pub(super) colour: Rgb,
    pub(super) width: f32,
}

impl Canvas {
    /// A canvas of one colour.
    pub(super) fn new(width: usize, height: usize, colour: Rgb) -> Self {
        Self { width, height, pixels: colour.repeat(width * height) }
    }

    /// Mixes a colour into a pixel; `alpha` 0..=1.
    pub(super) fn blend(&mut self, x: i32, y: i32, colour: Rgb, alpha: f32) {
        let inside = x >= 0 && y >= 0 && (x as usize) < self.width && (y as usize) < self.height;
        if !inside || alpha <= 0.0 {
            return;
        }
        let at = 3 * (y as usize * self.width + x as usize);
        let pixel = &mut self.pixels[at..at + 3];
        // Nothing of what was there is left: most pixels of a page.
        if alpha >= 1.0 {
            pixel.copy_from_slice(&colour);
            return;
        }
        for (below, above) in pixel.iter_mut().zip(colour) {
            *below = nearest_level(f32::from(*below) * (1.0 - alpha) + f32::from(above) * alpha);
        }
    }

    /// Fills a rectangle.
    pub(super) fn fill(&mut self, rect: Rect, colour: Rgb, alpha: f32) {
        let (width, height) = (self.width as i32, self.height as i32);
        for y in rect.y.max(0)..rect.bottom().min(height) {
            for x in rect.x.max(0)..rect.right().min(width) {
                self.blend(x, y, colour, alpha);
            }
        }
    }

    /// A smooth line between two points in pixels (centres at halves).
    pub(super) fn line(&mut self, from: [f32; 2], to: [f32; 2], stroke: Stroke) {
        let reach = stroke.width / 2.0 + 1.0;
        let (left, right) = (from[0].min(to[0]) - reach, from[0].max(to[0]) + reach);
        let (top, bottom) = (from[1].min(to[1]) - reach, from[1].max(to[1]) + reach);
        let within = |value: f32, end: usize| value.clamp(0.0, end as f32) as i32;
        for y in within(top, self.height)..within(bottom.ceil(), self.height) {
            for x in within(left, self.width)..within(right.ceil(), self.width) {
                let off = distance_to_segment([x as f32 + 0.5, y as f32 + 0.5], from, to);
                self.blend(x, y, stroke.colour, stroke.width / 2.0 + 0.5 - off);
            }
        }
    }

    /// The picture as it is now.
    pub(super) fn finish(self) -> Picture {
        Picture { width: self.width, height: self.height, rgb: self.pixels }
    }
}

/// `value.round() as u8` for 0..=255, without a call into libm for every pixel.
pub(super) fn nearest_level(value: f32) -> u8 {
    let whole = value as u8;
    // The difference is exact, so that halves go up as `round` takes them.
    whole.saturating_add(u8::from(value - f32::from(whole) >= 0.5))
}

fn distance_to_segment(point: [f32; 2], from: [f32; 2], to: [f32; 2]) -> f32 {
    let along = [to[0] - from[0], to[1] - from[1]];
    let offset = [point[0] - from[0], point[1] - from[1]];
    let length = (along[0] * along[0] + along[1] * along[1]).max(1e-6);
    let t = ((offset[0] * along[0] + offset[1] * along[1]) / length).clamp(0.0, 1.0);
    (offset[0] - t * along[0]).hypot(offset[1] - t * along[1])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn drawing_outside_is_cut_off() {
        let mut canvas = Canvas::new(4, 3, [0; 3]);
        canvas.fill(Rect { x: -5, y: -5, width: 100, height: 100 }, [9, 9, 9], 1.0);
        canvas.blend(4, 0, [255; 3], 1.0);
        canvas.line([-1e9, 1.5], [1e9, 1.5], Stroke { colour: [200; 3], width: 1.0 });
        assert_eq!(canvas.pixels.len(), 36);
        assert_eq!(canvas.pixels[0], 9);
        assert_eq!(canvas.pixels[12], 200);
    }

    proptest! {
        #[test]
        fn levels_are_rounded_as_the_library_does(value in 0.0f32..=255.0, whole in 0u8..255) {
            prop_assert_eq!(nearest_level(value), value.round() as u8);
            let half = f32::from(whole) + 0.5;
            for near in [half.next_down(), half, half.next_up(), f32::from(whole), 255.0] {
                prop_assert_eq!(nearest_level(near), near.round() as u8, "{}", near);
            }
        }

        /// Covering a pixel whole is the mixture of all of the new and nothing of the old.
        #[test]
        fn what_covers_is_a_mixture_too(below in any::<Rgb>(), above in any::<Rgb>()) {
            let mut canvas = Canvas::new(1, 1, below);
            canvas.blend(0, 0, above, 1.0);
            let mixed = |(below, above)| (f32::from(below) * 0.0 + f32::from(above)).round() as u8;
            let expected: Vec<u8> = below.into_iter().zip(above).map(mixed).collect();
            prop_assert_eq!(canvas.pixels, expected);
        }
    }

    #[test]
    fn blending_mixes() {
        let mut canvas = Canvas::new(1, 1, [100; 3]);
        canvas.blend(0, 0, [200; 3], 0.25);
        assert_eq!(canvas.pixels, [125; 3]);
    }
}
