//! Opening, damage, pruning: on files, with the store alone.

use proptest::prelude::*;

use super::*;
use crate::host::journal::inspect;
use crate::host::journal::record::JobId;
use crate::host::journal::record::tests::any_record;
use crate::host::journal::testing::{trust, witness};
use crate::host::journal::thread::JournalHead;

/// The opened store and every record in it.
fn open(folder: &Path) -> Result<(Store, Vec<Entry>), JournalError> {
    let (store, _) = Store::open(folder, &trust(), [7; 8], Damage::Refuse)?;
    let mut entries = Vec::new();
    inspect(folder, &trust(), &mut |entry| entries.push(entry.clone()))?;
    Ok((store, entries))
}

fn filled(folder: &Path, records: &[Record]) -> Vec<Entry> {
    let (mut store, _) = open(folder).unwrap();
    records.iter().flat_map(|r| store.append(std::slice::from_ref(r), 5).unwrap()).collect()
}

fn three() -> Vec<Record> {
    let job = JobId::new([1; 8]);
    vec![
        Record::Claim { job, arrived_ms: 1 },
        Record::Try { job, attempt: 1 },
        Record::Released { job },
    ]
}

fn only_segment(folder: &Path) -> PathBuf {
    segment_path(folder, 0)
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(JournalError::Locked(_))));
}

#[test]
fn a_record_cut_off_at_any_byte_is_truncated_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let entries = filled(folder.path(), &three());
    let whole = fs::read(only_segment(folder.path())).unwrap();
    let last = entries[2].place.offset as usize;
    for cut in last..whole.len() {
        fs::write(only_segment(folder.path()), &whole[..cut]).unwrap();
        let (mut store, replayed) = open(folder.path()).unwrap();
        assert_eq!(replayed, entries[..2], "cut at {cut}");
        store.append(&[Record::Confirm { seq: 9 }], 6).unwrap();
        drop(store);
        assert_eq!(open(folder.path()).unwrap().1.len(), 3);
    }
}

#[test]
fn every_flipped_bit_before_the_tail_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let entries = filled(folder.path(), &three());
    let whole = fs::read(only_segment(folder.path())).unwrap();
    let end_of_second = entries[2].place.offset as usize;
    for byte in 0..end_of_second {
        let mut flipped = whole.clone();
        flipped[byte] ^= 1 << (byte % 8);
        fs::write(only_segment(folder.path()), &flipped).unwrap();
        match open(folder.path()) {
            Err(JournalError::Damaged { .. }) => {}
            other => panic!("byte {byte}: {other:?}"),
        }
    }
}

fn result(seq: u64, bytes: usize) -> Record {
    let (job, result_id) = (JobId::new([2; 8]), [seq as u8; 16]);
    Record::Result { job, seq, result_id, failed: false, cose: vec![seq as u8; bytes] }
}

/// Appends as the journal's thread does: rolls, and begins with a checkpoint where one is due.
fn add(store: &mut Store, ledger: &mut Ledger, records: &[Record], time_ms: u64) -> Vec<Entry> {
    if store.is_segment_full() {
        store.roll().unwrap();
    }
    let mut group = records.to_vec();
    if store.wants_checkpoint() {
        let Head { epoch, lsn, chain } = store.head();
        let (last_seq, last_hash) = (ledger.last_seq(), ledger.last_hash());
        let cose = witness(JournalHead { epoch, lsn, chain, last_seq, last_hash }).unwrap();
        group.insert(0, Record::Checkpoint { cose });
    }
    let entries = store.append(&group, time_ms).unwrap();
    entries.iter().cloned().for_each(|entry| ledger.apply(entry));
    entries
}

/// A journal of several small segments: results 1 to 60, a second apart, each confirmed but the last
/// two.
fn several_segments(folder: &Path) -> (Store, Ledger) {
    several_segments_since(folder, EARLIEST_MS)
}

fn several_segments_since(folder: &Path, start_ms: u64) -> (Store, Ledger) {
    let (mut store, mut ledger) = Store::open(folder, &trust(), [7; 8], Damage::Refuse).unwrap();
    store.segment_bytes = 20_000;
    for seq in 1..=60 {
        let time_ms = start_ms + seq * 1_000;
        add(&mut store, &mut ledger, &[result(seq, 1_500)], time_ms);
        if seq <= 58 {
            add(&mut store, &mut ledger, &[Record::Confirm { seq }], time_ms);
        }
    }
    assert!(store.segment >= 3);
    (store, ledger)
}

