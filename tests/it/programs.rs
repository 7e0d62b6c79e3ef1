//! Programs that a test needs and a machine may lack.

use std::process::Command;

use crate::real_data::not_checked;

/// Whether a program is there; where it is not, what is not checked for that is announced.
pub fn have(program: &str, package: &str, what: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        not_checked(what, &format!("{program} is not installed: apt install {package}"));
    }
    there
}
