//! What a self-test tells, as it crosses the pipe. JSON: read by people too.

use serde::{Deserialize, Serialize};

/// The most packages one report speaks of.
pub const MAX_PACKAGES: usize = 16;

/// Every network package loaded, run on its golden input, and within its tolerance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTestReport {
    /// Inference backend and its version.
    pub backend: String,
    /// Arithmetic really used.
    pub precision: String,
    /// Hardware really used.
    pub device: String,
    /// One entry per network package, in the order of use; never empty.
    pub packages: Vec<PackageTest>,
}

/// One package's golden question and answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageTest {
    /// Package name.
    pub name: String,
    /// Package version.
    pub version: String,
    /// Largest absolute difference of any element of any output.
    pub max_abs_error: f32,
    /// What the manifest allows.
    pub tolerance: f32,
}

impl SelfTestReport {
    /// The body of a [`Kind::Passed`](super::frame::Kind::Passed) frame.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and finite numbers are always JSON")
    }

    /// `None` for a body that is no report of a test that was passed.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let report: Self = serde_json::from_slice(body).ok()?;
        let within = |test: &PackageTest| test.max_abs_error <= test.tolerance;
        let counted = (1..=MAX_PACKAGES).contains(&report.packages.len());
        (counted && report.packages.iter().all(within)).then_some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(max_abs_error: f32) -> SelfTestReport {
        let (name, version) = ("pmn".to_owned(), "0.1.0".to_owned());
        SelfTestReport {
            backend: "tract 0.23.9".to_owned(),
            precision: "f32".to_owned(),
            device: "cpu".to_owned(),
            packages: vec![PackageTest { name, version, max_abs_error, tolerance: 0.5 }],
        }
    }

    #[test]
    fn a_report_crosses_the_pipe() {
        let passed = report(0.5);
        assert_eq!(SelfTestReport::decode(&passed.encode()), Some(passed));
    }

    #[test]
    fn what_was_not_passed_is_no_report() {
        assert_eq!(SelfTestReport::decode(&report(0.51).encode()), None);
        let empty = SelfTestReport { packages: Vec::new(), ..report(0.0) };
        assert_eq!(SelfTestReport::decode(&empty.encode()), None);
        assert_eq!(SelfTestReport::decode(b"{}"), None);
    }
}
