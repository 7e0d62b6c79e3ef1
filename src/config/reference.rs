//! The table and the values in use as text: the reference page, `config show`, and the settings a
//! result id covers.

use std::fmt::Write;

use super::keys::{KEYS, Key, Presence};
use super::read::{Values, expected, shown};

/// The reference page: one table per section, in table order.
pub(super) fn markdown(keys: &[Key]) -> String {
    let mut page = String::from(
        "# Settings\n\nTOML file, then environment (`HCC_EDGE_MQTT__URL` is `mqtt.url`), then \
         flags; the later wins. An unknown key is an error.\n",
    );
    let mut section = None;
    for key in keys {
        let (here, _) = split(key.path);
        if section != Some(here) {
            section = Some(here);
            let title =
                if here.is_empty() { "Top level".to_owned() } else { format!("`[{here}]`") };
            page.push_str(&format!(
                "\n## {title}\n\n| key | accepts | unset | example | meaning |\n|---|---|---|---|---|\n"
            ));
        }
        let unset = match key.presence {
            Presence::Required => "error".to_owned(),
            Presence::Optional => "off".to_owned(),
            Presence::Default(text) => format!("`{text}`"),
        };
        page.push_str(&format!(
            "| `{}` | {} | {unset} | `{}` | {} |\n",
            key.path,
            expected(key),
            key.example,
            key.doc
        ));
    }
    page
}

/// The values in use as TOML with their origin.
pub(super) fn show(values: &Values) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in KEYS {
        let (here, name) = split(key.path);
        if here != section {
            section = here;
            let _ = writeln!(text, "\n[{here}]");
        }
        let _ = match values.get(key.path) {
            Some(given) => writeln!(text, "{name} = {} # {}", shown(&given.value), given.origin),
            None => writeln!(text, "# {name} is not set"),
        };
    }
    text
}

/// One `key = value` line per key that can change a result.
pub(super) fn result_settings(values: &Values) -> String {
    KEYS.iter()
        .filter(|key| key.shapes_result)
        .filter_map(|key| values.get(key.path).map(|given| (key, given)))
        .map(|(key, given)| format!("{} = {}\n", key.path, shown(&given.value)))
        .collect()
}

/// Section and name of a dotted path; the section of a top-level key is empty.
fn split(path: &'static str) -> (&'static str, &'static str) {
    path.split_once('.').unwrap_or(("", path))
}
