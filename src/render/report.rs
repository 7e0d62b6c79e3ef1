//! The report: one HTML page without scripts or outside resources but the overview beside it.
//!
//! The page is drawn from [`ReportView`], plain text and rows already formatted with their units,
//! so that it says exactly what its caller decided and knows no clinical rule. Every text is
//! escaped; markup is `'static` and so cannot come from input.

mod view;

pub use view::{
    CriterionRow, FactRow, GradeRow, LesionRow, Met, ModelRow, NomogramView, OutcomeView,
    ReasonRow, RecommendationView, ReportView, ScoreView, TermRow, TimingRow, Tone,
};

/// Lays the page out. The answer is complete UTF-8 HTML.
pub fn report(view: &ReportView) -> String {
    let mut page = Html { out: String::with_capacity(32 * 1024) };
    page.head(view);
    page.header(view);
    page.lead(view);
    page.reasons(&view.outcome.reasons);
    page.overview(view);
    page.lesions(view);
    page.nomograms(&view.nomograms);
    page.prototypes(&view.prototypes);
    page.eligibility(&view.eligibility);
    page.liver_function(&view.liver_function);
    page.inputs(view);
    page.models(&view.models);
    page.timings_and_facts(view);
    page.foot(view);
    page.out
}

/// The style sheet, inside the page.
const STYLE: &str = include_str!("report.css");

