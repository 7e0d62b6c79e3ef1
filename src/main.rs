//! Arguments → command → exit code. Prints an error's chain once, here.

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match hcc_edge::cli::parse() {
        Ok(cli) => cli,
        // clap prints help and usage itself, to the right stream.
        Err(usage) => {
            let _ = usage.print();
            return ExitCode::from(usage.exit_code() as u8);
        }
    };
    match hcc_edge::cli::run(cli) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("hcc-edge: {error:#}");
            ExitCode::from(hcc_edge::cli::exit::status_of(&error))
        }
    }
}
