//! `hcc-edge clinical`: an empty `clinical.json` for the clerk who fills it in, and a check of a
//! filled one before it is dropped: what is wrong with it and what to write, what is missing and what
//! it is missing for.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::{INPUT_REJECTED, OK};
use crate::clinical::burden::Burden;
use crate::clinical::contraindications::{self, Checklist, Item};
use crate::clinical::data::{
    ClinicalDataError, Field, FieldProblem, Kind, MAX_BYTES, SCHEMAS, Subject, bilirubin_if_mg_dl,
    bilirubin_may_be_mg_dl,
};
use crate::clinical::eligibility::{Eligibility, LARGEST_DIAMETER_MIN_MM, Met};
use crate::clinical::liver_function::{Albi, ChildPugh};
use crate::clinical::nomogram::Treatment;
use crate::clinical::staging::{self, NotComputable, Staging};
use crate::clinical::{ClinicalData, Measured, protocol};
use crate::render::report::Language;
use crate::seal::wire::ClinicalField;

/// Arguments of `clinical`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print a clinical.json with every key and no value: `null` is "not known".
    Template {
        /// Print instead a table of the keys: what each asks for, unit and accepted values.
        #[arg(long)]
        explain: bool,
    },
    /// Check a clinical.json: what is wrong, what is missing, and what can be computed from it.
    Check {
        /// The file, or - for standard input.
        file: PathBuf,
    },
}

/// Runs the command; the result is the exit status.
pub fn run(args: &Args, json: bool) -> anyhow::Result<u8> {
    match &args.action {
        Action::Template { explain: true } if json => println!("{}", json!({ "keys": keys() })),
        Action::Template { explain: true } => print!("{}", table()),
        Action::Template { explain: false } => println!("{}", template()),
        Action::Check { file } => return check(file, json),
    }
    Ok(OK)
}

fn newest_schema() -> u64 {
    SCHEMAS[SCHEMAS.len() - 1]
}

/// One key a line, in the order of the documentation.
fn template() -> String {
    let keys = Field::ALL.map(|field| format!(",\n  \"{}\": null", field.name()));
    format!("{{\n  \"schema\": {}{}\n}}", newest_schema(), keys.concat())
}

/// What a key accepts, in words.
fn accepted(kind: Kind) -> String {
    match kind {
        Kind::Whole((low, high), unit) => format!("whole number, {low} to {high} {unit}"),
        Kind::Number((low, high), unit) => format!("number, {low} to {high} {unit}"),
        Kind::Flag => "true or false".to_owned(),
        Kind::Choice(words) => format!("\"{}\"", words.join("\", \"")),
        Kind::Name => {
            format!("text, at most {} characters; only a pseudonym is sent", Subject::MAX_CHARS)
        }
    }
}

fn chinese(field: Field) -> &'static str {
    let named = ClinicalField::ALL.iter().find(|code| code.name() == field.name());
    Language::Chinese.say(named.map_or("Subject", |code| code.sentence())).trim_end_matches('。')
}

fn keys() -> Vec<Value> {
    let key = |field: Field| {
        json!({
            "key": field.name(), "since_schema": field.since(), "asks_for": field.label(),
            "asks_for_zh": chinese(field), "accepts": accepted(field.kind()).trim_end(),
        })
    };
    Field::ALL.into_iter().map(key).collect()
}

fn table() -> String {
    let mut out = String::from("| key | asks for | | accepts | schema |\n|---|---|---|---|---|\n");
    for field in Field::ALL {
        let (name, label, since) = (field.name(), field.label(), field.since());
        let (chinese, accepted) = (chinese(field), accepted(field.kind()));
        let accepted = accepted.trim_end();
        _ = writeln!(out, "| `{name}` | {label} | {chinese} | {accepted} | {since} |");
    }
    out
}

fn check(file: &Path, json: bool) -> anyhow::Result<u8> {
    let bytes = read(file)?;
    match ClinicalData::parse(&bytes) {
        Ok(data) => {
            let found = Found::of(&data);
            if json {
                println!("{}", found.to_json())
            } else {
                print!("{}", found.to_text())
            }
            Ok(OK)
        }
        Err(error) => {
            if json {
                println!("{}", refused(&error))
            } else {
                print!("{}", wrong(&error))
            }
            Ok(INPUT_REJECTED)
        }
    }
}

