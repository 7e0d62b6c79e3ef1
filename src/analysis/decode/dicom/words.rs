//! The words by which scanners and technicians name a phase, in several languages and habits.
//!
//! Only words of this list ever leave this file: a description may hold anything.

use super::phase::Phase;

/// How a word of the list is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Find {
    /// A whole word, or several in a row.
    Whole,
    /// The beginning of a word.
    Stem,
    /// Anywhere: scripts without spaces, and signs.
    Part,
}

const WORDS: &[(Phase, Find, &str)] = &[
    // Anywhere in a word: "spätarteriell" is one.
    (Phase::Arterial, Find::Part, "arteri"),
    (Phase::Arterial, Find::Part, "artéri"),
    (Phase::Arterial, Find::Whole, "art"),
    (Phase::Arterial, Find::Whole, "lap"),
    (Phase::Arterial, Find::Whole, "hap"),
    (Phase::Arterial, Find::Part, "动脉"),
    (Phase::Arterial, Find::Part, "動脈"),
    (Phase::Portal, Find::Stem, "portal"),
    (Phase::Portal, Find::Stem, "porto"),
    (Phase::Portal, Find::Stem, "venous"),
    (Phase::Portal, Find::Stem, "venös"),
    (Phase::Portal, Find::Stem, "venoes"),
    (Phase::Portal, Find::Stem, "venos"),
    (Phase::Portal, Find::Stem, "veineu"),
    (Phase::Portal, Find::Whole, "ven"),
    (Phase::Portal, Find::Whole, "pv"),
    (Phase::Portal, Find::Whole, "pvp"),
    (Phase::Portal, Find::Part, "静脉"),
    (Phase::Portal, Find::Part, "门脉"),
    (Phase::Portal, Find::Part, "門脈"),
    (Phase::Portal, Find::Part, "靜脈"),
    (Phase::Delayed, Find::Stem, "delay"),
    (Phase::Delayed, Find::Stem, "equilib"),
    (Phase::Delayed, Find::Stem, "excret"),
    (Phase::Delayed, Find::Whole, "del"),
    (Phase::Delayed, Find::Whole, "equi"),
    (Phase::Delayed, Find::Part, "延迟"),
    (Phase::Delayed, Find::Part, "延遲"),
    (Phase::Delayed, Find::Part, "平衡"),
    (Phase::NonContrast, Find::Stem, "nativ"),
    (Phase::NonContrast, Find::Stem, "unenhanc"),
    (Phase::NonContrast, Find::Stem, "noncontrast"),
    (Phase::NonContrast, Find::Stem, "precontrast"),
    (Phase::NonContrast, Find::Whole, "non contrast"),
    (Phase::NonContrast, Find::Whole, "non enhanced"),
    (Phase::NonContrast, Find::Whole, "no contrast"),
    (Phase::NonContrast, Find::Whole, "pre contrast"),
    (Phase::NonContrast, Find::Whole, "without"),
    (Phase::NonContrast, Find::Whole, "ohne km"),
    (Phase::NonContrast, Find::Whole, "sans injection"),
    (Phase::NonContrast, Find::Whole, "sans iv"),
    (Phase::NonContrast, Find::Whole, "senza mdc"),
    (Phase::NonContrast, Find::Whole, "sin contraste"),
    (Phase::NonContrast, Find::Whole, "w o"),
    (Phase::NonContrast, Find::Whole, "wo"),
    (Phase::NonContrast, Find::Whole, "nc"),
    (Phase::NonContrast, Find::Whole, "ncct"),
    (Phase::NonContrast, Find::Whole, "plain"),
    (Phase::NonContrast, Find::Whole, "vnc"),
    (Phase::NonContrast, Find::Whole, "tnc"),
    (Phase::NonContrast, Find::Part, "平扫"),
    (Phase::NonContrast, Find::Part, "平掃"),
    (Phase::NonContrast, Find::Part, "単純"),
];

/// Abbreviations that mean other things elsewhere ("AP" is also the abdomen and pelvis, or the
/// direction of a view): they count when the series of a study use two or more of them in contrast.
const ABBREVIATIONS: &[(Phase, &str)] = &[
    (Phase::Arterial, "ap"),
    (Phase::Portal, "pp"),
    (Phase::Portal, "vp"),
    (Phase::Delayed, "dp"),
    (Phase::Delayed, "ep"),
    (Phase::NonContrast, "np"),
];

/// Words that name a phase of their own only where they do not qualify another: "late", "late
/// arterial".
const LATE: &[&str] = &["late", "tardi", "spät", "spaet"];

/// Both without and with contrast medium: the name of a protocol, which says nothing of a series.
const BOTH: &[&str] = &[
    "w wo",
    "wo w",
    "w and wo",
    "w w o",
    "w o w",
    "w and w o",
    "w o and w",
    "wo and w",
    "with and without",
    "with without",
    "without and with",
];

