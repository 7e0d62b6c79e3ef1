//! The overview picture: arterial phase, portal phase with contours, heat map; axial, coronal and
//! sagittal through the largest tumour.

use ndarray::Array3;
use thiserror::Error;

use super::canvas::{Canvas, Rect, Stroke, nearest_level};
use super::colour::{
    BANNER, BANNER_TEXT, CELL, DIAMETER_LINE, LIVER_LINE, PAGE, QUIET, RULE, Rgb, TEXT,
    TUMOUR_LINE, heat,
};
use super::focus::{focus, shown_box};
use super::layout;
use super::picture::Picture;
use super::section::{Plane, Section};
use super::text::{Align, Style, Writer};
use crate::analysis::findings::{Findings, Images};
use crate::analysis::lesions::Lesion;
use crate::analysis::volume::{BACKGROUND, LIVER, TUMOUR};

/// A picture that cannot be drawn.
#[derive(Debug, Error)]
pub enum RenderError {
    /// The volumes do not share one grid.
    #[error("{what} is {found:?} voxels [z, y, x], expected the portal phase's {expected:?}")]
    Shape {
        /// Which volume.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape of the portal phase.
        expected: Vec<usize>,
    },
    /// A volume without a single voxel.
    #[error("the portal phase has no voxels")]
    Empty,
    /// The PNG encoder refused.
    #[error("cannot encode the overview as PNG")]
    Png(#[source] png::EncodingError),
}

/// What the picture says besides the findings; longer text is cut to the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverviewLabels {
    /// Top line, such as the study's name and the outcome.
    pub title: String,
    /// Second line.
    pub subtitle: String,
    /// True draws the banner: the models or nomograms in use are not released for clinical use.
    pub demonstration: bool,
}

/// Words of the banner.
pub const BANNER_WORDS: &str = "DEMONSTRATION - NOT FOR CLINICAL USE";

/// Display window, HU: width 400, level 50 (soft tissue).
const WINDOW: f32 = 400.0;
const LEVEL: f32 = 50.0;
/// Draws the page, 1500 × 1080. A phase or map that is missing is said in its place.
pub fn overview(
    images: &Images,
    findings: &Findings,
    labels: &OverviewLabels,
) -> Result<Picture, RenderError> {
    check_shapes(images)?;
    let canvas = Canvas::new(layout::WIDTH as usize, layout::HEIGHT as usize, PAGE);
    let mut page = Page { canvas, writer: Writer::new(), images, findings };
    page.header(labels);
    let lesion = findings.lesions.as_ref().and_then(|lesions| lesions.lesions.first());
    let centre = focus(images, lesion);
    let shown = shown_box(images, centre);
    for (row, plane) in [Plane::Axial, Plane::Coronal, Plane::Sagittal].into_iter().enumerate() {
        let through = [0, 1, 2][row];
        for column in 0..3 {
            let cell = layout::cell(column, row);
            page.canvas.fill(cell, CELL, 1.0);
            let section =
                Section::fit((plane, centre[through]), shown, images.portal.geometry.spacing, cell);
            page.cell(column, cell, &section, lesion);
        }
    }
    page.legend();
    Ok(page.canvas.finish())
}

fn check_shapes(images: &Images) -> Result<(), RenderError> {
    let expected = images.portal.hu.shape();
    if expected.contains(&0) {
        return Err(RenderError::Empty);
    }
    let check = |what: &'static str, found: &[usize]| {
        if found == expected {
            return Ok(());
        }
        Err(RenderError::Shape { what, found: found.into(), expected: expected.into() })
    };
    check("the mask", images.mask.labels.shape())?;
    if let Some(arterial) = &images.arterial {
        check("the arterial phase", arterial.hu.shape())?;
    }
    images.heat_map.as_ref().map_or(Ok(()), |map| check("the heat map", map.similarity.shape()))
}

/// The page while it is drawn.
struct Page<'a> {
    canvas: Canvas,
    writer: Writer,
    images: &'a Images,
    findings: &'a Findings,
}

