//! The report page: what it says, and that nothing in it runs or is fetched.

use super::*;

/// A view with `text(n)` in every text field, each with its own number.
#[allow(clippy::too_many_lines, reason = "one literal that fills every field")]
fn view(mut text: impl FnMut(&'static str) -> String) -> ReportView {
    let mut t = move |sample| text(sample);
    let mut term = |name, value, unit, source, points| TermRow {
        name: t(name),
        value: t(value),
        unit: t(unit),
        source: t(source),
        coefficient: t("0.431"),
        points: t(points),
        provenance: t("published hazard ratio"),
    };
    let terms = vec![
        term("Proliferative phenotype", "1", "0 or 1", "measured", "0.43"),
        term("log10 AFP", "2.71", "log10 ng/ml", "supplied", "0.31"),
        term("Largest diameter", "68.2", "mm", "measured", "0.88"),
    ];
    let nomograms = vec![NomogramView {
        name: t("HAIC nomogram"),
        risk_group: t("high risk"),
        cut_off: t("Cut-off 1.20 (placeholder)"),
        terms,
        axes: vec![AxisView {
            name: t("Largest diameter"),
            ends: (t("5"), t("25")),
            points: (0.0, 40.0),
            mark: Some((t("6.82"), 3.6)),
        }],
        total: t("1.62"),
        survival: t("12 months 74 %"),
        provenance: t("Baseline survival is a placeholder."),
    }];
    let reasons = vec![ReasonRow {
        code: t("arterial_missing"),
        sentence: t("There is no arterial phase; send both phases."),
    }];
    ReportView {
        language: Language::English,
        demonstration: true,
        study: t("phantom-1"),
        scan: t("Two phases · 160 × 160 × 80 voxels · 2.0 × 2.0 × 2.5 mm"),
        made_at: t("2026-01-31 12:00:00 UTC"),
        outcome: OutcomeView { tone: Tone::Held, headline: t("Scored"), reasons },
        score: Some(ScoreView {
            score: t("0.87"),
            class: t("proliferative"),
            threshold: t("0.50"),
        }),
        recommendation: Some(RecommendationView {
            headline: t("HAIC favoured"),
            wording: t("High risk on both nomograms. Preliminary, for the tumour board."),
        }),
        has_overview: true,
        lesion_summary: t("2 lesions · liver 1400 ml · tumour 171 ml"),
        lesions: vec![LesionRow {
            diameter: t("68.2 mm"),
            volume: t("161.2 ml"),
            slice: t("47"),
            centre: t("78, 2, –166 mm"),
        }],
        eligibility: vec![
            CriterionRow {
                name: t("Age"),
                value: t("52 years"),
                limit: t("18–75 years"),
                met: Met::Yes,
            },
            CriterionRow {
                name: t("Largest diameter"),
                value: t("42.0 mm"),
                limit: t("at least 50 mm"),
                met: Met::No,
            },
            CriterionRow {
                name: t("Prior therapy"),
                value: t("not given"),
                limit: t("none"),
                met: Met::Unknown,
            },
        ],
        liver_function: vec![GradeRow {
            name: t("ALBI"),
            value: t("–2.71"),
            grade: t("grade 1"),
            inputs: t("albumin 41 g/l, bilirubin 12 µmol/l"),
        }],
        burden: vec![BurdenRow {
            name: t("Number of lesions"),
            supplied: t("3"),
            measured: t("2"),
            used: t("3 (supplied)"),
        }],
        stagings: vec![StagingRow {
            system: t("BCLC 2022"),
            stage: t("BCLC stage B"),
            value: t("6.5"),
            caveat: t("Not everything is asked."),
        }],
        contraindications: vec![
            CheckRow { item: t("Renal failure"), present: Met::Yes },
            CheckRow { item: t("Jaundice"), present: Met::No },
            CheckRow { item: t("Varices"), present: Met::Unknown },
        ],
        doses: vec![DoseRow { item: t("Leucovorin"), amount: t("400 mg/m²"), total: t("740 mg") }],
        body_surface: t("Body surface 1.85 m²"),
        dose_schedule: t("every 3 weeks"),
        curves: vec![CurveView {
            name: t("HAIC"),
            patient: vec![(12.0, 0.7), (60.0, 0.2)],
            reference: vec![(12.0, 0.8), (60.0, 0.3)],
        }],
        prototypes: vec![FactRow { name: t("Distance"), value: t("1.25") }],
        supplied: vec![FactRow { name: t("Age"), value: t("60 years") }],
        measurements: vec![FactRow { name: t("Liver volume, mL"), value: t("1400") }],
        nomograms,
        models: vec![ModelRow {
            role: t("Segmentation"),
            id: t("liver-tumour 0.1.0"),
            digest: t("4f2a19c07d31b8e6"),
            intended_use: t("demonstration"),
        }],
        timings: vec![TimingRow { stage: t("Segment"), time: t("12.40 s") }],
        facts: vec![FactRow { name: t("Result id"), value: t("9b1d7f3e5a604c2f8e7d6c5b4a392817") }],
    }
}

#[test]
fn every_text_field_is_escaped() {
    let mut fields = 0;
    let hostile = view(|_| {
        fields += 1;
        format!("<script>alert({fields})</script>\"'&<img src=x onerror=y>")
    });
    let page = report(&[hostile]);
    assert!(!page.contains("<script") && !page.contains("<img src=x"));
    assert!(fields > 60);
    for field in 1..=fields {
        let escaped = format!("&lt;script&gt;alert({field})&lt;/script&gt;&quot;&#39;&amp;&lt;img");
        assert!(page.contains(&escaped), "field {field} is missing from the page");
    }
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let page = report(&[view(str::to_owned)]);
    for forbidden in ["http://", "https://", "<script", "javascript:", "url(", "@import", "<link"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert_eq!(page.matches("src=").count(), 1);
    assert!(page.contains("src=\"overview.png\""));
}

#[test]
fn the_banner_is_there_exactly_when_asked_for() {
    let shown = report(&[view(str::to_owned)]);
    assert!(shown.contains("DEMONSTRATION - NOT FOR CLINICAL USE"));
    let released = ReportView { demonstration: false, ..view(str::to_owned) };
    assert!(!report(&[released]).contains("NOT FOR CLINICAL USE"));
}

/// The page in both languages.
fn both() -> [ReportView; 2] {
    let language = Language::Chinese;
    [view(str::to_owned), ReportView { language, ..view(str::to_owned) }]
}

#[test]
fn a_reader_can_switch_between_the_languages() {
    let page = report(&both());
    for part in [
        "<main lang=\"en\">",
        "<main lang=\"zh-CN\">",
        "id=\"en\" checked",
        "for=\"zh\"",
        "#zh:checked ~ main[lang=\"en\"]",
        "演示用途 - 不得用于临床",
    ] {
        assert_eq!(page.matches(part).count().min(1), 1, "{part}");
    }
    let (english, chinese) = page.split_once("<main lang=\"zh-CN\">").unwrap();
    assert!(english.contains("<h2>Stagings</h2>") && !english.contains("<h2>分期</h2>"));
    assert!(chinese.contains("<h2>分期</h2>") && !chinese.contains("<h2>Stagings</h2>"));
    assert!(chinese.contains("仅供参考，绝非医嘱"), "the doses are a reference in Chinese too");
}

/// A contraindication that is present is bad, a criterion that is met is good.
#[test]
fn present_and_met_have_opposite_colours() {
    let page = report(&[view(str::to_owned)]);
    for cell in [
        "<td class=\"stopped\">present</td>",
        "<td class=\"ok\">absent</td>",
        "<td class=\"ok\">yes</td>",
        "<td class=\"stopped\">no</td>",
        "<td class=\"held\">unknown</td>",
    ] {
        assert!(page.contains(cell), "{cell}");
    }
}

#[test]
fn an_empty_view_says_what_is_missing() {
    let page = report(&[ReportView::default()]);
    for words in ["no score", "No tumour was found.", "Not evaluated.", "None was computed."] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("overview.png"));
}

#[test]
fn tags_are_balanced() {
    let page = report(&both());
    for tag in [
        "div", "table", "thead", "tbody", "tfoot", "tr", "td", "th", "p", "h2", "section", "ul",
        "li", "code", "main", "svg", "text", "title", "label", "footer", "header", "span",
    ] {
        let open =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(open, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}
