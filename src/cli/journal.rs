//! `hcc-edge journal`: looks into the journal, takes its signed messages out, and lets an operator
//! accept the loss of a damaged one.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::{self, exit};
use crate::host::files::write_durably;
use crate::host::journal::{Damage, Entry, Ledger, Record, Store, damaged_files, inspect};
use crate::host::keys::{self, KeyError};
use crate::seal::cose::{Signer, sha256};
use crate::seal::trust::TrustStore;
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
    /// Check every record, the chain and the checkpoints; exit 5 when something does not hold.
    Check,
    /// Print the last records.
    Tail {
        /// How many.
        #[arg(long, default_value_t = 20)]
        records: usize,
    },
    /// Write every signed message into a folder, one file each, for an auditor with
    /// `hcc-edge verify` or scripts/verify.py; and all records as lines of JSON.
    Export {
        /// The folder; made when missing. Files in it are replaced.
        folder: PathBuf,
        /// Only results from this number on.
        #[arg(long, default_value_t = 1)]
        from: u64,
    },
    /// Set damaged segments aside and begin a new epoch. What can be read of undelivered results is
    /// carried over and sent; control rooms see a new epoch.
    AcceptDamage,
}

/// Runs the command; the result is the exit status.
pub fn run(args: &Args, json: bool) -> anyhow::Result<u8> {
    let folder = args.state_dir.join("journal");
    if !folder.is_dir() {
        return Err(anyhow::anyhow!("there is no journal in {}", args.state_dir.display())
            .context(exit(exit::NO_INPUT, "reading the journal")));
    }
    let trust = journal_keys(&args.state_dir.join("keys"))?;
    let journal = Opened { folder: &folder, trust: &trust };
    match &args.action {
        Action::Check => journal.check(json),
        Action::Tail { records } => journal.tail(*records, json),
        Action::Export { folder, from } => journal.export(folder, *from, json),
        Action::AcceptDamage => journal.accept(json),
    }
}

/// The keys that may have signed the journal: the device's, and its former ones. On a copy without
/// the device's key, every device key of the copied trust store.
fn journal_keys(keys: &Path) -> anyhow::Result<TrustStore> {
    let trust = keys::load_trust(&keys.join(keys::TRUST_STORE))?.unwrap_or_default();
    match keys::load(keys) {
        Ok(signer) => Ok(trust.of_one_device(signer.public_key())),
        Err(KeyError::Missing(_)) => Ok(trust),
        Err(error) => Err(error.into()),
    }
}

/// A journal and the keys that vouch for it.
struct Opened<'a> {
    folder: &'a Path,
    trust: &'a TrustStore,
}

impl Opened<'_> {
    fn read(&self, see: &mut dyn FnMut(&Entry)) -> anyhow::Result<Ledger> {
        inspect(self.folder, self.trust, see).map_err(|error| {
            let code = exit::journal_code(&error);
            anyhow::Error::from(error).context(exit(code, "reading the journal"))
        })
    }

    fn check(&self, json: bool) -> anyhow::Result<u8> {
        let (mut records, mut checkpoints) = (0_u64, 0_u64);
        let ledger = self.read(&mut |entry| {
            records += 1;
            checkpoints += u64::from(matches!(entry.record, Record::Checkpoint { .. }));
        })?;
        let (results, waiting) = (ledger.last_seq(), ledger.backlog());
        if json {
            let value = json!({
                "ok": true, "records": records, "checkpoints": checkpoints,
                "results": results, "undelivered": waiting,
            });
            println!("{value}");
        } else {
            println!(
                "the journal holds: {records} records, {checkpoints} signed checkpoints, {results} \
                 results, {waiting} of them not delivered"
            );
        }
        Ok(exit::OK)
    }

    fn tail(&self, records: usize, json: bool) -> anyhow::Result<u8> {
        let mut last = VecDeque::new();
        self.read(&mut |entry| {
            if last.len() == records {
                last.pop_front();
            }
            if records > 0 {
                last.push_back(entry.clone());
            }
        })?;
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

    fn export(&self, to: &Path, from: u64, json: bool) -> anyhow::Result<u8> {
        fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
        let (mut records, mut messages) = (String::new(), 0_u64);
        let mut failed = None;
        self.read(&mut |entry| {
            records.push_str(&object(entry).to_string());
            records.push('\n');
            let Some((name, cose)) = message(entry, from) else { return };
            messages += 1;
            if failed.is_none() {
                failed = fs::write(to.join(&name), cose).err().map(|error| (name, error));
            }
        })?;
        if let Some((name, error)) = failed {
            return Err(anyhow::Error::from(error)
                .context(exit(exit::IO, format!("writing {}", to.join(name).display()))));
        }
        let list = to.join("records.jsonl");
        write_durably(&list, records.as_bytes(), 0o640)
            .with_context(|| format!("writing {}", list.display()))?;
        if json {
            println!("{}", json!({"ok": true, "messages": messages, "folder": to}));
        } else {
            println!("{messages} signed messages are in {}", to.display());
        }
        Ok(exit::OK)
    }

    fn accept(&self, json: bool) -> anyhow::Result<u8> {
        let mut epoch = [0; 8];
        keys::random(&mut epoch)?;
        let (store, ledger) =
            Store::open(self.folder, self.trust, epoch, Damage::Accept).map_err(|error| {
                let code = exit::journal_code(&error);
                anyhow::Error::from(error).context(exit(code, "opening the journal"))
            })?;
        let is_new = store.epoch() == epoch && damaged_files(self.folder) > 0;
        let carried = if is_new { ledger.backlog() } else { 0 };
        if json {
            println!("{}", json!({"ok": true, "new_epoch": is_new, "carried_over": carried}));
        } else if is_new {
            println!(
                "the damaged segments are set aside and a new epoch has begun; {carried} undelivered \
                 results could be read and will be sent as they were signed"
            );
        } else {
            println!("the journal is not damaged; nothing was changed");
        }
        Ok(exit::OK)
    }
}