impl Page<'_> {
    fn header(&mut self, labels: &OverviewLabels) {
        if labels.demonstration {
            let band = Rect { x: 0, y: 0, width: layout::WIDTH, height: layout::BANNER };
            self.canvas.fill(band, BANNER, 1.0);
            let style = Style { size: 21.0, colour: BANNER_TEXT, shadow: false };
            self.text(([layout::WIDTH / 2, 6], Align::Centre), BANNER_WORDS, style);
        }
        let (left, right) = (layout::MARGIN, layout::WIDTH - layout::MARGIN);
        let top = layout::TITLE_TOP;
        let title = self.writer.fitted(&labels.title, 27.0, 900);
        self.text(([left, top], Align::Left), &title, plain(27.0, TEXT));
        let subtitle = self.writer.fitted(&labels.subtitle, 17.0, 900);
        self.text(([left, top + 33], Align::Left), &subtitle, plain(17.0, QUIET));
        let (score, detail) = score_lines(self.findings);
        self.text(([right, top], Align::Right), &score, plain(27.0, TEXT));
        self.text(([right, top + 33], Align::Right), &detail, plain(17.0, QUIET));
        let headings = [
            "Arterial phase",
            "Portal venous phase, segmentation",
            "Similarity to the proliferative prototype",
        ];
        for (column, heading) in headings.into_iter().enumerate() {
            let x = layout::cell(column, 0).x;
            self.text(([x, layout::HEADING_TOP], Align::Left), heading, plain(18.0, TEXT));
        }
    }

    fn cell(&mut self, column: usize, cell: Rect, section: &Section, lesion: Option<&Lesion>) {
        let images = self.images;
        let drawn = match column {
            0 => images.arterial.as_ref().map(|arterial| self.scan(&arterial.hu, section)),
            1 => {
                self.scan(&images.portal.hu, section);
                self.contours(section);
                Some(())
            }
            _ => images.heat_map.as_ref().map(|map| {
                self.scan(&images.portal.hu, section);
                self.heat(&map.similarity, section);
            }),
        };
        if drawn.is_none() {
            let words = ["no arterial phase", "", "no heat map"][column];
            let middle = [cell.x + cell.width / 2, cell.y + cell.height / 2 - 10];
            self.text((middle, Align::Centre), words, plain(18.0, QUIET));
            return;
        }
        if let (1, Plane::Axial, Some(lesion)) = (column, section.plane, lesion) {
            self.diameter(section, lesion);
        }
        self.annotate(cell, section);
        if column == 2 {
            self.colour_bar(cell);
        }
    }

    /// HU through the display window.
    fn scan(&mut self, hu: &Array3<i16>, section: &Section) {
        let grey = section.values(hu, f32::from);
        self.each_pixel(section, |canvas, at, x, y| {
            let level = (grey[at] - (LEVEL - WINDOW / 2.0)) / WINDOW;
            let value = nearest_level(level.clamp(0.0, 1.0) * 255.0);
            canvas.blend(x, y, [value; 3], 1.0);
        });
    }

    fn heat(&mut self, similarity: &Array3<u8>, section: &Section) {
        let values = section.values(similarity, |v| f32::from(v) / 255.0);
        let inside =
            section.values(&self.images.mask.labels, |l| f32::from(u8::from(l != BACKGROUND)));
        self.each_pixel(section, |canvas, at, x, y| {
            if values[at] > 0.0 {
                let alpha = 0.8 * inside[at].clamp(0.0, 1.0);
                canvas.blend(x, y, heat(values[at]), alpha);
            }
        });
    }

    fn contours(&mut self, section: &Section) {
        let liver = |label: u8| f32::from(u8::from(label == LIVER || label == TUMOUR));
        let tumour = |label: u8| f32::from(u8::from(label == TUMOUR));
        let labels = &self.images.mask.labels;
        let (liver, tumour) = (section.values(labels, liver), section.values(labels, tumour));
        self.contour(section, &liver, Stroke { colour: LIVER_LINE, width: 1.6 });
        self.contour(section, &tumour, Stroke { colour: TUMOUR_LINE, width: 1.8 });
    }

    /// Draws where the values cross one half: distance to the crossing is value over gradient.
    fn contour(&mut self, section: &Section, values: &[f32], stroke: Stroke) {
        let wide = section.rect.width as usize + 2;
        self.each_pixel(section, |canvas, at, x, y| {
            let across = (values[at + 1] - values[at - 1]) / 2.0;
            let down = (values[at + wide] - values[at - wide]) / 2.0;
            // Flat, as nearly everywhere: no gradient, no line.
            if across == 0.0 && down == 0.0 {
                return;
            }
            let slope = across.hypot(down);
            if slope > 1e-4 {
                let off = (values[at] - 0.5).abs() / slope;
                canvas.blend(x, y, stroke.colour, stroke.width / 2.0 + 0.5 - off);
            }
        });
    }

    /// Calls with the index into a section's values and the pixel's place.
    fn each_pixel(
        &mut self,
        section: &Section,
        mut draw: impl FnMut(&mut Canvas, usize, i32, i32),
    ) {
        let wide = section.rect.width as usize + 2;
        for row in 0..section.rect.height {
            for column in 0..section.rect.width {
                let at = (row as usize + 1) * wide + column as usize + 1;
                draw(&mut self.canvas, at, section.rect.x + column, section.rect.y + row);
            }
        }
    }

    fn diameter(&mut self, section: &Section, lesion: &Lesion) {
        let [a, b] = lesion.ends.map(|[y, x]| section.pixel([lesion.slice as f64, y, x]));
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length = dx.hypot(dy);
        if !length.is_finite() || length < 1.0 {
            return;
        }
        let stroke = Stroke { colour: DIAMETER_LINE, width: 1.6 };
        self.canvas.line(a, b, stroke);
        let tick = [-dy / length * 6.0, dx / length * 6.0];
        for end in [a, b] {
            let [x, y] = end;
            self.canvas.line([x - tick[0], y - tick[1]], [x + tick[0], y + tick[1]], stroke);
        }
        // The label stands over the middle of the line.
        let at = [((a[0] + b[0]) / 2.0) as i32, ((a[1] + b[1]) / 2.0) as i32 - 30];
        let words = lesion.diameter.to_string();
        self.text((at, Align::Centre), &words, shadowed(19.0, DIAMETER_LINE));
    }

    /// Plane, place, window, sides of the patient and scale.
    fn annotate(&mut self, cell: Rect, section: &Section) {
        let along = [Plane::Axial, Plane::Coronal, Plane::Sagittal]
            .iter()
            .position(|plane| *plane == section.plane)
            .unwrap_or(0);
        let count = self.images.portal.hu.shape()[along];
        let place = format!("{}  {} / {count}", section.plane.name(), section.index + 1);
        let small = shadowed(15.0, TEXT);
        self.text(([cell.x + 8, cell.y + 5], Align::Left), &place, small);
        let window = ([cell.x + 8, cell.bottom() - 23], Align::Left);
        self.text(window, &format!("W{WINDOW} L{LEVEL}"), small);
        let [left, right, top, bottom] = section.plane.letters();
        let letter = shadowed(18.0, TEXT);
        let (middle_x, middle_y) = (cell.x + cell.width / 2, cell.y + cell.height / 2 - 10);
        self.text(([cell.x + 8, middle_y], Align::Left), left, letter);
        self.text(([cell.right() - 8, middle_y], Align::Right), right, letter);
        self.text(([middle_x, cell.y + 3], Align::Centre), top, letter);
        self.text(([middle_x, cell.bottom() - 24], Align::Centre), bottom, letter);
        self.scale_bar(cell, section);
    }

    fn scale_bar(&mut self, cell: Rect, section: &Section) {
        let fits = |mm: &f64| mm * section.pixels_per_mm <= f64::from(cell.width) / 4.0;
        let Some(mm) = [100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0].into_iter().find(fits) else {
            return;
        };
        let length = (mm * section.pixels_per_mm) as f32;
        let (right, y) = (cell.right() as f32 - 10.0, cell.bottom() as f32 - 9.5);
        let stroke = Stroke { colour: TEXT, width: 2.0 };
        self.canvas.line([right - length, y], [right, y], stroke);
        for x in [right - length, right] {
            self.canvas.line([x, y - 4.0], [x, y + 4.0], stroke);
        }
        let at = [(right - length / 2.0) as i32, cell.bottom() - 34];
        self.text((at, Align::Centre), &format!("{mm} mm"), shadowed(15.0, TEXT));
    }

    fn colour_bar(&mut self, cell: Rect) {
        let height = cell.height * 2 / 5;
        let (x, top) = (cell.right() - 54, cell.y + 12);
        let frame = Rect { x: x - 1, y: top - 1, width: 14, height: height + 2 };
        self.canvas.fill(frame, QUIET, 1.0);
        for row in 0..height {
            let value = 1.0 - row as f32 / (height - 1).max(1) as f32;
            let line = Rect { x, y: top + row, width: 12, height: 1 };
            self.canvas.fill(line, heat(value), 1.0);
        }
        for (value, y) in [("1.0", top), ("0.5", top + height / 2), ("0.0", top + height)] {
            self.text(([x + 18, y - 9], Align::Left), value, shadowed(14.0, TEXT));
        }
    }

    fn legend(&mut self) {
        let top = layout::LEGEND_TOP;
        let rule = Rect {
            x: layout::MARGIN,
            y: top - 4,
            width: layout::WIDTH - 2 * layout::MARGIN,
            height: 1,
        };
        self.canvas.fill(rule, RULE, 1.0);
        let mut x = layout::MARGIN;
        let marks = [
            ("liver", LIVER_LINE),
            ("tumour", TUMOUR_LINE),
            ("largest axial diameter", DIAMETER_LINE),
        ];
        for (words, colour) in marks {
            let y = top as f32 + 17.0;
            self.canvas.line([x as f32, y], [x as f32 + 26.0, y], Stroke { colour, width: 2.5 });
            self.text(([x + 34, top + 7], Align::Left), words, plain(16.0, TEXT));
            x += 34 + self.writer.width(words, 16.0) as i32 + 28;
        }
        let note = "patient's right at the left of the picture · window width 400 HU, level 50 HU";
        let right = layout::WIDTH - layout::MARGIN;
        self.text(([right, top + 7], Align::Right), note, plain(16.0, QUIET));
    }

    fn text(&mut self, place: ([i32; 2], Align), words: &str, style: Style) {
        self.writer.write(&mut self.canvas, place, words, style);
    }
}

fn plain(size: f32, colour: Rgb) -> Style {
    Style { size, colour, shadow: false }
}

fn shadowed(size: f32, colour: Rgb) -> Style {
    Style { size, colour, shadow: true }
}

/// The score, and what stands beside it.
fn score_lines(findings: &Findings) -> (String, String) {
    let lesions = findings.lesions.as_ref().map_or("nothing segmented".to_owned(), |lesions| {
        let noun = if lesions.count == 1 { "lesion" } else { "lesions" };
        let liver_ml = lesions.liver_mm3 / 1000.0;
        format!("{} {noun} · liver {liver_ml:.0} ml", lesions.count)
    });
    match &findings.risk {
        Some(risk) => {
            let class = if risk.proliferative { "proliferative" } else { "non-proliferative" };
            let (score, threshold) = (risk.score.get(), risk.threshold.get());
            let detail = format!("p(proliferative), threshold {threshold:.2} · {lesions}");
            (format!("{score:.2}  {class}"), detail)
        }
        None => ("no score".to_owned(), lesions),
    }
}

#[cfg(test)]
mod tests;
