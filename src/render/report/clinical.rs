//! The clinical part of the page: tumour burden, nomograms, eligibility, liver function, stagings,
//! contraindications, published doses.

use super::view::{BurdenRow, CheckRow, CriterionRow, GradeRow, NomogramView, StagingRow};
use super::{Cell, Html, ReportView};

impl Html {
    /// What was supplied beside what was measured; a contradiction stands among the reasons.
    pub(super) fn burden(&mut self, rows: &[BurdenRow]) {
        if rows.is_empty() {
            return;
        }
        self.heading("Tumour burden, supplied and measured");
        let cells = rows.iter().map(|row| {
            vec![
                Cell::Text(&row.name),
                Cell::Number(&row.supplied),
                Cell::Number(&row.measured),
                Cell::Number(&row.used),
            ]
        });
        let heads = ["Quantity", "n:Supplied", "n:On the images", "n:Used for the stagings"];
        self.table(&heads, cells.collect(), "");
    }

    pub(super) fn nomograms(&mut self, view: &ReportView) {
        self.heading("Nomograms, term by term");
        if view.nomograms.is_empty() {
            self.raw("<p class=\"none\">");
            self.say("None was computed.");
            self.raw("</p>\n");
            return;
        }
        for nomogram in &view.nomograms {
            self.nomogram(nomogram);
        }
        if view.curves.iter().any(|curve| !curve.patient.is_empty()) {
            self.heading("Predicted survival");
            self.survival_curves(&view.curves);
            self.raw("<p class=\"note\">");
            self.say(
                "Solid: this patient. Dashed: the reference patient. The curves come from two \
                 separate nomograms: their distance is not the effect of a treatment.",
            );
            self.raw("</p>\n");
        }
    }

    fn nomogram(&mut self, nomogram: &NomogramView) {
        self.element(
            "<section class=\"nomogram\"><div class=\"top\"><h3>",
            &nomogram.name,
            "</h3>",
        );
        self.element("<span class=\"group\">", &nomogram.risk_group, "</span></div>\n");
        self.nomogram_axes(&nomogram.axes);
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
        for note in [&nomogram.cut_off, &nomogram.survival, &nomogram.provenance] {
            if !note.is_empty() {
                self.element("<p class=\"note\">", note, "</p>");
            }
        }
        self.raw("</section>\n");
    }

    pub(super) fn eligibility(&mut self, criteria: &[CriterionRow]) {
        self.heading("Eligibility");
        let rows = criteria.iter().map(|row| {
            let cells = [Cell::Text(&row.name), Cell::Text(&row.value), Cell::Small(&row.limit)];
            cells.into_iter().chain([Cell::Met(row.met)]).collect()
        });
        let heads = ["Criterion", "Found", "Accepted", "Met"];
        self.table(&heads, rows.collect(), "Not evaluated.");
    }

    pub(super) fn liver_function(&mut self, grades: &[GradeRow]) {
        self.heading("Liver function");
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
        self.remark(
            "Child-Pugh with albumin limits of 28 and 35 g/L and the INR; variants of the table have \
             30 g/L for the lower one, or prothrombin seconds.",
        );
    }

    pub(super) fn stagings(&mut self, stagings: &[StagingRow]) {
        self.heading("Stagings");
        let rows = stagings.iter().map(|row| {
            vec![
                Cell::Text(&row.system),
                Cell::Text(&row.stage),
                Cell::Number(&row.value),
                Cell::Small(&row.caveat),
            ]
        });
        let heads = ["Staging", "Stage", "n:Value", "What is uncertain"];
        self.table(&heads, rows.collect(), "Not evaluated.");
        self.remark("None of them takes part in the recommendation.");
    }

    pub(super) fn contraindications(&mut self, checks: &[CheckRow]) {
        self.heading("Published contraindications to TACE");
        let rows = checks.iter().map(|row| vec![Cell::Text(&row.item), Cell::Against(row.present)]);
        self.table(&["Contraindication", "Patient"], rows.collect(), "Not evaluated.");
        self.remark("A checklist for the tumour board: it decides nothing.");
    }

    pub(super) fn doses(&mut self, view: &ReportView) {
        self.heading("Published doses: reference, never an order");
        let rows = view.doses.iter().map(|row| {
            vec![Cell::Text(&row.item), Cell::Number(&row.amount), Cell::Number(&row.total)]
        });
        let heads = ["Drug and source", "n:Published amount", "n:Total for this body surface"];
        self.table(&heads, rows.collect(), "Not evaluated.");
        self.element("<p class=\"note\">", &view.body_surface, "</p>\n");
        self.element("<p class=\"note\">", &view.dose_schedule, "</p>\n");
        self.remark(
            "What papers gave, not what this patient should get: liver function, blood count and \
             earlier cycles are not looked at.",
        );
    }

    fn remark(&mut self, english: &'static str) {
        self.raw("<p class=\"note\">");
        self.say(english);
        self.raw("</p>\n");
    }
}
