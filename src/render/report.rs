//! The report: one HTML page without scripts or outside resources but the overview beside it, in
//! every language it is given in; a reader switches between them.
//!
//! The page is drawn from [`ReportView`]s, plain text and rows already formatted with their units,
//! so that it says exactly what its caller decided and knows no clinical rule. Every text is
//! escaped; markup is `'static` and so cannot come from input.

mod view;

mod language;

mod chinese;

mod drawing;

mod clinical;

pub use drawing::{AxisView, CurveView};
pub use language::Language;
pub use view::{
    BurdenRow, CheckRow, CriterionRow, DoseRow, FactRow, GradeRow, LesionRow, Met, ModelRow,
    NomogramView, OutcomeView, ReasonRow, RecommendationView, ReportView, ScoreView, StagingRow,
    TermRow, TimingRow, Tone,
};

/// Lays the page out, one view per language. The answer is complete UTF-8 HTML.
pub fn report(views: &[ReportView]) -> String {
    let mut page = Html::new(Language::English);
    page.head(views);
    for view in views {
        page.language = view.language;
        page.main(view);
    }
    page.raw("</body>\n</html>\n");
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
    /// A finding that speaks against something: present is bad.
    Against(Met),
}

/// A page being written.
struct Html {
    out: String,
    language: Language,
}

impl Html {
    fn new(language: Language) -> Self {
        Self { out: String::with_capacity(96 * 1024), language }
    }

    /// The page in one language.
    fn main(&mut self, view: &ReportView) {
        self.out.push_str(&format!("<main lang=\"{}\">\n", self.language.tag()));
        self.header(view);
        self.lead(view);
        self.reasons(&view.outcome.reasons);
        self.overview(view);
        self.lesions(view);
        self.nomograms(view);
        self.prototypes(&view.prototypes);
        self.eligibility(&view.eligibility);
        self.liver_function(&view.liver_function);
        self.stagings(&view.stagings);
        self.contraindications(&view.contraindications);
        self.doses(view);
        self.inputs(view);
        self.models(&view.models);
        self.timings_and_facts(view);
        self.foot(view);
        self.raw("</main>\n");
    }

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

    /// Words of the page itself, in its language.
    fn say(&mut self, english: &'static str) {
        let words = self.language.say(english);
        self.text(words);
    }

    fn heading(&mut self, english: &'static str) {
        self.raw("<h2>");
        self.say(english);
        self.raw("</h2>\n");
    }

    fn head(&mut self, views: &[ReportView]) {
        let study = views.first().map_or("", |view| view.study.as_str());
        self.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        self.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        // Nothing may be fetched or run, whatever a text contains.
        self.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ");
        self.raw("img-src 'self' file:; style-src 'unsafe-inline'\">\n");
        self.element("<title>Liver CT report · ", study, "</title>\n<style>\n");
        self.raw(STYLE);
        self.raw("</style>\n</head>\n<body>\n");
        if views.iter().any(|view| view.demonstration) {
            self.element("<div class=\"banner\">", super::overview::BANNER_WORDS, " · ");
            let chinese = Language::Chinese.say(super::overview::BANNER_WORDS);
            self.element("<span lang=\"zh-CN\">", chinese, "</span></div>\n");
        }
        // Radio buttons and the style sheet: nothing runs.
        self.raw("<input type=\"radio\" name=\"language\" id=\"en\" checked>");
        self.raw("<label for=\"en\">English</label>");
        self.raw("<input type=\"radio\" name=\"language\" id=\"zh\">");
        self.raw("<label for=\"zh\" lang=\"zh-CN\">中文</label>\n");
    }

    fn header(&mut self, view: &ReportView) {
        self.raw("<header>\n<div><h1>");
        self.say("Liver tumour risk report");
        self.raw("</h1>");
        self.element("<p>", &view.scan, "</p></div>\n");
        self.element("<p class=\"when\">", &view.study, "<br>");
        self.element("", &view.made_at, "</p>\n</header>\n");
    }

