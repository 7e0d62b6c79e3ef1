//! `hcc-edge journal`: looks into the journal, and lets an operator accept the loss of a damaged one.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::{self, exit};
use crate::host::journal::{Damage, Entry, Record, Store, inspect};
use crate::host::keys;
use crate::seal::cose::sha256;
use crate::seal::wire::Id16;

/// Arguments of `journal`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// State directory of the device.
    #[arg(long, global = true, env = "HCC_EDGE_STATE_DIR", default_value = "/var/lib/hcc-edge")]
    state_dir: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check every record and the chain; exit 5 when something does not hold.
    Check,
    /// Print the last records.
    Tail {
        /// How many.
        #[arg(long, default_value_t = 20)]
        records: usize,
    },
    /// Set damaged segments aside and begin a new epoch. What the damaged ones held is not sent any
    /// more; control rooms see a new epoch.
    AcceptDamage,
}

/// Runs the command; the result is the exit status.
pub fn run(args: &Args, json: bool) -> anyhow::Result<u8> {
    let folder = args.state_dir.join("journal");
    if !folder.is_dir() {
        return Err(anyhow::anyhow!("there is no journal in {}", args.state_dir.display())
            .context(exit(exit::NO_INPUT, "reading the journal")));
    }
    match args.action {
        Action::Check => check(&folder, json),
        Action::Tail { records } => tail(&folder, records, json),
        Action::AcceptDamage => accept(&folder, json),
    }
}

fn read(folder: &Path) -> anyhow::Result<Vec<Entry>> {
    inspect(folder).map_err(|error| {
        let code = exit::journal_code(&error);
        anyhow::Error::from(error).context(exit(code, "reading the journal"))
    })
}

fn check(folder: &Path, json: bool) -> anyhow::Result<u8> {
    let entries = read(folder)?;
    let results = entries.iter().filter(|e| matches!(e.record, Record::Result { .. })).count();
    if json {
        println!("{}", json!({"ok": true, "records": entries.len(), "results": results}));
    } else {
        println!("the journal holds: {} records, {results} results", entries.len());
    }
    Ok(exit::OK)
}

fn tail(folder: &Path, records: usize, json: bool) -> anyhow::Result<u8> {
    let entries = read(folder)?;
    let last = &entries[entries.len().saturating_sub(records)..];
    if json {
        let list: Vec<Value> = last.iter().map(object).collect();
        println!("{}", json!({ "records": list }));
    } else {
        for entry in last {
            println!("{:>8}  {:>13}  {}", entry.lsn, entry.time_ms, line(&entry.record));
        }
    }
    Ok(exit::OK)
}

fn accept(folder: &Path, json: bool) -> anyhow::Result<u8> {
    let mut epoch = [0; 8];
    keys::random(&mut epoch)?;
    let (store, entries) = Store::open(folder, epoch, Damage::Accept)
        .context(exit(exit::IO, "opening the journal"))?;
    let is_new = store.epoch() == epoch && entries.is_empty();
    if json {
        println!("{}", json!({"ok": true, "new_epoch": is_new}));
    } else if is_new {
        println!("the damaged segments are set aside; a new epoch has begun");
    } else {
        println!("the journal is not damaged; nothing was changed");
    }
    Ok(exit::OK)
}

fn line(record: &Record) -> String {
    match record {
        Record::Claim { job, .. } => format!("claim      {job}"),
        Record::Try { job, attempt } => format!("try        {job} attempt {attempt}"),
        Record::Result { job, seq, failed, .. } => {
            let place = if *failed { "failed" } else { "done" };
            format!("result     {job} seq {seq}, {place}")
        }
        Record::Duplicate { job, seq } => format!("duplicate  {job} of seq {seq}"),
        Record::Released { job } => format!("released   {job}"),
        Record::Confirm { seq } => format!("confirm    seq {seq}"),
        Record::Interrupted { job } => format!("stopped    {job}"),
    }
}

fn object(entry: &Entry) -> Value {
    let mut value = match &entry.record {
        Record::Claim { job, arrived_ms } => {
            json!({"type": "claim", "job": job.to_string(), "arrived_ms": arrived_ms})
        }
        Record::Try { job, attempt } => {
            json!({"type": "try", "job": job.to_string(), "attempt": attempt})
        }
        Record::Result { job, seq, result_id, failed, cose } => json!({
            "type": "result", "job": job.to_string(), "seq": seq, "failed": failed,
            "result_id": Id16::from(*result_id),
            "digest": sha256(cose),
        }),
        Record::Duplicate { job, seq } => {
            json!({"type": "duplicate", "job": job.to_string(), "seq": seq})
        }
        Record::Released { job } => json!({"type": "released", "job": job.to_string()}),
        Record::Confirm { seq } => json!({"type": "confirm", "seq": seq}),
        Record::Interrupted { job } => json!({"type": "interrupted", "job": job.to_string()}),
    };
    value["lsn"] = json!(entry.lsn);
    value["time_ms"] = json!(entry.time_ms);
    value
}
