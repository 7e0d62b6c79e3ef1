//! Small facts about the tree that a reader relies on.

use std::fs;
use std::process::Command;

use crate::source::{root, sources};

/// The customer's top level; dotfiles are free.
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "board",
    "models",
    "scripts",
    "src",
    "tests",
];

#[test]
fn every_file_says_what_it_is_for() {
    for source in sources() {
        if source.path != "lib.rs" {
            assert!(source.text.starts_with("//!"), "src/{} does not open with //!", source.path);
        }
    }
}

#[test]
fn the_top_level_is_the_customers() {
    let listed = Command::new("git").arg("ls-files").current_dir(root()).output();
    let listed = listed.expect("git lists the tracked files");
    for file in String::from_utf8_lossy(&listed.stdout).lines() {
        let top = file.split('/').next().expect("split yields one part");
        assert!(top.starts_with('.') || TOP_LEVEL.contains(&top), "outside the top level: {file}");
    }
}

#[test]
fn no_test_is_skipped_in_silence() {
    for source in sources() {
        let ignored = source.text.lines().any(|l| l.trim_start().starts_with("#[ignore"));
        assert!(!ignored, "src/{} ignores a test", source.path);
    }
}

#[test]
fn decisions_are_numbered_without_gap() {
    let text = fs::read_to_string(root().join("src/ARCHITECTURE.md")).expect("it is there");
    let decisions = text.split("## Decisions").nth(1).expect("a Decisions section closes the text");
    let numbers: Vec<usize> =
        decisions.lines().filter_map(|line| line.split_once(". ")?.0.parse().ok()).collect();
    assert!(!numbers.is_empty());
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
}

/// A promise's row reads `| promise | figure | \`path::to::test\` |`.
#[test]
fn every_promise_names_a_test_that_exists() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md is there");
    let table = readme.split("## Promises").nth(1).expect("README.md has a Promises section");
    let table = table.split("\n## ").next().expect("split yields one part");
    let mut all = String::new();
    for source in sources() {
        all.push_str(&source.text);
    }
    read_tests(&root().join("tests"), &mut all);
    let rows: Vec<_> = table.lines().filter(|l| l.starts_with("| ") && l.contains('`')).collect();
    assert!(rows.len() >= 5, "the table has {} rows", rows.len());
    for row in rows {
        let cell = row.trim_end_matches('|').rsplit('|').next().expect("a row has a last cell");
        let names: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named in: {row}");
        for name in names {
            let function = name.rsplit("::").next().expect("split yields one part");
            assert!(is_test(&all, function), "`{name}` is no test: {row}");
        }
    }
}

/// What a test calls that needs something a machine may not have, and that announces it when it is missing.
const ANNOUNCED: [&str; 6] = [
    " data(\"",
    "slices_by_syntax()",
    "!dcmtk_is_there()",
    "!have(\"",
    "checked(&out",
    "checked(&place",
];

/// A promise whose test may check nothing, or not all, on a machine without real data or programs is
/// marked; no other is.
#[test]
fn a_promise_is_marked_where_its_test_needs_what_may_be_missing() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md is there");
    let table = readme.split("## Promises").nth(1).expect("README.md has a Promises section");
    let table = table.split("\n## ").next().expect("split yields one part");
    let mut tests = String::new();
    read_tests(&root().join("tests/it"), &mut tests);
    let rows: String = table.lines().filter(|line| line.starts_with("| ")).collect();
    let mut marked = 0;
    for (at, _) in rows.match_indices("`it::") {
        let (name, after) = rows[at + 1..].split_once('`').expect("a name ends");
        let function = name.rsplit("::").next().expect("split yields one part");
        let body = tests.split(&format!("fn {function}() {{\n")).nth(1).expect("it is a test");
        let body = body.split("\n}\n").next().expect("split yields one part");
        let needs = ANNOUNCED.iter().any(|call| body.contains(call)) || may_skip(body);
        assert_eq!(after.starts_with(" †"), needs, "`{name}`: marked with † in README.md, or not");
        marked += usize::from(needs);
    }
    assert!(marked >= 7, "{marked} marked promises");
}

/// Whether a fault test may leave out what takes root or a program.
fn may_skip(body: &str) -> bool {
    let Some((id, _)) = body.split_once("short_form(\"T").and_then(|(_, id)| id.split_once('"'))
    else {
        return false;
    };
    let faults = fs::read_dir(root().join("scripts/faults")).expect("scripts/faults can be listed");
    let prefix = format!("t{id:0>2}_");
    let named = |path: &std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
    };
    let paths = faults.map(|entry| entry.expect("an entry can be read").path()).filter(named);
    let texts = paths.map(|path| fs::read_to_string(path).expect("a fault test can be read"));
    let skips = ["NotCheckedHere", "Ext4(", "Tmpfs("];
    texts.into_iter().any(|text| skips.iter().any(|word| text.contains(word)))
}

/// Whether a function of this name is marked as a test, by its attribute a few lines above.
fn is_test(sources: &str, function: &str) -> bool {
    sources.match_indices(&format!("fn {function}(")).any(|(at, _)| {
        let before: Vec<&str> = sources[..at].lines().rev().take(4).collect();
        before.iter().any(|line| line.trim_end().ends_with("test]"))
    })
}

fn read_tests(dir: &std::path::Path, all: &mut String) {
    for entry in fs::read_dir(dir).expect("tests/ can be listed") {
        let path = entry.expect("an entry of tests/ can be read").path();
        if path.is_dir() {
            read_tests(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push_str(&fs::read_to_string(&path).expect("a test file is UTF-8"));
        }
    }
}
