//! `clinical.json`: hostile bytes in, checked [`ClinicalData`] out. Unknown keys, repeated keys,
//! wrong types, implausible values and values that contradict each other are refused, all of them in
//! one answer; nothing is repaired.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use thiserror::Error;

use super::{
    Ascites, ClinicalData, Encephalopathy, Field, HepaticVein, Kind, Lobes, PortalFlow, Pvtt, Sex,
    Subject, range,
};

/// Largest `clinical.json` accepted, in bytes.
pub const MAX_BYTES: usize = 16 * 1024;

/// Most problems listed in one answer; the rest are counted.
pub const MAX_PROBLEMS: usize = 32;

/// The schemas this reader understands, oldest first. A newer one has more keys and no other meaning
/// of an older key.
pub const SCHEMAS: [u64; 2] = [1, 2];

/// Bilirubin: 1 mg/dL in µmol/L (reference/paper.md section 3.1).
const UMOL_L_PER_MG_DL: f64 = 17.1;

/// Creatinine: 1 mg/dL in µmol/L (molar mass 113.12 g/mol).
const CREATININE_UMOL_L_PER_MG_DL: f64 = 88.4;

/// Longest piece of the file repeated in a message, in characters.
const MAX_QUOTED_CHARS: usize = 40;

/// How alike two names must be before one is offered for the other (Jaro-Winkler, 0..=1).
const NAME_LIKENESS: f64 = 0.8;

/// Why `clinical.json` was refused. The texts quote the file, so they belong in local files only.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ClinicalDataError {
    /// Larger than [`MAX_BYTES`].
    #[error(
        "clinical.json has {bytes} bytes, expected at most {MAX_BYTES}: it should hold one \
         patient's values, check that the right file was dropped"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON.
    #[error("clinical.json is not valid JSON: {problem}; write it again")]
    Syntax {
        /// What the JSON reader said, with line and column.
        problem: String,
    },
    /// JSON, but not `{ … }`.
    #[error("clinical.json must be one JSON object, {{\"schema\": 2, …}}")]
    NotAnObject,
    /// One or more keys are wrong.
    #[error("clinical.json has {}", Problems { problems, omitted: *omitted })]
    Fields {
        /// What is wrong, at most [`MAX_PROBLEMS`].
        problems: Vec<FieldProblem>,
        /// How many more there are.
        omitted: usize,
    },
}

/// One key that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The key, shortened when it is long.
    pub field: String,
    /// What the file holds.
    pub found: String,
    /// What it should hold.
    pub expected: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, expected {}", self.field, self.found, self.expected)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

