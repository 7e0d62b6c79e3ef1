//! What the journal costs: results accepted per second (durable, with group commit), and the time to
//! open one with 100,000 undelivered results. Prints a table; `cargo bench --bench journal`.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hcc_edge::host::journal::{
    Damage, JobId, Journal, JournalHead, Record, SealContext, Store, Witness,
};
use hcc_edge::seal::cose::{Ed25519Signer, Signer};
use hcc_edge::seal::sign::sign;
use hcc_edge::seal::trust::{TrustStore, TrustedKey};
use hcc_edge::seal::wire::{CheckpointMessage, ClockQuality, Digest, Id8, Slug, WIRE_VERSION};

/// About what a scored study's message has.
const MESSAGE_BYTES: usize = 2_600;

/// Results waiting for delivery when the journal is opened.
const OUTBOX: usize = 100_000;

/// How long each number of callers is measured.
const MEASURED: Duration = Duration::from_secs(3);

fn main() {
    let signer = Arc::new(Ed25519Signer::from_seed(&[7; 32]).expect("any seed is a key"));
    let names = (Slug::new("ward").expect("a slug"), Slug::new("box-1").expect("a slug"));
    let mut trust = TrustStore::default();
    let own = TrustedKey::of_device(names.0.clone(), names.1.clone(), signer.public_key());
    trust.add(own).expect("room for one key");
    println!("{:>8}  {:>14}  {:>12}", "callers", "results/s", "ms each");
    for callers in [1, 8, 64] {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = open(folder.path(), &trust, witness(signer.clone(), names.clone())).1;
        let started = Instant::now();
        let results = accept(&journal, callers, Until::Elapsed(MEASURED), &signer);
        let seconds = started.elapsed().as_secs_f64();
        let rate = results as f64 / seconds;
        println!("{callers:>8}  {rate:>14.0}  {:>12.2}", callers as f64 * 1e3 / rate);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path(), &trust, witness(signer.clone(), names.clone())).1;
    accept(&journal, 64, Until::Count(OUTBOX), &signer);
    drop(journal);
    let bytes: u64 = folder
        .path()
        .read_dir()
        .expect("the folder")
        .flatten()
        .map(|e| e.metadata().map_or(0, |m| m.len()))
        .sum();
    for _ in 0..3 {
        let (seconds, journal) =
            open(folder.path(), &trust, witness(signer.clone(), names.clone()));
        let backlog = journal.ledger().backlog();
        println!("{backlog} undelivered results in {} MiB open in {seconds:.2} s", bytes >> 20);
    }
}

fn witness(signer: Arc<Ed25519Signer>, (site, device): (Slug, Slug)) -> Witness {
    Box::new(move |head: JournalHead| {
        let message = CheckpointMessage {
            v: WIRE_VERSION,
            site: site.clone(),
            device: device.clone(),
            epoch: Id8::from(head.epoch),
            lsn: head.lsn,
            chain: Digest::from(head.chain),
            last_seq: head.last_seq,
            last_digest: Digest::from(head.last_hash),
            signed_at_ms: 0,
            clock_quality: ClockQuality::Unknown,
        };
        sign(&message, signer.as_ref()).map_err(|error| error.to_string())
    })
}

/// Seconds it took, and the journal.
fn open(folder: &Path, trust: &TrustStore, witness: Witness) -> (f64, Journal) {
    let started = Instant::now();
    let (store, ledger) =
        Store::open(folder, trust, [1; 8], Damage::Refuse).expect("the journal opens");
    (started.elapsed().as_secs_f64(), Journal::start(store, ledger, || 1, witness))
}

#[derive(Clone, Copy)]
enum Until {
    Elapsed(Duration),
    Count(usize),
}

/// Every caller claims a study and seals its result, one after the other; returns how many.
fn accept(journal: &Journal, callers: usize, until: Until, signer: &Arc<Ed25519Signer>) -> usize {
    let started = Instant::now();
    let of_caller = |caller: usize| {
        let mut count = 0;
        while match until {
            Until::Elapsed(limit) => started.elapsed() < limit,
            Until::Count(total) => count < total / callers + usize::from(caller < total % callers),
        } {
            let job = JobId::new(((caller << 32) | count).to_be_bytes());
            journal.append(vec![Record::Claim { job, arrived_ms: 1 }]).expect("a claim");
            let mut id = [0; 16];
            id[..8].copy_from_slice(&((caller << 32) | count).to_be_bytes());
            let signer = signer.clone();
            let build = move |context| message(context, &signer);
            journal.seal(job, id, false, Box::new(build)).expect("a result");
            journal.append_later(vec![Record::Released { job }]);
            count += 1;
        }
        count
    };
    let of_caller = &of_caller;
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..callers).map(|n| scope.spawn(move || of_caller(n))).collect();
        callers.into_iter().map(|caller| caller.join().expect("a caller")).sum()
    })
}

/// As many bytes as a message has, signed as it is.
fn message(context: SealContext, signer: &Ed25519Signer) -> Result<Vec<u8>, String> {
    let mut bytes = vec![context.seq as u8; MESSAGE_BYTES - 64];
    bytes.extend(signer.sign(&bytes).map_err(|error| error.to_string())?);
    Ok(bytes)
}