/// Says that contrast medium was given where no attribute does.
const CONTRAST: &[(Find, &str)] = &[
    (Find::Whole, "contrast"),
    (Find::Whole, "ce"),
    (Find::Whole, "cect"),
    (Find::Whole, "km"),
    (Find::Whole, "mdc"),
    (Find::Stem, "omnipaq"),
    (Find::Stem, "iohex"),
    (Find::Stem, "iopamid"),
    (Find::Stem, "isovue"),
    (Find::Stem, "iomer"),
    (Find::Stem, "ultravist"),
    (Find::Stem, "visipaq"),
    (Find::Stem, "enhanc"),
    (Find::Part, "c+"),
    (Find::Part, "+c"),
    (Find::Part, "增强"),
    (Find::Part, "造影"),
];

/// A description made comparable: lower case, words and numbers apart.
pub(super) struct Words {
    /// With signs and without gaps changed, for [`Find::Part`].
    whole: String,
    /// Words and numbers, each between single spaces.
    spaced: String,
}

impl Words {
    /// Takes a description apart.
    pub(super) fn new(text: &str) -> Self {
        let whole = text.to_lowercase();
        let mut spaced = String::from(" ");
        let mut before = ' ';
        for letter in whole.chars() {
            let letter = if letter.is_alphanumeric() { letter } else { ' ' };
            let border = before.is_numeric() != letter.is_numeric() && before != ' ';
            if border || (letter == ' ' && before != ' ') {
                spaced.push(' ');
            }
            if letter != ' ' {
                spaced.push(letter);
            }
            before = letter;
        }
        if before != ' ' {
            spaced.push(' ');
        }
        // A border before a gap leaves two spaces.
        Self { whole, spaced: spaced.replace("  ", " ") }
    }

    fn has(&self, find: Find, word: &str) -> bool {
        match find {
            Find::Whole => self.spaced.contains(&format!(" {word} ")),
            Find::Stem => self.spaced.contains(&format!(" {word}")),
            Find::Part => self.whole.contains(word),
        }
    }

    /// The phases named, each with the word that names it first.
    pub(super) fn phases(&self) -> Vec<(Phase, &'static str)> {
        let mut found: Vec<(Phase, &'static str)> = Vec::new();
        let both = BOTH.iter().any(|words| self.has(Find::Whole, words));
        for &(phase, find, word) in WORDS.iter().filter(|w| !(both && w.0 == Phase::NonContrast)) {
            if found.iter().all(|(known, _)| *known != phase) && self.has(find, word) {
                found.push((phase, word));
            }
        }
        if found.is_empty() {
            let late = LATE.iter().find(|word| self.has(Find::Stem, word));
            found.extend(late.map(|word| (Phase::Delayed, *word)));
        }
        found
    }

    /// The phases named by abbreviations that mean other things elsewhere.
    pub(super) fn abbreviations(&self) -> Vec<(Phase, &'static str)> {
        let has = |word| self.has(Find::Whole, word);
        ABBREVIATIONS.iter().copied().filter(|(_, word)| has(word)).collect()
    }

    /// True for "late arterial" and the like.
    pub(super) fn is_late(&self) -> bool {
        LATE.iter().any(|word| self.has(Find::Stem, word))
            || self.has(Find::Whole, "lap")
            || self.whole.contains("晚期")
    }

    /// True when the text speaks of contrast medium.
    pub(super) fn speaks_of_contrast(&self) -> bool {
        CONTRAST.iter().any(|(find, word)| self.has(*find, word))
    }

    /// A delay after the injection as "35 s" or "70sec", seconds.
    pub(super) fn delay_s(&self) -> Option<f64> {
        const UNITS: [&str; 6] = ["seconds", "secs", "sec", "sek", "s", "秒"];
        let mut before = ' ';
        for (at, letter) in self.whole.char_indices() {
            // "B30s" is a kernel, "0.75 s" a time of rotation: the number stands alone.
            let starts = letter.is_ascii_digit() && !before.is_alphanumeric();
            let starts = starts && !matches!(before, '.' | ',');
            before = letter;
            if !starts {
                continue;
            }
            let rest = &self.whole[at..];
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let unit = rest[digits..].trim_start();
            let ends = |after: &str| !after.starts_with(char::is_alphanumeric);
            let is_unit = UNITS.iter().any(|u| unit.strip_prefix(u).is_some_and(ends));
            let seconds: f64 = rest[..digits].parse().ok()?;
            if is_unit && (10.0..=900.0).contains(&seconds) {
                return Some(seconds);
            }
        }
        None
    }
}