struct Problems<'a> {
    problems: &'a [FieldProblem],
    omitted: usize,
}

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} problem(s)", self.problems.len() + self.omitted)?;
        for problem in self.problems {
            write!(f, "; {problem}")?;
        }
        match self.omitted {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl ClinicalData {
    /// Reads the bytes of a `clinical.json`. A key that is absent or `null` is `None`.
    pub fn parse(json: &[u8]) -> Result<Self, ClinicalDataError> {
        if json.len() > MAX_BYTES {
            return Err(ClinicalDataError::TooLarge { bytes: json.len() });
        }
        let Entries(entries) = serde_json::from_slice(json).map_err(refuse_json)?;
        let mut reader = Reader::sort(entries);
        let data = reader.data();
        reader.refuse_contradictions(&data);
        let mut problems = reader.problems;
        if problems.is_empty() {
            return Ok(data);
        }
        let omitted = problems.len().saturating_sub(MAX_PROBLEMS);
        problems.truncate(MAX_PROBLEMS);
        Err(ClinicalDataError::Fields { problems, omitted })
    }
}

/// The reader's own words quote the file when a type is wrong, so only its syntax errors pass.
fn refuse_json(error: serde_json::Error) -> ClinicalDataError {
    if error.is_data() {
        ClinicalDataError::NotAnObject
    } else {
        ClinicalDataError::Syntax { problem: error.to_string() }
    }
}

/// A JSON object with its keys as written: repeated keys are still there to be refused.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

/// The entries by field, and what was wrong so far.
struct Reader {
    values: [Value; Field::ALL.len()],
    problems: Vec<FieldProblem>,
}

impl Reader {
    /// Puts each entry in its place; refuses unknown and repeated keys and any other schema.
    fn sort(entries: Vec<(String, Value)>) -> Self {
        let mut reader =
            Self { values: [const { Value::Null }; Field::ALL.len()], problems: Vec::new() };
        let mut schema = None;
        let mut seen = [false; Field::ALL.len()];
        let mut newest = SCHEMAS[0];
        for (key, value) in entries {
            let position = Field::ALL.iter().position(|field| field.name() == key);
            let repeated = match position {
                Some(at) => std::mem::replace(&mut seen[at], true),
                None => key == "schema" && schema.is_some(),
            };
            match position {
                _ if repeated => reader.refuse(&key, "the key twice", "it once", None),
                Some(at) => {
                    newest = newest.max(Field::ALL[at].since());
                    reader.values[at] = value;
                }
                None if key == "schema" => schema = Some(value),
                None => reader.refuse_key(&key),
            }
        }
        reader.check_schema(schema.as_ref(), newest);
        reader
    }

    /// `newest` is the first schema that has every key of the file.
    fn check_schema(&mut self, schema: Option<&Value>, newest: u64) {
        let number = schema.and_then(Value::as_u64).filter(|number| SCHEMAS.contains(number));
        match number {
            None => {
                let found = schema.map_or_else(|| "nothing".to_owned(), quote);
                let hint = schema.is_none().then(|| format!("add \"schema\": {newest}"));
                self.refuse("schema", &found, "1 or 2", hint);
            }
            Some(number) if number < newest => {
                let hint = Some(format!("write \"schema\": {newest}"));
                let found = format!("{number}, and a key that schema {newest} brought");
                self.refuse("schema", &found, &newest.to_string(), hint);
            }
            Some(_) => {}
        }
    }

    /// Values that cannot be true together. Which of them is wrong only the clinicians know.
    fn refuse_contradictions(&mut self, data: &ClinicalData) {
        let (spread, node) = (data.extrahepatic_spread, data.lymph_node_metastasis);
        let distant = data.distant_metastasis;
        if spread == Some(false) && (node == Some(true) || distant == Some(true)) {
            let found = "false beside a metastasis that is true";
            self.contradiction(Field::ExtrahepaticSpread, found, "true where there is one");
        }
        if spread == Some(true) && node == Some(false) && distant == Some(false) {
            let found = "true beside lymph_node_metastasis and distant_metastasis that are false";
            self.contradiction(Field::ExtrahepaticSpread, found, "one of them to be true");
        }
        if data.lesion_count == Some(0) && data.largest_diameter_mm.is_some() {
            let found = "a diameter beside lesion_count 0";
            self.contradiction(Field::LargestDiameterMm, found, "no diameter, or a lesion");
        }
        let mild = matches!(data.ascites, Some(Ascites::None | Ascites::Mild));
        if data.refractory_ascites == Some(true) && mild {
            let found = "true beside ascites that is none or mild";
            self.contradiction(Field::RefractoryAscites, found, "ascites to be \"moderate\"");
        }
    }

    fn contradiction(&mut self, field: Field, found: &str, expected: &str) {
        let hint = Some("one of the two is wrong: look them up and correct it".to_owned());
        self.refuse(field.name(), found, expected, hint);
    }

    fn refuse_key(&mut self, key: &str) {
        let names = Field::ALL.map(Field::name);
        let hint = nearest(key, &names).map(|name| format!("did you mean {name}?"));
        self.refuse(key, "an unknown key", "one of the documented keys", hint);
    }

    fn refuse(&mut self, field: &str, found: &str, expected: &str, hint: Option<String>) {
        self.problems.push(FieldProblem {
            field: shorten(field),
            found: found.to_owned(),
            expected: expected.to_owned(),
            hint,
        });
    }

    fn data(&mut self) -> ClinicalData {
        ClinicalData {
            age_years: self.whole(Field::AgeYears),
            sex: self.choice(Field::Sex, &Sex::NAMES),
            ecog: self.whole(Field::Ecog),
            hbv: self.flag(Field::Hbv),
            afp_ng_ml: self.number(Field::AfpNgMl),
            ast_u_l: self.number(Field::AstUL),
            bilirubin_umol_l: self.number(Field::BilirubinUmolL),
            albumin_g_l: self.number(Field::AlbuminGL),
            inr: self.number(Field::Inr),
            ascites: self.choice(Field::Ascites, &Ascites::NAMES),
            encephalopathy: self.choice(Field::Encephalopathy, &Encephalopathy::NAMES),
            pvtt: self.choice(Field::Pvtt, &Pvtt::NAMES),
            extrahepatic_spread: self.flag(Field::ExtrahepaticSpread),
            prior_therapy: self.flag(Field::PriorTherapy),
            second_malignancy: self.flag(Field::SecondMalignancy),
            days_ct_to_treatment: self.whole(Field::DaysCtToTreatment),
            lesion_count: self.whole(Field::LesionCount),
            largest_diameter_mm: self.number(Field::LargestDiameterMm),
            lymph_node_metastasis: self.flag(Field::LymphNodeMetastasis),
            distant_metastasis: self.flag(Field::DistantMetastasis),
            hepatic_vein_invasion: self.choice(Field::HepaticVeinInvasion, &HepaticVein::NAMES),
            bile_duct_invasion: self.flag(Field::BileDuctInvasion),
            lobes: self.choice(Field::Lobes, &Lobes::NAMES),
            diffuse_type: self.flag(Field::DiffuseType),
            creatinine_umol_l: self.number(Field::CreatinineUmolL),
            refractory_ascites: self.flag(Field::RefractoryAscites),
            hepatorenal_syndrome: self.flag(Field::HepatorenalSyndrome),
            portal_flow: self.choice(Field::PortalFlow, &PortalFlow::NAMES),
            arterial_access_barrier: self.flag(Field::ArterialAccessBarrier),
            untreated_varices: self.flag(Field::UntreatedVarices),
            bile_duct_obstruction: self.flag(Field::BileDuctObstruction),
            severe_comorbidity: self.flag(Field::SevereComorbidity),
            height_cm: self.number(Field::HeightCm),
            weight_kg: self.number(Field::WeightKg),
            subject: self.subject(),
        }
    }

    /// Takes the value of `field`; `None` when it was absent or `null`.
    fn take(&mut self, field: Field) -> Option<Value> {
        match self.values[field as usize].take() {
            Value::Null => None,
            value => Some(value),
        }
    }

    fn whole(&mut self, field: Field) -> Option<u32> {
        let value = self.take(field)?;
        let Kind::Whole((low, high), _) = field.kind() else { return None };
        let whole = value.as_u64().and_then(|n| u32::try_from(n).ok());
        let checked = whole.filter(|n| (low..=high).contains(n));
        if checked.is_none() {
            let expected = format!("a whole number, {low}..={high}");
            self.refuse(field.name(), &quote(&value), &expected, None);
        }
        checked
    }

    fn number(&mut self, field: Field) -> Option<f64> {
        let value = self.take(field)?;
        let Kind::Number((low, high), unit) = field.kind() else { return None };
        let number = value.as_f64().filter(|n| n.is_finite());
        let checked = number.filter(|n| (low..=high).contains(n));
        if checked.is_none() {
            let hint = number.and_then(|n| wrong_unit(field, n));
            let expected = format!("a number, {low}..={high} {unit}");
            self.refuse(field.name(), &quote(&value), &expected, hint);
        }
        checked
    }

    fn flag(&mut self, field: Field) -> Option<bool> {
        let value = self.take(field)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.refuse(field.name(), &quote(&value), "true or false", None);
        }
        flag
    }

    fn choice<T: Copy>(&mut self, field: Field, names: &[(&'static str, T)]) -> Option<T> {
        let value = self.take(field)?;
        let text = value.as_str();
        let found = text.and_then(|text| names.iter().find(|(name, _)| *name == text));
        if found.is_none() {
            let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            let hint = text.and_then(|text| nearest(text, &names));
            let hint = hint.map(|name| format!("did you mean \"{name}\"?"));
            let expected = format!("one of \"{}\"", names.join("\", \""));
            self.refuse(field.name(), &quote(&value), &expected, hint);
        }
        found.map(|(_, choice)| *choice)
    }

    /// The subject's text is never repeated: it may be a name.
    fn subject(&mut self) -> Option<Subject> {
        let value = self.take(Field::Subject)?;
        let subject = value.as_str().and_then(Subject::new);
        if subject.is_none() {
            let found = match value.as_str() {
                Some(text) => format!("{} characters", text.chars().count()),
                None => "something that is not a string".to_owned(),
            };
            let expected = format!("a string of 1..={} characters", Subject::MAX_CHARS);
            self.refuse(Field::Subject.name(), &found, &expected, None);
        }
        subject
    }
}

/// The question to ask of a bilirubin that may be in mg/dL.
pub fn bilirubin_if_mg_dl(value: f64) -> String {
    format!("is it mg/dL? {value} mg/dL is {:.1} µmol/L", value * UMOL_L_PER_MG_DL)
}

/// The usual reason why a laboratory value is out of range.
fn wrong_unit(field: Field, value: f64) -> Option<String> {
    match field {
        Field::AlbuminGL if value > 0.0 && value < range::ALBUMIN_G_L.0 => {
            Some(format!("is it g/dL? {value} g/dL is {:.1} g/L", value * 10.0))
        }
        Field::BilirubinUmolL if value > 0.0 && value < range::BILIRUBIN_UMOL_L.0 => {
            Some(bilirubin_if_mg_dl(value))
        }
        Field::CreatinineUmolL if value > 0.0 && value < range::CREATININE_UMOL_L.0 => {
            Some(format!(
                "is it mg/dL? {value} mg/dL is {:.1} µmol/L",
                value * CREATININE_UMOL_L_PER_MG_DL
            ))
        }
        Field::HeightCm if value > 0.0 && value < 3.0 => {
            Some(format!("is it metres? {value} m is {:.0} cm", value * 100.0))
        }
        Field::LargestDiameterMm if value > range::LARGEST_DIAMETER_MM.1 => {
            Some("it is asked for in millimetres".to_owned())
        }
        Field::Inr if value > range::INR.1 => {
            Some("is it prothrombin time in seconds or activity in %? INR is the ratio".to_owned())
        }
        _ => None,
    }
}

/// The name most like `word`, if any is like it and no other as much; letter case does not count.
fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let word = shorten(word).to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&word, name);
    let mut like: Vec<(f64, &str)> = names.iter().map(|name| (likeness(name), *name)).collect();
    like.retain(|(likeness, _)| *likeness >= NAME_LIKENESS);
    like.sort_by(|a, b| b.0.total_cmp(&a.0));
    match like[..] {
        [(first, name), (second, _), ..] => (first > second).then_some(name),
        [(_, name)] => Some(name),
        [] => None,
    }
}

