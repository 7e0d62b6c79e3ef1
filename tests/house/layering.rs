//! Which module may use which (`src/ARCHITECTURE.md`), read off the `crate::` paths.

use crate::source::sources;

/// Module, and the modules it may name. A module that is not here fails the test.
const ALLOWED: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("config", &["units"]),
    ("clinical", &["units", "config"]),
    ("dicom", &["units"]),
    ("analysis", &["units", "config", "clinical"]),
    ("phantom", &["units", "config", "clinical", "dicom", "analysis"]),
    ("render", &["units", "config", "clinical", "dicom", "analysis"]),
    ("seal", &["units", "config"]),
    ("study", &["units", "config"]),
    (
        "host",
        &["units", "config", "clinical", "dicom", "analysis", "phantom", "render", "seal", "study"],
    ),
    (
        "daemon",
        &["units", "config", "clinical", "analysis", "phantom", "render", "seal", "study", "host"],
    ),
    (
        "control_room",
        &["units", "config", "clinical", "analysis", "phantom", "render", "seal", "study", "host"],
    ),
    (
        "cli",
        &[
            "units",
            "config",
            "clinical",
            "analysis",
            "phantom",
            "render",
            "seal",
            "study",
            "host",
            "daemon",
            "control_room",
        ],
    ),
];

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    // A file of unit tests may take what it likes to make its input.
    for source in sources().into_iter().filter(|s| !s.path.ends_with("tests.rs")) {
        let module = source.module();
        if module == "lib" || module == "main" {
            continue;
        }
        let allowed = ALLOWED.iter().find(|(m, _)| *m == module);
        let Some((_, allowed)) = allowed else {
            wrong.push(format!("src/{}: module `{module}` is not in the table", source.path));
            continue;
        };
        for used in crate_paths(&source.code()) {
            if used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("src/{}: uses crate::{used}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_engine_names_tract() {
    let named: Vec<_> = sources()
        .into_iter()
        .filter(|s| !s.path.starts_with("analysis/engine/") && names_tract(&s.code()))
        .map(|s| s.path)
        .collect();
    assert!(named.is_empty(), "tract is named outside analysis/engine: {named:?}");
}

/// True for a word that starts with `tract_`, so not for `contract_` or `extract_if`.
fn names_tract(code: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word.starts_with("tract_"))
}

/// A volume can come into a file only through `crate::analysis`; elsewhere the words are others'
/// (a kind of file, say).
#[test]
fn the_host_never_sees_a_volume() {
    let host = sources().into_iter().filter(|s| s.module() == "host");
    for source in host.filter(|s| crate_paths(&s.code()).iter().any(|used| used == "analysis")) {
        for name in ["HuVolume", "ModelVolume", "Mask", "HeatMap", "Images"] {
            let code = source.code();
            let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            assert!(!words.any(|w| w == name), "src/{} names {name}", source.path);
        }
    }
}

#[test]
fn tract_is_told_from_words_that_end_like_it() {
    assert!(names_tract("use tract_onnx::prelude;"));
    assert!(!names_tract("mod contract; let x = map.extract_if(..);"));
}

#[test]
fn paths_are_found_in_plain_and_braced_uses() {
    let found = crate_paths("use crate::{units::Hu, seal};\nlet x = crate::host::clock::now();");
    assert_eq!(found, ["units", "seal", "host"]);
}

/// The first segment after each `crate::`, one for each entry of a braced list.
fn crate_paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(top_level_entries(list)),
            None => found.push(identifier(rest)),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn top_level_entries(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut start = 0;
    let mut entries = Vec::new();
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                entries.push(identifier(list[start..at].trim()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                entries.push(identifier(list[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    entries
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
