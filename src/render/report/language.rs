//! The languages of the page. Every text has its English form in the code; the Chinese form is looked
//! up by it (`chinese`), so that a sentence of the wire format cannot be translated twice.

use super::chinese;

/// A language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// Every language, in the order of the page.
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// The BCP 47 tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// A text in this language; one that has no translation stays English.
    pub fn say(self, english: &'static str) -> &'static str {
        match self {
            Self::English => english,
            Self::Chinese => chinese::of(english).unwrap_or(english),
        }
    }

    /// A text with `{}` replaced by the parts, in their order.
    pub fn fill(self, english: &'static str, parts: &[&str]) -> String {
        let mut pieces = self.say(english).split("{}");
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        let parts = parts.iter().copied().chain(std::iter::repeat(""));
        for (part, piece) in parts.zip(pieces) {
            filled.push_str(part);
            filled.push_str(piece);
        }
        filled
    }

    /// What stands between the items of a list.
    pub fn comma(self) -> &'static str {
        match self {
            Self::English => ", ",
            Self::Chinese => "、",
        }
    }

    /// A remark behind a sentence.
    pub fn in_parentheses(self, remark: &str) -> String {
        match self {
            Self::English => format!(" ({remark})"),
            Self::Chinese => format!("（{remark}）"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_a_text_in_their_order() {
        assert_eq!(Language::English.fill("{} of {}", &["1", "2"]), "1 of 2");
        assert_eq!(Language::English.fill("{} of {}", &["1"]), "1 of ");
        assert_eq!(Language::English.fill("none", &["1"]), "none");
        assert_eq!(Language::Chinese.fill("{} years", &["60"]), "60 岁");
        assert_eq!(Language::Chinese.say("not in the catalogue"), "not in the catalogue");
    }
}