#[test]
fn accepted_damage_is_set_aside_and_what_was_not_delivered_is_carried_over() {
    let folder = tempfile::tempdir().unwrap();
    drop(several_segments(folder.path()));
    let path = segment_path(folder.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER_BYTES + 3_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(open(folder.path()), Err(JournalError::Damaged { .. })));
    let accept = || Store::open(folder.path(), &trust(), [9; 8], Damage::Accept).unwrap();
    let (store, ledger) = accept();
    assert_eq!((store.epoch(), ledger.last_seq()), ([9; 8], 0));
    let carried: Vec<Record> = ledger
        .unconfirmed()
        .map(|number| store.read(ledger.place(number).unwrap()).unwrap())
        .collect();
    // The flipped bit is in one record; its neighbours are read all the same.
    let saved = |seq: u64| {
        carried
            .iter()
            .any(|record| matches!(record, Record::Carried { cose, .. } if cose[0] == seq as u8))
    };
    assert!(saved(59) && saved(60), "{carried:?}");
    assert!(carried.len() <= 3, "at most one confirmation was lost: {carried:?}");
    assert_eq!(damaged_files(folder.path()), store.segment as usize);
    drop(store);
    let (store, entries) = open(folder.path()).unwrap();
    assert_eq!((store.epoch(), entries.len()), ([9; 8], carried.len()));
    drop(store);
    assert_eq!(accept().1.backlog(), carried.len(), "accepting twice changes nothing");
}

#[test]
fn segments_roll_and_replay_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ledger) = several_segments(folder.path());
    let place = ledger.result(20).unwrap().place;
    assert_eq!(store.read(place).unwrap(), result(20, 1_500));
    let head = store.head();
    drop(store);
    let (store, again) = Store::open(folder.path(), &trust(), [8; 8], Damage::Refuse).unwrap();
    assert_eq!(store.head(), head);
    assert_eq!(
        (again.last_seq(), again.last_hash(), again.unconfirmed().collect()),
        (ledger.last_seq(), ledger.last_hash(), vec![59, 60])
    );
    drop(store);
    for lost in [1, 0] {
        let (path, away) = (segment_path(folder.path(), lost), folder.path().join("away"));
        fs::rename(&path, &away).unwrap();
        assert!(matches!(open(folder.path()), Err(JournalError::Damaged { .. })), "{lost}");
        fs::rename(&away, &path).unwrap();
    }
    assert!(open(folder.path()).is_ok());
}

#[test]
fn a_checkpoint_of_another_key_or_of_another_history_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    drop(several_segments(folder.path()));
    let stranger = TrustStore::default();
    let refused = Store::open(folder.path(), &stranger, [8; 8], Damage::Refuse);
    assert!(matches!(refused, Err(JournalError::Damaged { .. })));
    let other = tempfile::tempdir().unwrap();
    let (mut store, mut ledger) =
        Store::open(other.path(), &trust(), [7; 8], Damage::Refuse).unwrap();
    let Head { epoch, lsn, chain } = store.head();
    let head = JournalHead { epoch, lsn: lsn + 1, chain, last_seq: 0, last_hash: [0; 32] };
    let false_word = Record::Checkpoint { cose: witness(head).unwrap() };
    add(&mut store, &mut ledger, &[false_word], 1);
    drop(store);
    assert!(matches!(open(other.path()), Err(JournalError::Damaged { .. })));
}

