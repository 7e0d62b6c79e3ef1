//! Progress of a study on standard error: a bar on a terminal, a line per stage elsewhere.

use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};

/// Shows one study's stages.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    stage: Mutex<String>,
}

impl Progress {
    /// Nothing shown yet.
    pub fn new() -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(100);
            let style =
                ProgressStyle::with_template("{elapsed:>4} {msg:<10} [{bar:40}] {percent:>3} %");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, stage: Mutex::new(String::new()) }
    }

    /// A stage is so far, in percent.
    pub fn show(&self, stage: &str, percent: u8) {
        let mut last = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *last != stage;
        if is_new {
            stage.clone_into(&mut last);
        }
        match &self.bar {
            Some(bar) => {
                bar.set_message(stage.to_owned());
                bar.set_position(u64::from(percent));
            }
            None if is_new => eprintln!("  {stage} ..."),
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