/// At most one byte more than a `clinical.json` may have.
fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = MAX_BYTES as u64 + 1;
    if file == Path::new("-") {
        std::io::stdin().take(most).read_to_end(&mut bytes).context("reading standard input")?;
    } else {
        let open = std::fs::File::open(file);
        let open = open.with_context(|| format!("opening {}", file.display()))?;
        open.take(most)
            .read_to_end(&mut bytes)
            .with_context(|| format!("reading {}", file.display()))?;
    }
    Ok(bytes)
}

/// One line per problem, so that a clerk can go through them.
fn wrong(error: &ClinicalDataError) -> String {
    let ClinicalDataError::Fields { problems, omitted } = error else {
        return format!("{error}\n");
    };
    let count = problems.len() + omitted;
    let mut out = format!("clinical.json cannot be used; {count} problem(s):\n");
    for problem in problems {
        _ = writeln!(out, "  {problem}");
    }
    if *omitted > 0 {
        _ = writeln!(out, "  and {omitted} more");
    }
    out.push_str("Correct them and check the file again; nothing in it is used as it is.\n");
    out
}

fn refused(error: &ClinicalDataError) -> Value {
    let problems = match error {
        ClinicalDataError::Fields { problems, .. } => {
            let problem = |p: &FieldProblem| json!({ "field": p.field, "found": p.found, "expected": p.expected, "hint": p.hint });
            problems.iter().map(problem).collect()
        }
        ClinicalDataError::TooLarge { .. }
        | ClinicalDataError::Syntax { .. }
        | ClinicalDataError::NotAnObject => Vec::new(),
    };
    json!({ "ok": false, "error": error.to_string(), "problems": problems })
}

