//! The repository's Rust sources, read once per test.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file below `src/`.
pub struct Source {
    /// Path relative to `src/`, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
    /// A module that exists in tests only.
    pub test_only: bool,
}

impl Source {
    /// The text before the unit tests, without `//` comment lines; empty for a module of tests.
    pub fn code(&self) -> String {
        if self.test_only {
            return String::new();
        }
        let end = self.text.find("#[cfg(test)]").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().filter(|l| !l.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Paths of the modules in files of their own that this file declares for tests only.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.strip_suffix("/mod.rs") {
            Some(folder) => folder,
            None => self.path.trim_end_matches(".rs"),
        };
        let after = self.text.split("#[cfg(test)]\n").skip(1);
        let declared = after.filter_map(|rest| {
            let mut lines = rest.lines();
            let first = lines.next()?.trim();
            if let Some(named) = first.strip_prefix("#[path = \"") {
                let parent = self.path.rsplit_once('/')?.0;
                return Some(format!("{parent}/{}", named.strip_suffix("\"]")?));
            }
            let name = first.strip_suffix(';')?.rsplit_once("mod ")?.1;
            Some(format!("{folder}/{name}.rs"))
        });
        declared.collect()
    }

    /// The top-level module a file belongs to: `analysis/gate.rs` → `analysis`.
    pub fn module(&self) -> &str {
        self.path.split('/').next().expect("split yields one part").trim_end_matches(".rs")
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file below `src/`, sorted.
pub fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut found = Vec::new();
    collect(&src, &src, &mut found);
    let for_tests: Vec<String> = found.iter().flat_map(Source::test_modules).collect();
    assert!(for_tests.len() > 5, "the modules of tests were not found: {for_tests:?}");
    for path in for_tests {
        let module = found.iter_mut().find(|source| source.path == path);
        module.unwrap_or_else(|| panic!("src/{path} is declared and not there")).test_only = true;
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "the sources were not found below {}", src.display());
    found
}

fn collect(src: &Path, dir: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).expect("a folder of src/ can be listed") {
        let path = entry.expect("a folder entry of src/ can be read").path();
        if path.is_dir() {
            collect(src, &path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            let path = path.strip_prefix(src).expect("below src/").to_string_lossy().into_owned();
            found.push(Source { path, text, test_only: false });
        }
    }
}
