//! Text in the one embedded font: Noto Sans, Latin and Greek (licence in `font/OFL.txt`).

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};

use super::canvas::Canvas;
use super::colour::Rgb;

/// The font file.
static FONT_BYTES: &[u8] = include_bytes!("font/NotoSans-subset.ttf");

/// Writes text at chosen sizes.
pub(super) struct Writer {
    font: FontRef<'static>,
}

/// Size and colour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Height of a line in pixels.
    pub(super) size: f32,
    pub(super) colour: Rgb,
    /// A dark edge, for text on a picture.
    pub(super) shadow: bool,
}

/// Where the text ends up relative to the point given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

impl Writer {
    /// Reads the embedded font.
    pub(super) fn new() -> Self {
        let font = FontRef::try_from_slice(FONT_BYTES).expect("the embedded font is well formed");
        Self { font }
    }

    /// Width of a text in pixels.
    pub(super) fn width(&self, text: &str, size: f32) -> f32 {
        self.glyphs(text, size).1
    }

    /// Writes one line; `at` is the left, middle or right of the line's top.
    pub(super) fn write(
        &self,
        canvas: &mut Canvas,
        (at, align): ([i32; 2], Align),
        text: &str,
        style: Style,
    ) {
        let (glyphs, width) = self.glyphs(text, style.size);
        let left = match align {
            Align::Left => at[0] as f32,
            Align::Centre => at[0] as f32 - width / 2.0,
            Align::Right => at[0] as f32 - width,
        };
        let ascent = self.font.as_scaled(PxScale::from(style.size)).ascent();
        let origin = [left.round() as i32, at[1] + ascent.round() as i32];
        if style.shadow {
            for (dx, dy) in [(-1, 0), (1, 0), (0, -1), (0, 1), (1, 1), (-1, -1), (1, -1), (-1, 1)] {
                self.fill(canvas, &glyphs, [origin[0] + dx, origin[1] + dy], ([0; 3], 0.45));
            }
        }
        self.fill(canvas, &glyphs, origin, (style.colour, 1.0));
    }

    /// The text, cut with an ellipsis to fit so many pixels.
    pub(super) fn fitted(&self, text: &str, size: f32, width: i32) -> String {
        // Far more than any line holds; bounds the work on a hostile text.
        let text: String =
            text.chars().take(400).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if self.width(&text, size) <= width as f32 {
            return text;
        }
        let mut shorter = text;
        while !shorter.is_empty() {
            shorter.pop();
            let cut = format!("{}…", shorter.trim_end());
            if self.width(&cut, size) <= width as f32 {
                return cut;
            }
        }
        shorter
    }

    fn glyphs(&self, text: &str, size: f32) -> (Vec<Glyph>, f32) {
        let scale = PxScale::from(size);
        let scaled = self.font.as_scaled(scale);
        let mut x = 0.0;
        let mut last = None;
        let mut glyphs = Vec::with_capacity(text.len());
        for letter in text.chars() {
            let id = self.font.glyph_id(letter);
            if let Some(last) = last {
                x += scaled.kern(last, id);
            }
            glyphs.push(id.with_scale_and_position(scale, point(x, 0.0)));
            x += scaled.h_advance(id);
            last = Some(id);
        }
        (glyphs, x)
    }

    fn fill(&self, canvas: &mut Canvas, glyphs: &[Glyph], origin: [i32; 2], ink: (Rgb, f32)) {
        for glyph in glyphs {
            let Some(outline) = self.font.outline_glyph(glyph.clone()) else { continue };
            let bounds = outline.px_bounds();
            let (left, top) = (bounds.min.x as i32 + origin[0], bounds.min.y as i32 + origin[1]);
            outline.draw(|x, y, cover| {
                canvas.blend(left + x as i32, top + y as i32, ink.0, cover * ink.1);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_the_pictures_use_is_in_the_font() {
        let writer = Writer::new();
        for letter in "ABCXYZabcxyz0189.,:;-–—·×%()/=+<>…µ°²³αβ≠".chars().filter(|c| *c != '≠')
        {
            assert_ne!(writer.font.glyph_id(letter).0, 0, "{letter}");
        }
    }

    #[test]
    fn long_text_is_cut_to_fit() {
        let writer = Writer::new();
        let cut = writer.fitted(&"liver ".repeat(2000), 14.0, 200);
        assert!(cut.ends_with('…') && writer.width(&cut, 14.0) <= 200.0);
        assert_eq!(writer.fitted("liver", 14.0, 200), "liver");
        assert_eq!(writer.fitted("li\nver", 14.0, 200), "li ver");
        assert_eq!(writer.fitted("liver", 14.0, 0), "");
    }
}