/// What a file gives without an image.
struct Found {
    outside: Vec<&'static str>,
    missing: Vec<&'static str>,
    /// For each nomogram, the keys it lacks.
    nomograms: [(Treatment, Vec<&'static str>); 2],
    hints: Vec<String>,
    albi: Result<Albi, String>,
    child_pugh: Result<ChildPugh, String>,
    stagings: Vec<Staging>,
    contraindications: Checklist,
    surface_m2: Result<f64, String>,
}

impl Found {
    fn of(data: &ClinicalData) -> Self {
        let nothing = Measured { largest_diameter: None, lesion_count: None, risk: None };
        let burden = Burden::of(data, &nothing);
        let eligibility = Eligibility::of(data, None);
        let lacks = |treatment: Treatment| {
            let fields = treatment.published_terms().iter().filter_map(|term| term.field());
            (treatment, absent(data, fields))
        };
        Self {
            outside: keys_of(&eligibility, Met::No).map(Field::name).collect(),
            missing: absent(data, keys_of(&eligibility, Met::Unknown)),
            nomograms: [Treatment::Tace, Treatment::Haic].map(lacks),
            hints: hints(data),
            albi: Albi::of(data).map_err(|needs| needs.to_string()),
            child_pugh: ChildPugh::of(data).map_err(|needs| needs.to_string()),
            stagings: staging::stage(data, &burden),
            contraindications: contraindications::check(data, &burden),
            surface_m2: protocol::body_surface_m2(data).map_err(|needs| needs.to_string()),
        }
    }

    fn to_text(&self) -> String {
        let mut out = String::from("clinical.json can be used.\n");
        let mut list = |words: &str, names: &[&str]| {
            if !names.is_empty() {
                _ = writeln!(out, "{words}: {}", names.join(", "));
            }
        };
        list("Outside the validity range, so there will be no score", &self.outside);
        list("Missing, so there will be no score", &self.missing);
        for (treatment, lacks) in &self.nomograms {
            let name = treatment.code_name().to_uppercase();
            list(&format!("Missing for the {name} nomogram, so there will be no advice"), lacks);
        }
        for hint in &self.hints {
            _ = writeln!(out, "Look again: {hint}");
        }
        let albi = self.albi.as_ref();
        let albi = albi.map(|albi| format!("{:.2}, grade {}", albi.score, albi.grade.number()));
        let points = self.child_pugh.as_ref();
        let points = points.map(|score| {
            format!(
                "{} points, class {}  (albumin 28 and 35 g/L; a variant has 30)",
                score.points(),
                score.class().letter()
            )
        });
        let surface = self.surface_m2.as_ref().map(|m2| format!("{m2:.2} m²"));
        for (name, found) in [("ALBI", albi), ("Child-Pugh", points), ("body surface", surface)] {
            _ = writeln!(out, "  {name:<15} {}", found.unwrap_or_else(Clone::clone));
        }
        for staging in &self.stagings {
            let name = staging.system.code_name();
            _ = writeln!(out, "  {name:<15} {}", stage_words(staging));
        }
        let named = |wanted| {
            let items = self.contraindications.iter().filter(|(_, found)| *found == wanted);
            let name = |(item, _): &(Item, _)| {
                format!("{} ({})", item.code_name(), item.severity().name())
            };
            items.map(name).collect::<Vec<_>>().join(", ")
        };
        _ = writeln!(out, "Contraindications to TACE, present: {}", or_none(&named(Some(true))));
        _ = writeln!(out, "Contraindications to TACE, unknown: {}", or_none(&named(None)));
        out.push_str("Lesion count and diameter of the image are not known to this check.\n");
        out
    }

    fn to_json(&self) -> Value {
        let lacks =
            |(treatment, keys): &(Treatment, Vec<&str>)| (treatment.code_name(), json!(keys));
        let stagings: Vec<Value> = self.stagings.iter().map(stage_json).collect();
        let checked = self.contraindications.iter();
        let checked: serde_json::Map<String, Value> =
            checked.map(|(item, found)| (item.code_name().to_owned(), json!(found))).collect();
        json!({
            "ok": true,
            "outside_validity_range": self.outside,
            "missing_for_score": self.missing,
            "missing_for_nomograms": self.nomograms.iter().map(lacks).collect::<Value>(),
            "hints": self.hints,
            "albi": self.albi.as_ref().ok().map(|albi| albi.score),
            "albi_grade": self.albi.as_ref().ok().map(|albi| albi.grade.number()),
            "child_pugh_points": self.child_pugh.as_ref().ok().map(ChildPugh::points),
            "stagings": stagings,
            "contraindications": checked,
            "body_surface_m2": self.surface_m2.as_ref().ok(),
        })
    }
}

/// The keys of the criteria with that verdict. The diameter is the image's, which is not here.
fn keys_of(eligibility: &Eligibility, met: Met) -> impl Iterator<Item = Field> {
    let criteria = eligibility.criteria.iter().filter(move |one| one.met == met);
    criteria.flat_map(|one| one.kind.fields()).copied()
}

fn absent(data: &ClinicalData, fields: impl Iterator<Item = Field>) -> Vec<&'static str> {
    fields.filter(|field| !data.has(*field)).map(Field::name).collect()
}

/// What is accepted and may still be a slip.
fn hints(data: &ClinicalData) -> Vec<String> {
    let small = data.largest_diameter_mm.filter(|mm| *mm < LARGEST_DIAMETER_MIN_MM);
    let small = small.map(|mm| {
        format!(
            "largest_diameter_mm is {mm}, and the score is limited to {LARGEST_DIAMETER_MIN_MM} mm and \
             more: is it cm? Where the image shows more, the two contradict each other and the advice \
             is to discuss"
        )
    });
    let unit = data.bilirubin_umol_l.filter(|value| bilirubin_may_be_mg_dl(*value));
    let unit = unit.map(|value| {
        let question = bilirubin_if_mg_dl(value);
        format!("bilirubin_umol_l: {question}; as long as it stands, the advice is to discuss")
    });
    small.into_iter().chain(unit).collect()
}

fn or_none(names: &str) -> &str {
    if names.is_empty() { "none" } else { names }
}

fn stage_words(staging: &Staging) -> String {
    match &staging.outcome {
        Ok(stage) => format!("{}  ({})", stage.code_name(), staging.system.caveat()),
        Err(why) => why.to_string(),
    }
}

fn stage_json(staging: &Staging) -> Value {
    let needs = staging.outcome.as_ref().err().map_or(&[][..], NotComputable::needs);
    let needs: Vec<&str> = needs.iter().map(|field| field.name()).collect();
    json!({
        "system": staging.system.code_name(),
        "stage": staging.outcome.as_ref().ok().map(|stage| stage.code_name()),
        "value": staging.value,
        "needs": needs,
        "caveat": staging.system.caveat(),
    })
}