#[test]
fn pruning_keeps_what_is_young_or_needed_and_the_rest_still_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, mut ledger) = several_segments(folder.path());
    let (hash, last) = (ledger.last_hash(), store.segment);
    let after_ms = EARLIEST_MS + 61_000;
    let since_start = store.prune((EARLIEST_MS, after_ms), None).unwrap();
    assert_eq!(since_start, None, "nothing is older than that");
    let needed = ledger.oldest_segment_in_use();
    assert_eq!(needed, ledger.place(59).map(Place::segment));
    let first = store.prune((after_ms, after_ms), needed).unwrap().unwrap();
    assert_eq!(Some(first), needed.map(|needed| needed.min(last)));
    ledger.forget_before(first);
    assert!(ledger.result(1).is_none() && ledger.result(59).is_some());
    assert_eq!(ledger.seq_of(&[1; 16]), None);
    add(&mut store, &mut ledger, &[result(61, 10)], after_ms);
    drop(store);
    let (store, again) = Store::open(folder.path(), &trust(), [8; 8], Damage::Refuse).unwrap();
    assert_eq!((again.last_seq(), again.unconfirmed().collect()), (61, vec![59, 60, 61]));
    assert_ne!(again.last_hash(), hash);
    drop(store);
    fs::remove_file(segment_path(folder.path(), first)).unwrap();
    assert!(matches!(open(folder.path()), Err(JournalError::Damaged { .. })), "lost, not pruned");
}

#[test]
fn what_a_wrong_clock_has_dated_is_as_young_as_what_follows() {
    let now_ms = EARLIEST_MS + 1_000_000;
    for wrong_ms in [0, 2 * EARLIEST_MS] {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, mut ledger) = several_segments_since(folder.path(), wrong_ms);
        let prune = |store: &mut Store, before_ms| {
            store.prune((before_ms, now_ms + 1), None).unwrap().is_some()
        };
        assert!(!prune(&mut store, now_ms + 1), "nobody knows how old it is");
        store.segment_bytes = 0;
        for seq in 61..=62 {
            add(&mut store, &mut ledger, &[result(seq, 10)], now_ms);
        }
        assert!(!prune(&mut store, now_ms), "no older than what follows");
        assert!(prune(&mut store, now_ms + 1));
    }
}

#[test]
fn a_second_acceptance_keeps_what_the_first_has_set_aside_and_carries_on() {
    let folder = tempfile::tempdir().unwrap();
    drop(several_segments(folder.path()));
    for acceptance in 1..=2 {
        let newest = list_segments(folder.path()).unwrap().pop().unwrap();
        fs::write(segment_path(folder.path(), newest), b"no segment").unwrap();
        let (store, ledger) =
            Store::open(folder.path(), &trust(), [8 + acceptance; 8], Damage::Accept).unwrap();
        // The newest segment held results 59 and 60 at first, then what was carried over.
        assert!(ledger.backlog() <= 2, "{}", ledger.backlog());
        assert_eq!(damaged_files(folder.path()), store.segment as usize, "nothing is replaced");
    }
}

#[test]
fn an_interrupted_pruning_is_finished_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = several_segments(folder.path());
    base::write(folder.path(), &store.first_checkpoint(2).unwrap()).unwrap();
    drop(store);
    fs::remove_file(segment_path(folder.path(), 0)).unwrap();
    let (store, ledger) = Store::open(folder.path(), &trust(), [8; 8], Damage::Refuse).unwrap();
    assert_eq!(ledger.last_seq(), 60);
    assert!(!segment_path(folder.path(), 1).exists());
    drop(store);
    fs::remove_file(base::path(folder.path())).unwrap();
    assert!(matches!(open(folder.path()), Err(JournalError::Damaged { .. })), "without its base");
}

#[test]
fn a_result_out_of_turn_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), &[result(1, 1), result(2, 1)]);
    assert!(open(folder.path()).is_ok());
    filled(folder.path(), &[result(2, 1)]);
    assert!(matches!(open(folder.path()), Err(JournalError::Damaged { .. })));
}

/// The same records with their results counted from 1, as the journal's thread does it.
fn counted(mut records: Vec<Record>) -> Vec<Record> {
    let seqs = records.iter_mut().filter_map(|record| match record {
        Record::Result { seq, .. } => Some(seq),
        _ => None,
    });
    (1..).zip(seqs).for_each(|(number, seq)| *seq = number);
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn replay_is_what_was_written(records in proptest::collection::vec(any_record(), 1..20)) {
        let folder = tempfile::tempdir().unwrap();
        let written = filled(folder.path(), &counted(records));
        let (_, replayed) = open(folder.path()).unwrap();
        prop_assert_eq!(replayed, written);
    }
}