    /// Outcome, score and recommendation: what a reader wants first.
    fn lead(&mut self, view: &ReportView) {
        self.raw("<div class=\"lead\">\n<div><p class=\"label\">");
        self.say("Outcome");
        self.raw("</p><p class=\"big ");
        self.raw(match view.outcome.tone {
            Tone::Good => "ok\">",
            Tone::Held => "held\">",
            Tone::Stopped => "stopped\">",
        });
        self.element("", &view.outcome.headline, "</p></div>\n");
        self.raw("<div><p class=\"label\">");
        self.say("Proliferative phenotype");
        self.raw("</p><p class=\"big\">");
        match &view.score {
            Some(score) => {
                self.element("", &score.score, " · ");
                self.element("", &score.class, "</p>");
                self.raw("<p class=\"note\">");
                self.say("threshold");
                self.element(" ", &score.threshold, "");
            }
            None => self.say("no score"),
        }
        self.raw("</p></div>\n<div><p class=\"label\">");
        self.say("Recommendation");
        self.raw("</p><p class=\"big\">");
        match &view.recommendation {
            Some(recommendation) => {
                self.element("", &recommendation.headline, "</p>");
                self.element("<p class=\"note\">", &recommendation.wording, "");
            }
            None => self.say("none"),
        }
        self.raw("</p></div>\n</div>\n");
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
            self.say("Both phases with the contours of liver and tumour, and the heat map");
            self.raw("\"><figcaption>");
            self.say("The patient's right is at the left of the axial and coronal pictures.");
            self.raw("</figcaption></figure>\n");
        }
    }

    fn lesions(&mut self, view: &ReportView) {
        self.heading("Lesions");
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
        self.burden(&view.burden);
    }

    fn prototypes(&mut self, distances: &[FactRow]) {
        if !distances.is_empty() {
            self.heading("Behind the risk score");
            self.facts(&["Quantity", "n:Value"], distances, "");
        }
    }

    fn models(&mut self, models: &[ModelRow]) {
        self.heading("Models");
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
        self.raw("<div class=\"columns\">\n<div>");
        self.heading("Clinical data supplied");
        self.facts(&["Value", "n:Supplied"], &view.supplied, "None.");
        self.raw("</div>\n<div>");
        self.heading("Measured on the images");
        self.facts(&["Quantity", "n:Value"], &view.measurements, "Nothing was measured.");
        self.raw("</div>\n</div>\n");
    }

    fn timings_and_facts(&mut self, view: &ReportView) {
        self.raw("<div class=\"columns\">\n<div>");
        self.heading("Time per stage");
        let rows = view.timings.iter().map(|t| vec![Cell::Text(&t.stage), Cell::Number(&t.time)]);
        self.table(&["Step", "n:Wall time"], rows.collect(), "Not measured.");
        self.raw("</div>\n<div>");
        self.heading("This result");
        let rows = view.facts.iter().map(|f| vec![Cell::Text(&f.name), Cell::Code(&f.value)]);
        self.table(&["Fact", "Value"], rows.collect(), "Nothing recorded.");
        self.raw("</div>\n</div>\n");
    }

    fn facts(&mut self, heads: &[&'static str], facts: &[FactRow], empty: &'static str) {
        let rows = facts.iter().map(|f| vec![Cell::Text(&f.name), Cell::Number(&f.value)]);
        self.table(heads, rows.collect(), empty);
    }

    fn foot(&mut self, view: &ReportView) {
        self.raw("<footer>");
        self.say("This page is a view. The signed result beside it counts: ");
        self.raw("<code>hcc-edge verify result.cose</code>");
        if view.demonstration {
            self.raw(" · ");
            self.say(super::overview::BANNER_WORDS);
        }
        self.raw("</footer>\n");
    }

    /// A table, or a sentence when it has no rows. A heading that starts with `n:` is a column of
    /// numbers.
    fn table(&mut self, heads: &[&'static str], rows: Vec<Vec<Cell<'_>>>, empty: &'static str) {
        if rows.is_empty() {
            self.raw("<p class=\"none\">");
            self.say(empty);
            self.raw("</p>\n");
            return;
        }
        self.open_table(heads, &rows);
        self.raw("</table></div>\n");
    }

    fn table_with_total(&mut self, heads: &[&'static str], rows: Vec<Vec<Cell<'_>>>, total: &str) {
        self.open_table(heads, &rows);
        self.raw("<tfoot><tr><td colspan=\"5\">");
        self.say("Total");
        self.raw("</td><td class=\"n\">");
        self.element("", total, "</td><td></td></tr></tfoot></table></div>\n");
    }

    fn open_table(&mut self, heads: &[&'static str], rows: &[Vec<Cell<'_>>]) {
        self.raw("<div class=\"scroll\"><table><thead><tr>");
        for head in heads {
            let (open, words) = match head.strip_prefix("n:") {
                Some(words) => ("<th scope=\"col\" class=\"n\">", words),
                None => ("<th scope=\"col\">", *head),
            };
            self.raw(open);
            self.say(words);
            self.raw("</th>");
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
            Cell::Met(Met::Yes) => self.verdict("<td class=\"ok\">", "yes"),
            Cell::Met(Met::No) => self.verdict("<td class=\"stopped\">", "no"),
            Cell::Against(Met::Yes) => self.verdict("<td class=\"stopped\">", "present"),
            Cell::Against(Met::No) => self.verdict("<td class=\"ok\">", "absent"),
            Cell::Met(Met::Unknown) | Cell::Against(Met::Unknown) => {
                self.verdict("<td class=\"held\">", "unknown");
            }
        }
    }

    fn verdict(&mut self, open: &'static str, word: &'static str) {
        self.raw(open);
        self.say(word);
        self.raw("</td>");
    }
}

#[cfg(test)]
mod tests;