fn quote(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            shorten(&value.to_string())
        }
    }
}

/// At most [`MAX_QUOTED_CHARS`] characters, control characters replaced.
fn shorten(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(MAX_QUOTED_CHARS).collect();
    let tail = if chars.next().is_some() { "…" } else { "" };
    let clean = head.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    clean.chain(tail.chars()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMPLETE: &str = r#"{"schema": 1, "age_years": 58, "sex": "male", "ecog": 1,
        "hbv": true, "afp_ng_ml": 412.5, "ast_u_l": 61, "bilirubin_umol_l": 14.2,
        "albumin_g_l": 39.5, "inr": 1.1, "ascites": "mild", "encephalopathy": "grade1_2",
        "pvtt": "vp3", "extrahepatic_spread": false, "prior_therapy": false,
        "second_malignancy": false, "days_ct_to_treatment": 5, "lesion_count": 2,
        "subject": "S-0001"}"#;

    fn problems(json: &str) -> Vec<FieldProblem> {
        match ClinicalData::parse(json.as_bytes()) {
            Err(ClinicalDataError::Fields { problems, .. }) => problems,
            other => panic!("{json} gave {other:?}"),
        }
    }

    /// One key beside the schema: accepted or not.
    fn accepts(key: &str, value: &str) -> bool {
        ClinicalData::parse(format!(r#"{{"schema":2,"{key}":{value}}}"#).as_bytes()).is_ok()
    }

    #[test]
    fn a_complete_file_is_read() {
        let data = ClinicalData::parse(COMPLETE.as_bytes()).unwrap();
        let expected = ClinicalData {
            age_years: Some(58),
            sex: Some(Sex::Male),
            ecog: Some(1),
            hbv: Some(true),
            afp_ng_ml: Some(412.5),
            ast_u_l: Some(61.0),
            bilirubin_umol_l: Some(14.2),
            albumin_g_l: Some(39.5),
            inr: Some(1.1),
            ascites: Some(Ascites::Mild),
            encephalopathy: Some(Encephalopathy::Grade1To2),
            pvtt: Some(Pvtt::Vp3),
            extrahepatic_spread: Some(false),
            prior_therapy: Some(false),
            second_malignancy: Some(false),
            days_ct_to_treatment: Some(5),
            lesion_count: Some(2),
            subject: Subject::new("S-0001"),
            ..ClinicalData::absent()
        };
        assert_eq!(data, expected);
    }

    const COMPLETE_2: &str = r#"{"schema": 2, "age_years": 58, "lesion_count": 2,
        "largest_diameter_mm": 72.5, "lymph_node_metastasis": true, "distant_metastasis": false,
        "extrahepatic_spread": true, "hepatic_vein_invasion": "vv2", "bile_duct_invasion": false,
        "lobes": "both", "diffuse_type": false, "creatinine_umol_l": 84, "ascites": "moderate",
        "refractory_ascites": true, "hepatorenal_syndrome": false, "portal_flow": "hepatopetal",
        "arterial_access_barrier": false, "untreated_varices": false,
        "bile_duct_obstruction": false, "severe_comorbidity": true, "height_cm": 175,
        "weight_kg": 70.5}"#;

    #[test]
    fn a_file_of_schema_two_is_read() {
        let data = ClinicalData::parse(COMPLETE_2.as_bytes()).unwrap();
        let expected = ClinicalData {
            age_years: Some(58),
            lesion_count: Some(2),
            largest_diameter_mm: Some(72.5),
            lymph_node_metastasis: Some(true),
            distant_metastasis: Some(false),
            extrahepatic_spread: Some(true),
            hepatic_vein_invasion: Some(HepaticVein::Vv2),
            bile_duct_invasion: Some(false),
            lobes: Some(Lobes::Both),
            diffuse_type: Some(false),
            creatinine_umol_l: Some(84.0),
            ascites: Some(Ascites::Moderate),
            refractory_ascites: Some(true),
            hepatorenal_syndrome: Some(false),
            portal_flow: Some(PortalFlow::Hepatopetal),
            arterial_access_barrier: Some(false),
            untreated_varices: Some(false),
            bile_duct_obstruction: Some(false),
            severe_comorbidity: Some(true),
            height_cm: Some(175.0),
            weight_kg: Some(70.5),
            ..ClinicalData::absent()
        };
        assert_eq!(data, expected);
    }

    /// A file of schema 1 says the same under schema 2; a key of schema 2 in a file of schema 1 is
    /// refused with what to write.
    #[test]
    fn schema_one_is_still_read_and_keeps_to_its_keys() {
        let newer = COMPLETE.replacen("\"schema\": 1", "\"schema\": 2", 1);
        let (old, new) = (COMPLETE.as_bytes(), newer.as_bytes());
        assert_eq!(ClinicalData::parse(old), ClinicalData::parse(new));
        let older = COMPLETE_2.replacen("\"schema\": 2", "\"schema\": 1", 1);
        let found = problems(&older);
        assert_eq!(
            (found.len(), found[0].to_string().as_str()),
            (
                1,
                "schema: found 1, and a key that schema 2 brought, expected 2 (write \"schema\": 2)"
            )
        );
        let none = problems(r#"{"creatinine_umol_l": 80}"#);
        assert!(none[0].to_string().contains("add \"schema\": 2"), "{}", none[0]);
    }

    #[test]
    fn values_that_contradict_each_other_are_refused() {
        for (field, contradicting, agreeing) in [
            (
                "extrahepatic_spread",
                r#""extrahepatic_spread":false,"lymph_node_metastasis":true"#,
                r#""extrahepatic_spread":true,"lymph_node_metastasis":true"#,
            ),
            (
                "extrahepatic_spread",
                r#""extrahepatic_spread":false,"distant_metastasis":true"#,
                r#""extrahepatic_spread":false,"distant_metastasis":false"#,
            ),
            (
                "extrahepatic_spread",
                r#""extrahepatic_spread":true,"lymph_node_metastasis":false,"distant_metastasis":false"#,
                r#""extrahepatic_spread":true,"lymph_node_metastasis":false"#,
            ),
            (
                "largest_diameter_mm",
                r#""lesion_count":0,"largest_diameter_mm":10"#,
                r#""lesion_count":1,"largest_diameter_mm":10"#,
            ),
            (
                "refractory_ascites",
                r#""ascites":"mild","refractory_ascites":true"#,
                r#""ascites":"moderate","refractory_ascites":true"#,
            ),
        ] {
            let found = problems(&format!("{{\"schema\":2,{contradicting}}}"));
            assert_eq!((found.len(), found[0].field.as_str()), (1, field));
            assert!(found[0].hint.as_ref().unwrap().contains("look them up"));
            let agreed = ClinicalData::parse(format!("{{\"schema\":2,{agreeing}}}").as_bytes());
            assert!(agreed.is_ok(), "{agreeing}: {agreed:?}");
        }
    }

    #[test]
    fn missing_and_null_are_none() {
        let empty = ClinicalData::parse(br#"{"schema": 1}"#);
        assert_eq!(empty, Ok(ClinicalData::absent()));
        let nulls = ClinicalData::parse(br#"{"schema": 1, "hbv": null, "inr": null}"#);
        assert_eq!(nulls, Ok(ClinicalData::absent()));
    }

    #[test]
    fn ranges_on_both_sides() {
        for (key, inside, outside) in [
            ("age_years", ["0", "120"], ["-1", "121"]),
            ("ecog", ["0", "4"], ["-1", "5"]),
            ("afp_ng_ml", ["0", "1e7"], ["-0.1", "10000001"]),
            ("ast_u_l", ["1", "20000"], ["0.99", "20000.1"]),
            ("bilirubin_umol_l", ["3", "1000"], ["2.99", "1000.1"]),
            ("albumin_g_l", ["10", "70"], ["9.99", "70.1"]),
            ("inr", ["0.5", "10"], ["0.49", "10.01"]),
            ("days_ct_to_treatment", ["0", "3650"], ["-1", "3651"]),
            ("lesion_count", ["0", "99"], ["-1", "100"]),
            ("largest_diameter_mm", ["1", "500"], ["0.99", "500.1"]),
            ("creatinine_umol_l", ["20", "3000"], ["19.9", "3000.1"]),
            ("height_cm", ["50", "250"], ["49.9", "250.1"]),
            ("weight_kg", ["10", "400"], ["9.9", "400.1"]),
        ] {
            for value in inside {
                assert!(accepts(key, value), "{key} {value}");
            }
            for value in outside {
                assert!(!accepts(key, value), "{key} {value}");
            }
        }
    }

    #[test]
    fn whole_numbers_are_not_rounded() {
        for value in ["1.5", "2.0", "1e0", "\"1\"", "true", "18446744073709551615", "[1]"] {
            assert!(!accepts("lesion_count", value), "{value}");
        }
    }

    #[test]
    fn every_spelling_is_read_and_no_other() {
        for (key, names) in [
            ("sex", vec!["female", "male"]),
            ("ascites", vec!["none", "mild", "moderate"]),
            ("encephalopathy", vec!["none", "grade1_2", "grade3_4"]),
            ("pvtt", vec!["none", "vp1", "vp2", "vp3", "vp4"]),
            ("hepatic_vein_invasion", vec!["none", "vv1", "vv2", "vv3"]),
            ("lobes", vec!["one", "both", "both_replaced"]),
            ("portal_flow", vec!["hepatopetal", "hepatofugal"]),
        ] {
            for name in names {
                assert!(accepts(key, &format!("\"{name}\"")), "{key} {name}");
            }
            for wrong in ["\"None\"", "\"\"", "\"vp5\"", "true", "1", "{}"] {
                assert!(!accepts(key, wrong), "{key} {wrong}");
            }
        }
        let flags = Field::ALL.into_iter().filter(|field| field.kind() == Kind::Flag);
        for key in flags.map(Field::name) {
            assert!(accepts(key, "true") && accepts(key, "false"), "{key}");
            assert!(!accepts(key, "1") && !accepts(key, "\"true\""), "{key}");
        }
    }

    #[test]
    fn the_subject_is_bounded_and_never_repeated() {
        let text = |n: usize| format!("\"{}\"", "ä".repeat(n));
        assert!(accepts("subject", &text(1)) && accepts("subject", &text(64)));
        assert!(!accepts("subject", &text(0)) && !accepts("subject", &text(65)));
        let long = format!(r#"{{"schema":1,"subject":"{}"}}"#, "Jo Doe".repeat(20));
        let error = ClinicalData::parse(long.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("Doe"), "{error}");
        let data = ClinicalData::parse(COMPLETE.as_bytes()).unwrap();
        assert!(!format!("{data:?}").contains("S-0001"));
    }

    #[test]
    fn a_wrong_unit_is_recognised() {
        for (key, value, hint) in [
            ("albumin_g_l", "3.8", "3.8 g/dL is 38.0 g/L"),
            ("bilirubin_umol_l", "0.8", "0.8 mg/dL is 13.7 µmol/L"),
            ("bilirubin_umol_l", "2.9", "2.9 mg/dL is 49.6 µmol/L"),
            ("inr", "13", "prothrombin time in seconds"),
            ("inr", "85", "activity in %"),
            ("creatinine_umol_l", "1.2", "1.2 mg/dL is 106.1 µmol/L"),
            ("height_cm", "1.75", "1.75 m is 175 cm"),
            ("largest_diameter_mm", "725", "in millimetres"),
        ] {
            let found = problems(&format!(r#"{{"schema":2,"{key}":{value}}}"#));
            let problem = &found[0];
            assert_eq!((problem.field.as_str(), problem.found.as_str()), (key, value));
            assert!(problem.hint.as_ref().unwrap().contains(hint), "{problem}");
        }
        let high = problems(r#"{"schema":1,"albumin_g_l":700}"#);
        assert_eq!(high[0].hint, None);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let found = problems(
            r#"{"age": 50, "albumin_gl": 40, "albumin_g_l": 3.8, "sex": "Male", "hbv": true,
                "hbv": false, "whatsoever": 1, "pvtt": "vp9"}"#,
        );
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "age: found an unknown key, expected one of the documented keys (did you mean \
                 age_years?)",
                "albumin_gl: found an unknown key, expected one of the documented keys (did you \
                 mean albumin_g_l?)",
                "hbv: found the key twice, expected it once",
                "whatsoever: found an unknown key, expected one of the documented keys",
                "schema: found nothing, expected 1 or 2 (add \"schema\": 1)",
                "sex: found \"Male\", expected one of \"female\", \"male\" (did you mean \"male\"?)",
                "albumin_g_l: found 3.8, expected a number, 10..=70 g/L (is it g/dL? 3.8 g/dL is \
                 38.0 g/L)",
                "pvtt: found \"vp9\", expected one of \"none\", \"vp1\", \"vp2\", \"vp3\", \"vp4\"",
            ]
        );
    }

    #[test]
    fn repeated_keys_are_refused_even_when_null_or_equal() {
        assert_eq!(problems(r#"{"schema":1,"hbv":null,"hbv":true}"#)[0].field, "hbv");
        assert_eq!(problems(r#"{"schema":1,"hbv":true,"hbv":true}"#)[0].field, "hbv");
        assert_eq!(problems(r#"{"schema":1,"schema":1}"#)[0].field, "schema");
    }

    #[test]
    fn only_schemas_one_and_two_are_read() {
        for schema in ["0", "3", "1.0", "\"1\"", "null", "true"] {
            assert_eq!(problems(&format!(r#"{{"schema":{schema}}}"#))[0].field, "schema");
        }
    }

    #[test]
    fn size_limit_on_both_sides() {
        let padded = |bytes: usize| {
            let mut json = COMPLETE.as_bytes().to_vec();
            json.resize(bytes, b' ');
            ClinicalData::parse(&json)
        };
        assert!(padded(MAX_BYTES).is_ok());
        let bytes = MAX_BYTES + 1;
        assert_eq!(padded(bytes), Err(ClinicalDataError::TooLarge { bytes }));
    }

    #[test]
    fn problem_list_is_bounded() {
        let parse = |n: usize| {
            let keys: String = (0..n).map(|i| format!(",\"zz{i}\":0")).collect();
            ClinicalData::parse(format!(r#"{{"schema":1{keys}}}"#).as_bytes()).unwrap_err()
        };
        for (n, listed, uncounted) in [(32, 32, 0), (33, 32, 1), (500, 32, 468)] {
            let ClinicalDataError::Fields { problems, omitted } = parse(n) else { panic!() };
            assert_eq!((problems.len(), omitted), (listed, uncounted));
        }
        assert!(parse(500).to_string().ends_with("and 468 more"));
    }

    #[test]
    fn not_json_and_not_an_object() {
        for json in ["", "{", "{\"schema\":1} x", "{\"inr\":1e999}", "\u{feff}{}", "{'a':1}"] {
            let error = ClinicalData::parse(json.as_bytes());
            assert!(matches!(error, Err(ClinicalDataError::Syntax { .. })), "{json} {error:?}");
        }
        for json in ["[]", "1", "null", "\"Jo Doe\""] {
            let error = ClinicalData::parse(json.as_bytes());
            assert_eq!(error, Err(ClinicalDataError::NotAnObject), "{json}");
        }
        let deep = "[".repeat(10_000);
        assert!(ClinicalData::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn fields_stand_in_the_order_they_are_indexed_by() {
        for (at, field) in Field::ALL.iter().enumerate() {
            assert_eq!(*field as usize, at);
        }
    }

    #[test]
    fn long_keys_and_control_characters_are_tamed() {
        let found = problems(&format!(r#"{{"schema":1,"\u001b[31m{}":1}}"#, "k".repeat(5000)));
        assert!(found[0].field.chars().count() <= MAX_QUOTED_CHARS + 1);
        assert!(!found[0].field.contains('\u{1b}'));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = ClinicalData::parse(&bytes);
        }

        /// A valid file with one byte replaced is read with every value in range, or refused.
        #[test]
        fn a_damaged_file_is_in_range_or_refused(at in 0..COMPLETE.len(), byte in any::<u8>()) {
            let mut json = COMPLETE.as_bytes().to_vec();
            json[at] = byte;
            if let Ok(data) = ClinicalData::parse(&json) {
                let within = |value: Option<f64>, (low, high): (f64, f64)| {
                    value.is_none_or(|value| low <= value && value <= high)
                };
                prop_assert!(data.age_years.is_none_or(|age| age <= 120));
                prop_assert!(within(data.albumin_g_l, range::ALBUMIN_G_L));
                prop_assert!(within(data.bilirubin_umol_l, range::BILIRUBIN_UMOL_L));
                prop_assert!(within(data.ast_u_l, range::AST_U_L));
                prop_assert!(within(data.inr, range::INR));
            }
        }

        /// JSON of the right shape with arbitrary values: a value comes back as it was written or
        /// its key is named among the problems.
        #[test]
        fn values_come_back_or_are_refused(
            age in prop_oneof![0..=130i32, any::<i32>()],
            // Hundredths: the JSON reader is exact to the bit up to 15 digits, not at 17.
            inr in (-100..2000i32).prop_map(|hundredths| f64::from(hundredths) / 100.0),
            sex in prop_oneof!["female|male", "[a-z]{0,6}"],
        ) {
            let json = format!(r#"{{"schema":1,"age_years":{age},"inr":{inr},"sex":"{sex}"}}"#);
            let valid_age = u32::try_from(age).ok().filter(|age| *age <= 120);
            let valid_inr = (0.5..=10.0).contains(&inr);
            let valid_sex = sex == "female" || sex == "male";
            match ClinicalData::parse(json.as_bytes()) {
                Ok(data) => {
                    prop_assert!(valid_age.is_some() && valid_inr && valid_sex);
                    prop_assert_eq!((data.age_years, data.inr), (valid_age, Some(inr)));
                }
                Err(ClinicalDataError::Fields { problems, .. }) => {
                    let names = |key: &str| problems.iter().any(|problem| problem.field == key);
                    prop_assert_eq!(names("age_years"), valid_age.is_none());
                    prop_assert_eq!(names("inr"), !valid_inr);
                    prop_assert_eq!(names("sex"), !valid_sex);
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}
