//! The repository's Rust sources, read once per test.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file below `src/`.
pub struct Source {
    /// Path relative to `src/`, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// The text before the unit tests, without `//` comment lines.
    pub fn code(&self) -> String {
        let end = self.text.find("#[cfg(test)]").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().filter(|l| !l.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
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
            found.push(Source { path, text });
        }
    }
}