/// File name and bytes of a record that carries a signed message.
fn message(entry: &Entry, from: u64) -> Option<(String, &[u8])> {
    match &entry.record {
        Record::Result { seq, cose, .. } if *seq >= from => {
            Some((format!("result-{seq:08}.cose"), cose))
        }
        Record::Checkpoint { cose } => Some((format!("checkpoint-{:08}.cose", entry.lsn), cose)),
        Record::Carried { cose, .. } => Some((format!("carried-{:08}.cose", entry.lsn), cose)),
        Record::Result { .. }
        | Record::Claim { .. }
        | Record::Try { .. }
        | Record::Interrupted { .. }
        | Record::Duplicate { .. }
        | Record::Released { .. }
        | Record::Confirm { .. } => None,
    }
}

fn line(record: &Record) -> String {
    let kind = format!("{:<12}", record.kind());
    match record {
        Record::Claim { job, .. } | Record::Released { job } | Record::Interrupted { job } => {
            format!("{kind}{job}")
        }
        Record::Try { job, attempt } => format!("{kind}{job} attempt {attempt}"),
        Record::Result { job, seq, failed, .. } => {
            let place = if *failed { "failed" } else { "done" };
            format!("{kind}{job} seq {seq}, {place}")
        }
        Record::Duplicate { job, seq } => format!("{kind}{job} of seq {seq}"),
        Record::Confirm { seq } => format!("{kind}seq {seq}"),
        Record::Checkpoint { .. } => kind.trim_end().to_owned(),
        Record::Carried { number, .. } => format!("{kind}outbox number {number}"),
    }
}

fn object(entry: &Entry) -> Value {
    let mut value = match &entry.record {
        Record::Claim { job, arrived_ms } => {
            json!({"job": job.to_string(), "arrived_ms": arrived_ms})
        }
        Record::Try { job, attempt } => json!({"job": job.to_string(), "attempt": attempt}),
        Record::Result { job, seq, result_id, failed, cose } => json!({
            "job": job.to_string(), "seq": seq, "failed": failed,
            "result_id": Id16::from(*result_id),
            "digest": sha256(cose),
        }),
        Record::Duplicate { job, seq } => json!({"job": job.to_string(), "seq": seq}),
        Record::Released { job } | Record::Interrupted { job } => json!({"job": job.to_string()}),
        Record::Confirm { seq } => json!({"seq": seq}),
        Record::Checkpoint { cose } => json!({"digest": sha256(cose)}),
        Record::Carried { number, cose } => json!({"number": number, "digest": sha256(cose)}),
    };
    value["type"] = json!(entry.record.kind());
    value["lsn"] = json!(entry.lsn);
    value["time_ms"] = json!(entry.time_ms);
    value
}
