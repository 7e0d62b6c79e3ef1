//! The page in Chinese: every English text of the code beside its translation. A text that is missing
//! here would stay English; tests hold every sentence of the wire format and every word of four
//! letters and more of a full page to it, small print aside.

mod page;

mod rows;

mod keys;

mod verdicts;

mod stagings;

mod checklists;

mod reasons;

mod measurements;

use checklists::CHECKLISTS;
use keys::KEYS;
use measurements::MEASUREMENTS;
use page::PAGE;
use reasons::REASONS;
use rows::ROWS;
use stagings::STAGINGS;
use verdicts::VERDICTS;

/// The Chinese form of an English text.
pub(super) fn of(english: &str) -> Option<&'static str> {
    let found = GROUPS.into_iter().flatten().find(|(text, _)| *text == english);
    found.map(|(_, chinese)| *chinese)
}

const GROUPS: [&[(&str, &str)]; 8] =
    [PAGE, ROWS, KEYS, VERDICTS, STAGINGS, CHECKLISTS, REASONS, MEASUREMENTS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stands_once_and_keeps_its_gaps() {
        let all: Vec<_> = GROUPS.into_iter().flatten().collect();
        for (at, (english, chinese)) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|(other, _)| other != english), "{english}");
            let gaps = |text: &str| text.matches("{}").count();
            assert_eq!(gaps(english), gaps(chinese), "{english}");
            assert_eq!(english.ends_with('.'), chinese.ends_with('。'), "{english}");
        }
    }
}
