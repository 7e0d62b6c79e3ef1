//! The key that signs checkpoints in tests, and who believes it.

use super::thread::JournalHead;
use crate::seal::cose::{Ed25519Signer, Signer};
use crate::seal::sign::sign;
use crate::seal::trust::{TrustStore, TrustedKey};
use crate::seal::wire::{CheckpointMessage, Digest, Id8, samples};

fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(&[7; 32]).unwrap()
}

pub(super) fn trust() -> TrustStore {
    let CheckpointMessage { site, device, .. } = samples::checkpoint();
    let mut trust = TrustStore::default();
    trust.add(TrustedKey::of_device(site, device, signer().public_key())).unwrap();
    trust
}

pub(super) fn witness(head: JournalHead) -> Result<Vec<u8>, String> {
    let message = CheckpointMessage {
        epoch: Id8::from(head.epoch),
        lsn: head.lsn,
        chain: Digest::from(head.chain),
        last_seq: head.last_seq,
        last_digest: Digest::from(head.last_hash),
        ..samples::checkpoint()
    };
    sign(&message, &signer()).map_err(|error| error.to_string())
}