/// A cell of a table.
enum Cell<'a> {
    Text(&'a str),
    Number(&'a str),
    Code(&'a str),
    Small(&'a str),
    Met(Met),
}

/// A page being written.
struct Html {
    out: String,
}

impl Html {
    /// Markup, which is never input.
    fn raw(&mut self, markup: &'static str) {
        self.out.push_str(markup);
    }

    /// Input, escaped for text and for attributes.
    fn text(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                control if control.is_control() => self.out.push(' '),
                letter => self.out.push(letter),
            }
        }
    }

    fn element(&mut self, open: &'static str, text: &str, close: &'static str) {
        self.raw(open);
        self.text(text);
        self.raw(close);
    }

    fn head(&mut self, view: &ReportView) {
        self.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        self.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        // Nothing may be fetched or run, whatever a text contains.
        self.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ");
        self.raw("img-src 'self' file:; style-src 'unsafe-inline'\">\n");
        self.element("<title>Liver CT report · ", &view.study, "</title>\n<style>\n");
        self.raw(STYLE);
        self.raw("</style>\n</head>\n<body>\n");
        if view.demonstration {
            self.element("<div class=\"banner\">", super::overview::BANNER_WORDS, "</div>\n");
        }
        self.raw("<main>\n");
    }

    fn header(&mut self, view: &ReportView) {
        self.raw("<header>\n<div><h1>Liver tumour risk report</h1>");
        self.element("<p>", &view.scan, "</p></div>\n");
        self.element("<p class=\"when\">", &view.study, "<br>");
        self.element("", &view.made_at, "</p>\n</header>\n");
    }

    /// Outcome, score and recommendation: what a reader wants first.
    fn lead(&mut self, view: &ReportView) {
        self.raw("<div class=\"lead\">\n<div><p class=\"label\">Outcome</p><p class=\"big ");
        self.raw(match view.outcome.tone {
            Tone::Good => "ok\">",
            Tone::Held => "held\">",
            Tone::Stopped => "stopped\">",
        });
        self.element("", &view.outcome.headline, "</p></div>\n");
        self.raw("<div><p class=\"label\">Proliferative phenotype</p>");
        match &view.score {
            Some(score) => {
                self.element("<p class=\"big\">", &score.score, " · ");
                self.element("", &score.class, "</p>");
                self.element("<p class=\"note\">threshold ", &score.threshold, "</p>");
            }
            None => self.raw("<p class=\"big\">no score</p>"),
        }
        self.raw("</div>\n<div><p class=\"label\">Recommendation</p>");
        match &view.recommendation {
            Some(recommendation) => {
                self.element("<p class=\"big\">", &recommendation.headline, "</p>");
                self.element("<p class=\"note\">", &recommendation.wording, "</p>");
            }
            None => self.raw("<p class=\"big\">none</p>"),
        }
        self.raw("</div>\n</div>\n");
    }

    fn reasons(&mut self, reasons: &[ReasonRow]) {
        if reasons.is_empty() {
            return;
        }
        self.raw("<ul class=\"reasons\">\n");
        for reason in reasons {
            self.element("<li><code>", &reason.code, "</code>");
            self.element("<span>", &reason.sentence, "</span></li>\n");
        }
        self.raw("</ul>\n");
    }

    fn overview(&mut self, view: &ReportView) {
        if view.has_overview {
            self.raw("<figure><img src=\"overview.png\" width=\"1500\" height=\"1080\" alt=\"");
            self.raw(
                "Arterial and portal venous phase with the contours of liver and tumour, and ",
            );
            self.raw("the heat map, in three planes\"><figcaption>The patient's right is at the ");
            self.raw("left of the axial and coronal pictures.</figcaption></figure>\n");
        }
    }

    fn lesions(&mut self, view: &ReportView) {
        self.raw("<h2>Lesions</h2>\n");
        self.element("<p class=\"note\">", &view.lesion_summary, "</p>\n");
        let heads = ["", "n:Largest axial diameter", "n:Volume", "n:Slice", "n:Centre, RAS"];
        let numbers: Vec<String> = (1..=view.lesions.len()).map(|n| n.to_string()).collect();
        let rows = view.lesions.iter().zip(&numbers).map(|(lesion, number)| {
            vec![
                Cell::Text(number),
                Cell::Number(&lesion.diameter),
                Cell::Number(&lesion.volume),
                Cell::Number(&lesion.slice),
                Cell::Number(&lesion.centre),
            ]
        });
        self.table(&heads, rows.collect(), "No tumour was found.");
    }

    fn nomograms(&mut self, nomograms: &[NomogramView]) {
        self.raw("<h2>Nomograms, term by term</h2>\n");
        if nomograms.is_empty() {
            self.raw("<p class=\"none\">None was computed.</p>\n");
        }
        for nomogram in nomograms {
            self.element(
                "<section class=\"nomogram\"><div class=\"top\"><h3>",
                &nomogram.name,
                "</h3>",
            );
            self.element("<span class=\"group\">", &nomogram.risk_group, "</span></div>\n");
            let heads = ["Term", "n:Value", "Unit", "Source", "n:Coefficient", "n:Points", "Basis"];
            let rows = nomogram.terms.iter().map(|term| {
                vec![
                    Cell::Text(&term.name),
                    Cell::Number(&term.value),
                    Cell::Small(&term.unit),
                    Cell::Small(&term.source),
                    Cell::Number(&term.coefficient),
                    Cell::Number(&term.points),
                    Cell::Small(&term.provenance),
                ]
            });
            self.table_with_total(&heads, rows.collect(), &nomogram.total);
            self.element("<p class=\"note\">", &nomogram.cut_off, "</p>");
            if !nomogram.survival.is_empty() {
                self.element("<p class=\"note\">", &nomogram.survival, "</p>");
            }
            self.element("<p class=\"note\">", &nomogram.provenance, "</p></section>\n");
        }
    }

    fn prototypes(&mut self, distances: &[FactRow]) {
        if !distances.is_empty() {
            self.raw("<h2>Behind the risk score</h2>\n");
            self.facts(&["Quantity", "n:Value"], distances, "");
        }
    }

    fn eligibility(&mut self, criteria: &[CriterionRow]) {
        self.raw("<h2>Eligibility</h2>\n");
        let rows = criteria.iter().map(|row| {
            let cells = [Cell::Text(&row.name), Cell::Text(&row.value), Cell::Small(&row.limit)];
            cells.into_iter().chain([Cell::Met(row.met)]).collect()
        });
        let heads = ["Criterion", "Found", "Accepted", "Met"];
        self.table(&heads, rows.collect(), "Not evaluated.");
    }

    fn liver_function(&mut self, grades: &[GradeRow]) {
        self.raw("<h2>Liver function</h2>\n");
        let rows = grades.iter().map(|row| {
            vec![
                Cell::Text(&row.name),
                Cell::Number(&row.value),
                Cell::Text(&row.grade),
                Cell::Small(&row.inputs),
            ]
        });
        let heads = ["Score", "n:Value", "Grade", "From"];
        self.table(&heads, rows.collect(), "Not computable from the clinical data given.");
    }

    fn models(&mut self, models: &[ModelRow]) {
        self.raw("<h2>Models</h2>\n");
        let rows = models.iter().map(|row| {
            vec![
                Cell::Text(&row.role),
                Cell::Text(&row.id),
                Cell::Text(&row.intended_use),
                Cell::Code(&row.digest),
            ]
        });
        let heads = ["Role", "Package", "Intended use", "SHA-256"];
        self.table(&heads, rows.collect(), "No model was run.");
    }

    /// What went in: the patient's values and the images'.
    fn inputs(&mut self, view: &ReportView) {
        self.raw("<div class=\"columns\">\n<div><h2>Clinical data supplied</h2>\n");
        self.facts(&["Value", "n:Supplied"], &view.supplied, "None.");
        self.raw("</div>\n<div><h2>Measured on the images</h2>\n");
        self.facts(&["Quantity", "n:Value"], &view.measurements, "Nothing was measured.");
        self.raw("</div>\n</div>\n");
    }

    fn timings_and_facts(&mut self, view: &ReportView) {
        self.raw("<div class=\"columns\">\n<div><h2>Time per stage</h2>\n");
        let rows = view.timings.iter().map(|t| vec![Cell::Text(&t.stage), Cell::Number(&t.time)]);
        self.table(&["Stage", "n:Wall time"], rows.collect(), "Not measured.");
        self.raw("</div>\n<div><h2>This result</h2>\n");
        let rows = view.facts.iter().map(|f| vec![Cell::Text(&f.name), Cell::Code(&f.value)]);
        self.table(&["Fact", "Value"], rows.collect(), "Nothing recorded.");
        self.raw("</div>\n</div>\n");
    }

    fn facts(&mut self, heads: &[&'static str], facts: &[FactRow], empty: &'static str) {
        let rows = facts.iter().map(|f| vec![Cell::Text(&f.name), Cell::Number(&f.value)]);
        self.table(heads, rows.collect(), empty);
    }

    fn foot(&mut self, view: &ReportView) {
        self.raw("<footer>This page is a view. The signed result beside it, ");
        self.raw("<code>result.cose</code>, is what counts; check it with ");
        self.raw("<code>hcc-edge verify result.cose</code>.");
        if view.demonstration {
            self.element(" ", super::overview::BANNER_WORDS, ".");
        }
        self.raw("</footer>\n</main>\n</body>\n</html>\n");
    }

    /// A table, or a sentence when it has no rows. A heading that starts with `n:` is a column of
    /// numbers.
    fn table(&mut self, heads: &[&'static str], rows: Vec<Vec<Cell<'_>>>, empty: &'static str) {
        if rows.is_empty() {
            self.raw("<p class=\"none\">");
            self.raw(empty);
            self.raw("</p>\n");
            return;
        }
        self.open_table(heads, &rows);
        self.raw("</table></div>\n");
    }

    fn table_with_total(&mut self, heads: &[&'static str], rows: Vec<Vec<Cell<'_>>>, total: &str) {
        self.open_table(heads, &rows);
        self.raw("<tfoot><tr><td colspan=\"5\">Total</td><td class=\"n\">");
        self.element("", total, "</td><td></td></tr></tfoot></table></div>\n");
    }

    fn open_table(&mut self, heads: &[&'static str], rows: &[Vec<Cell<'_>>]) {
        self.raw("<div class=\"scroll\"><table><thead><tr>");
        for head in heads {
            let (open, words) = match head.strip_prefix("n:") {
                Some(words) => ("<th scope=\"col\" class=\"n\">", words),
                None => ("<th scope=\"col\">", *head),
            };
            self.element(open, words, "</th>");
        }
        self.raw("</tr></thead><tbody>\n");
        for row in rows {
            self.raw("<tr>");
            for cell in row {
                self.cell(cell);
            }
            self.raw("</tr>\n");
        }
        self.raw("</tbody>");
    }

    fn cell(&mut self, cell: &Cell<'_>) {
        match cell {
            Cell::Text(text) => self.element("<td>", text, "</td>"),
            Cell::Number(text) => self.element("<td class=\"n\">", text, "</td>"),
            Cell::Code(text) => self.element("<td><code>", text, "</code></td>"),
            Cell::Small(text) => self.element("<td class=\"small\">", text, "</td>"),
            Cell::Met(Met::Yes) => self.raw("<td class=\"ok\">yes</td>"),
            Cell::Met(Met::No) => self.raw("<td class=\"stopped\">no</td>"),
            Cell::Met(Met::Unknown) => self.raw("<td class=\"held\">unknown</td>"),
        }
    }
}

#[cfg(test)]
mod tests;
