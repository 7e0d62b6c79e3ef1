//! The nomograms as drawings: this patient's points on every axis, and predicted survival. Numbers in,
//! SVG out; texts are escaped by the page.

use super::Html;

/// One axis of a nomogram.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AxisView {
    /// Name of the term.
    pub name: String,
    /// Lowest and highest value fitted, as text.
    pub ends: (String, String),
    /// Points at the lowest and the highest value fitted, 0..=100.
    pub points: (f64, f64),
    /// This patient's value as text, and its points; `None` where it is missing.
    pub mark: Option<(String, f64)>,
}

/// A predicted survival curve.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CurveView {
    /// Such as "TACE".
    pub name: String,
    /// Months and probability, 0..=1, of this patient; the curve starts at (0, 1).
    pub patient: Vec<(f64, f64)>,
    /// The same of the reference patient.
    pub reference: Vec<(f64, f64)>,
}

/// Width of a drawing and of the names at its left.
const WIDTH: f64 = 920.0;
const NAMES: f64 = 230.0;
/// Where the scale of points ends.
const RIGHT: f64 = 880.0;
/// Height of one axis.
const ROW: f64 = 46.0;
/// Points of the whole scale.
const SCALE: f64 = 100.0;

impl Html {
    /// The axes over one scale of points, with this patient's mark on each.
    pub(super) fn nomogram_axes(&mut self, axes: &[AxisView]) {
        let height = ROW * (axes.len() as f64 + 1.0) + 8.0;
        self.open_svg(height, "Nomogram with this patient's points");
        self.point_scale(height);
        for (row, axis) in axes.iter().enumerate() {
            self.axis(axis, ROW * (row as f64 + 1.0) + 24.0);
        }
        self.raw("</svg>\n");
    }

    fn point_scale(&mut self, height: f64) {
        let points = self.language.say("Points");
        self.label((0.0, 20.0), "name", points);
        self.line((NAMES, 26.0), (RIGHT, 26.0), "axis");
        for step in 0..=10 {
            let value = f64::from(step) * 10.0;
            let x = across(value);
            self.line((x, 26.0), (x, height), "grid");
            self.label((x, 18.0), "tick", &format!("{value:.0}"));
        }
    }

    fn axis(&mut self, axis: &AxisView, y: f64) {
        let (left, right) = (across(axis.points.0), across(axis.points.1));
        self.label((0.0, y + 4.0), "name", &axis.name);
        self.line((left, y), (right, y), "axis");
        self.line((left, y - 4.0), (left, y + 4.0), "axis");
        self.line((right, y - 4.0), (right, y + 4.0), "axis");
        self.label((left, y + 17.0), "tick", &axis.ends.0);
        if (left - right).abs() > 24.0 {
            self.label((right, y + 17.0), "tick", &axis.ends.1);
        }
        if let Some((value, points)) = &axis.mark {
            let x = across(*points);
            self.out
                .push_str(&format!("<circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"));
            self.label((x, y - 9.0), "value", value);
        }
    }

    /// The curves of all nomograms over five years, the reference patient's dashed.
    pub(super) fn survival_curves(&mut self, curves: &[CurveView]) {
        const BOTTOM: f64 = 270.0;
        let months = self.language.say("Months after treatment");
        self.open_svg(BOTTOM + 40.0, "Predicted survival");
        for percent in [0, 25, 50, 75, 100] {
            let y = down(f64::from(percent) / 100.0);
            self.line((60.0, y), (780.0, y), "grid");
            self.label((54.0, y + 4.0), "end", &format!("{percent} %"));
        }
        for month in [0, 12, 24, 36, 48, 60] {
            self.label((along(f64::from(month)), BOTTOM + 16.0), "tick", &month.to_string());
        }
        self.label((420.0, BOTTOM + 34.0), "tick", months);
        for (number, curve) in curves.iter().enumerate() {
            self.curve(&curve.reference, &format!("curve c{number} reference"));
            self.curve(&curve.patient, &format!("curve c{number}"));
            if let Some((month, last)) = curve.patient.last() {
                let at = (along(*month) + 8.0, down(*last) + 4.0);
                self.label(at, &format!("series c{number}"), &curve.name);
            }
        }
        self.raw("</svg>\n");
    }

    fn curve(&mut self, points: &[(f64, f64)], class: &str) {
        if points.is_empty() {
            return;
        }
        let start = [(0.0, 1.0)];
        let place = |(month, probability): &(f64, f64)| {
            format!("{:.1},{:.1}", along(*month), down(*probability))
        };
        let line: Vec<String> = start.iter().chain(points).map(place).collect();
        let line = line.join(" ");
        self.out.push_str(&format!("<polyline class=\"{class}\" points=\"{line}\"/>"));
    }

    fn open_svg(&mut self, height: f64, title: &'static str) {
        self.out.push_str(&format!(
            "<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" preserveAspectRatio=\"xMinYMin\">"
        ));
        let title = self.language.say(title);
        self.element("<title>", title, "</title>");
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &'static str) {
        self.out.push_str(&format!(
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// `class` is ours: a name of the style sheet.
    fn label(&mut self, (x, y): (f64, f64), class: &str, text: &str) {
        self.out.push_str(&format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">"));
        self.text(text);
        self.raw("</text>");
    }
}

/// Points → pixels. A value outside the fitted range, which has other points than 0..=100, is drawn at
/// the end of the scale: the table beside the drawing has the number.
fn across(points: f64) -> f64 {
    let points = if points.is_finite() { points.clamp(0.0, SCALE) } else { 0.0 };
    NAMES + (RIGHT - NAMES) * points / SCALE
}

/// Months → pixels.
fn along(months: f64) -> f64 {
    60.0 + 12.0 * months.clamp(0.0, 60.0)
}

/// Probability → pixels.
fn down(probability: f64) -> f64 {
    270.0 - 250.0 * probability.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::report::Language;

    fn drawn(axes: &[AxisView]) -> String {
        let mut page = Html::new(Language::English);
        page.nomogram_axes(axes);
        page.out
    }

    #[test]
    fn a_mark_stands_where_its_points_are() {
        let axis = |points| AxisView {
            name: "Lesions".into(),
            ends: ("1".into(), "20".into()),
            points: (0.0, 100.0),
            mark: Some(("3".into(), points)),
        };
        for (points, x) in
            [(0.0, 230.0), (10.5, 298.2), (100.0, 880.0), (140.0, 880.0), (f64::NAN, 230.0)]
        {
            let page = drawn(&[axis(points)]);
            assert!(page.contains(&format!("cx=\"{x:.1}\"")), "{points}: {page}");
        }
        let missing = AxisView { mark: None, ..axis(0.0) };
        assert!(!drawn(&[missing]).contains("<circle"));
    }

    #[test]
    fn a_curve_goes_through_its_points() {
        let mut page = Html::new(Language::English);
        page.survival_curves(&[CurveView {
            name: "TACE".into(),
            patient: vec![(12.0, 0.5), (60.0, 0.1)],
            reference: vec![(12.0, 0.8)],
        }]);
        assert!(page.out.contains("points=\"60.0,20.0 204.0,145.0 780.0,245.0\""), "{}", page.out);
        assert!(page.out.contains("points=\"60.0,20.0 204.0,70.0\""), "{}", page.out);
    }
}
