//! The verifier. One order, the same in every implementation (`scripts/verify.py` is another):
//!
//! size → strict envelope → content type → key known → role → signature over the received bytes →
//! strict payload → rules → key bound to site and device → key valid when signed → topic.
//!
//! Order within an epoch is the next step and belongs to [`super::chain`].

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::cbor::{self, CborError};
use super::cose::{self, Envelope, EnvelopeError, KeyId, MessageType};
use super::trust::{Role, TrustStore, TrustedKey};
use super::wire::consistency::{Consistent, Inconsistent};
use super::wire::{
    AckMessage, CheckpointMessage, Digest, MAX_MESSAGE, ResendMessage, ResultMessage, Slug,
    StatusMessage,
};
use crate::units::Millis;

/// A message whose signature, form and rules were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    /// What was signed.
    pub message: T,
    /// Who signed.
    pub kid: KeyId,
    /// SHA-256 of the whole envelope: the next message's `prev`.
    pub digest: Digest,
}

/// The site and device of a topic `hcc/v1/<site>/<device>/…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Site.
    pub site: Slug,
    /// Device.
    pub device: Slug,
}

/// Why a message is refused: one variant per step of the order.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Step 1.
    #[error("the message has {found} bytes, at most {MAX_MESSAGE} are accepted")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// Step 2.
    #[error("the envelope is not a COSE_Sign1 of this product")]
    Envelope(#[source] EnvelopeError),
    /// Step 3.
    #[error("the message is a {found}, expected {expected}")]
    ContentType {
        /// The content type found.
        found: String,
        /// The one expected here.
        expected: &'static str,
    },
    /// Step 4.
    #[error("key {kid} is not in the trust store")]
    UnknownKey {
        /// The key id found.
        kid: KeyId,
    },
    /// Step 5.
    #[error("key {kid} has the role {found:?}, this message needs {expected:?}")]
    WrongRole {
        /// The key id found.
        kid: KeyId,
        /// Its role.
        found: Role,
        /// The role needed.
        expected: Role,
    },
    /// Step 5, manifests only.
    #[error("key {kid} is a demonstration key and this is not a demonstration")]
    DemonstrationKey {
        /// The key id found.
        kid: KeyId,
    },
    /// Step 6.
    #[error("the signature is not by key {kid}, or the message was changed")]
    Signature {
        /// The key id found.
        kid: KeyId,
    },
    /// Step 7.
    #[error("the payload is not in the one form that is accepted")]
    Payload(#[source] CborError),
    /// Step 8.
    #[error("the message contradicts itself")]
    Inconsistent(#[source] Inconsistent),
    /// Step 9.
    #[error("key {kid} does not belong to device {device} of site {site}")]
    KeyNotBound {
        /// The key id found.
        kid: KeyId,
        /// The site the message names.
        site: Slug,
        /// The device the message names.
        device: Slug,
    },
    /// Step 10.
    #[error("key {kid} was not valid at the time of signing")]
    KeyNotValid {
        /// The key id found.
        kid: KeyId,
    },
    /// Step 11.
    #[error("the message is from device {device} of site {site}, the topic names another")]
    Topic {
        /// The site the message names.
        site: Slug,
        /// The device the message names.
        device: Slug,
    },
}

impl Refusal {
    /// A short name for logs, counters and the shared test vectors.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Envelope(_) => "envelope",
            Self::ContentType { .. } => "content_type",
            Self::UnknownKey { .. } => "unknown_key",
            Self::WrongRole { .. } => "wrong_role",
            Self::DemonstrationKey { .. } => "demonstration_key",
            Self::Signature { .. } => "signature",
            Self::Payload(_) => "payload",
            Self::Inconsistent(_) => "inconsistent",
            Self::KeyNotBound { .. } => "key_not_bound",
            Self::KeyNotValid { .. } => "key_not_valid",
            Self::Topic { .. } => "topic",
        }
    }
}

/// A kind of message that travels signed.
pub trait Signed: Serialize + DeserializeOwned + Consistent {
    /// Its content type.
    const KIND: MessageType;
    /// The role its key must have.
    const ROLE: Role;

    /// Site the message names.
    fn site(&self) -> &Slug;
    /// Device the message names.
    fn device(&self) -> &Slug;
    /// When it says it was signed.
    fn signed_at(&self) -> Millis;
}

/// Implements [`Signed`] for a message with the fields `site`, `device` and `signed_at_ms`.
macro_rules! signed {
    ($message:ty, $kind:ident, $role:ident) => {
        impl Signed for $message {
            const KIND: MessageType = MessageType::$kind;
            const ROLE: Role = Role::$role;

            fn site(&self) -> &Slug {
                &self.site
            }

            fn device(&self) -> &Slug {
                &self.device
            }

            fn signed_at(&self) -> Millis {
                Millis(self.signed_at_ms)
            }
        }
    };
}

signed!(ResultMessage, Result, Device);
signed!(StatusMessage, Status, Device);
signed!(CheckpointMessage, Checkpoint, Device);
signed!(AckMessage, Ack, Consumer);
signed!(ResendMessage, Resend, Consumer);

/// Verifies one message. `topic` is where it arrived; `None` for a file.
pub fn verify<T: Signed>(
    bytes: &[u8],
    trust: &TrustStore,
    topic: Option<&Address>,
) -> Result<Verified<T>, Refusal> {
    within_limit(bytes)?;
    let envelope = cose::open(bytes).map_err(Refusal::Envelope)?;
    let key = trusted(&envelope, trust, (T::KIND, T::ROLE))?;
    let message = payload::<T>(&envelope)?;
    bound(key, &message)?;
    if let Some(topic) = topic
        && (topic.site != *message.site() || topic.device != *message.device())
    {
        let (site, device) = (message.site().clone(), message.device().clone());
        return Err(Refusal::Topic { site, device });
    }
    Ok(Verified { message, kid: key.kid, digest: cose::sha256(bytes) })
}

/// Verifies a checkpoint of one's own journal. Neither the time of signing nor the names are looked
/// at: a clock that was wrong, or a device that was renamed, must not lose its journal.
pub fn verify_checkpoint(bytes: &[u8], trust: &TrustStore) -> Result<CheckpointMessage, Refusal> {
    within_limit(bytes)?;
    let envelope = cose::open(bytes).map_err(Refusal::Envelope)?;
    trusted(&envelope, trust, (CheckpointMessage::KIND, CheckpointMessage::ROLE))?;
    payload(&envelope)
}

/// Decodes a message without trusting it: strict form and rules, but no signature check. For
/// deriving the view of a message of our own.
pub fn decode_unverified<T: Signed>(bytes: &[u8]) -> Result<T, Refusal> {
    within_limit(bytes)?;
    let envelope = cose::open(bytes).map_err(Refusal::Envelope)?;
    content_type(&envelope, T::KIND)?;
    payload(&envelope)
}

/// Whether demonstration keys may vouch for packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageMode {
    /// Demonstration keys are accepted.
    Demonstration,
    /// Demonstration keys are refused.
    Clinical,
}

/// Verifies the detached signature of a manifest. There is no time of signing in a manifest, so
/// the key's validity is not looked at: withdraw a models key by removing it.
pub fn verify_manifest(
    cose_bytes: &[u8],
    manifest: &[u8],
    trust: &TrustStore,
    mode: PackageMode,
) -> Result<KeyId, Refusal> {
    within_limit(cose_bytes)?;
    let envelope = cose::open_detached(cose_bytes, manifest).map_err(Refusal::Envelope)?;
    let key = trusted(&envelope, trust, (MessageType::Manifest, Role::Models))?;
    if key.demonstration && mode == PackageMode::Clinical {
        return Err(Refusal::DemonstrationKey { kid: key.kid });
    }
    Ok(key.kid)
}

fn within_limit(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.len() > MAX_MESSAGE {
        return Err(Refusal::TooLarge { found: bytes.len() });
    }
    Ok(())
}

fn content_type(envelope: &Envelope, kind: MessageType) -> Result<(), Refusal> {
    let expected = kind.content_type();
    if envelope.content_type != expected {
        let found = envelope.content_type.clone();
        return Err(Refusal::ContentType { found, expected });
    }
    Ok(())
}

fn trusted<'a>(
    envelope: &Envelope,
    trust: &'a TrustStore,
    (kind, expected): (MessageType, Role),
) -> Result<&'a TrustedKey, Refusal> {
    content_type(envelope, kind)?;
    let kid = envelope.kid;
    let key = trust.get(&kid).ok_or(Refusal::UnknownKey { kid })?;
    if key.role != expected {
        return Err(Refusal::WrongRole { kid, found: key.role, expected });
    }
    if !envelope.is_signed_by(&key.public_key) {
        return Err(Refusal::Signature { kid });
    }
    Ok(key)
}

fn payload<T: Signed>(envelope: &Envelope) -> Result<T, Refusal> {
    let message: T = cbor::decode(&envelope.payload, MAX_MESSAGE).map_err(Refusal::Payload)?;
    message.check().map_err(Refusal::Inconsistent)?;
    Ok(message)
}

fn bound<T: Signed>(key: &TrustedKey, message: &T) -> Result<(), Refusal> {
    let kid = key.kid;
    let (site, device) = (message.site(), message.device());
    let allows = |own: &Option<Slug>, named: &Slug| own.as_ref().is_none_or(|own| own == named);
    if !allows(&key.site, site) || !allows(&key.device, device) {
        return Err(Refusal::KeyNotBound { kid, site: site.clone(), device: device.clone() });
    }
    if !key.is_valid_at(message.signed_at()) {
        return Err(Refusal::KeyNotValid { kid });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::cose::{Ed25519Signer, Signer, seal, seal_detached};
    use crate::seal::wire::samples;
    use proptest::prelude::*;

    fn signer() -> Ed25519Signer {
        Ed25519Signer::from_seed(&[7; 32]).unwrap()
    }

    fn key(role: Role) -> TrustedKey {
        let stamp = samples::stamp();
        let public_key = signer().public_key();
        TrustedKey { role, ..TrustedKey::of_device(stamp.site, stamp.device, public_key) }
    }

    fn store(key: TrustedKey) -> TrustStore {
        let mut store = TrustStore::default();
        store.add(key).unwrap();
        store
    }

    fn sealed<T: Signed>(message: &T) -> Vec<u8> {
        let payload = cbor::encode(message, MAX_MESSAGE).unwrap();
        seal(T::KIND, &payload, &signer()).unwrap()
    }

    fn refusal(store: &TrustStore, bytes: &[u8]) -> &'static str {
        match verify::<ResultMessage>(bytes, store, None) {
            Ok(_) => "accepted",
            Err(refusal) => refusal.name(),
        }
    }

    #[test]
    fn good_messages_of_every_kind_verify() {
        let devices = store(key(Role::Device));
        let bytes = sealed(&samples::scored());
        let verified: Verified<ResultMessage> = verify(&bytes, &devices, None).unwrap();
        assert_eq!(verified.message, samples::scored());
        assert_eq!(verified.digest, cose::sha256(&bytes));
        verify::<StatusMessage>(&sealed(&samples::status()), &devices, None).unwrap();
        let consumers = store(key(Role::Consumer));
        verify::<AckMessage>(&sealed(&samples::ack()), &consumers, None).unwrap();
        verify::<ResendMessage>(&sealed(&samples::resend()), &consumers, None).unwrap();
    }

    #[test]
    fn the_topic_must_name_the_signing_device() {
        let devices = store(key(Role::Device));
        let bytes = sealed(&samples::scored());
        let stamp = samples::stamp();
        let mut topic = Address { site: stamp.site, device: stamp.device };
        verify::<ResultMessage>(&bytes, &devices, Some(&topic)).unwrap();
        topic.device = Slug::new("box-2").unwrap();
        let refused = verify::<ResultMessage>(&bytes, &devices, Some(&topic)).unwrap_err();
        assert_eq!(refused.name(), "topic");
    }

    #[test]
    fn keys_speak_only_for_themselves() {
        let bytes = sealed(&samples::scored());
        assert_eq!(refusal(&TrustStore::default(), &bytes), "unknown_key");
        assert_eq!(refusal(&store(key(Role::Consumer)), &bytes), "wrong_role");
        let elsewhere = TrustedKey { device: Slug::new("box-2").ok(), ..key(Role::Device) };
        assert_eq!(refusal(&store(elsewhere), &bytes), "key_not_bound");
        let other_site = TrustedKey { site: Slug::new("other").ok(), ..key(Role::Device) };
        assert_eq!(refusal(&store(other_site), &bytes), "key_not_bound");
        let signed_at = samples::scored().signed_at();
        let expired = TrustedKey { not_after: Some(signed_at), ..key(Role::Device) };
        assert_eq!(refusal(&store(expired), &bytes), "key_not_valid");
        let forged = TrustedKey { public_key: [1; 32], ..key(Role::Device) };
        assert_eq!(refusal(&store(forged), &bytes), "signature");
    }

    #[test]
    fn one_kind_of_message_cannot_pass_as_another() {
        let devices = store(key(Role::Device));
        assert_eq!(refusal(&devices, &sealed(&samples::status())), "content_type");
        let payload = cbor::encode(&samples::status(), MAX_MESSAGE).unwrap();
        let disguised = seal(MessageType::Result, &payload, &signer()).unwrap();
        assert_eq!(refusal(&devices, &disguised), "payload");
    }

    #[test]
    fn contradictions_are_refused_even_when_signed() {
        let mut message = samples::scored();
        message.seq = 0;
        assert_eq!(refusal(&store(key(Role::Device)), &sealed(&message)), "inconsistent");
    }

    #[test]
    fn size_is_checked_first() {
        let devices = store(key(Role::Device));
        assert_eq!(refusal(&devices, &vec![0; MAX_MESSAGE]), "envelope");
        assert_eq!(refusal(&devices, &vec![0; MAX_MESSAGE + 1]), "too_large");
    }

    #[test]
    fn the_largest_message_fits() {
        let bytes = sealed(&samples::largest());
        assert!(bytes.len() <= MAX_MESSAGE, "{} bytes", bytes.len());
        let stamp = samples::largest();
        let own = TrustedKey::of_device(stamp.site, stamp.device, signer().public_key());
        verify::<ResultMessage>(&bytes, &store(own), None).unwrap();
    }

    #[test]
    fn manifests_need_a_models_key_and_the_right_mode() {
        let manifest = b"name = \"pmn\"\n";
        let cose = seal_detached(MessageType::Manifest, manifest, &signer()).unwrap();
        let models =
            TrustedKey { device: None, site: None, demonstration: true, ..key(Role::Models) };
        let trust = store(models);
        let verdict = |manifest: &[u8], trust: &TrustStore, mode| {
            verify_manifest(&cose, manifest, trust, mode).map_err(|refusal| refusal.name())
        };
        use PackageMode::{Clinical, Demonstration};
        assert!(verdict(manifest, &trust, Demonstration).is_ok());
        assert_eq!(verdict(manifest, &trust, Clinical), Err("demonstration_key"));
        assert_eq!(verdict(b"name = \"x\"\n", &trust, Demonstration), Err("signature"));
        assert_eq!(verdict(manifest, &store(key(Role::Device)), Clinical), Err("wrong_role"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_changed_message_is_never_accepted(
            changes in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        ) {
            let bytes = sealed(&samples::scored());
            let mut changed = bytes.clone();
            for (index, flip) in changes {
                changed[index.index(bytes.len())] ^= flip;
            }
            prop_assume!(changed != bytes);
            prop_assert_ne!(refusal(&store(key(Role::Device)), &changed), "accepted");
        }

        #[test]
        fn a_spliced_message_is_never_accepted(
            (cut, insert) in (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..9)),
            remove in 0usize..9,
        ) {
            let bytes = sealed(&samples::abstained());
            let start = cut.index(bytes.len() + 1);
            let end = (start + remove).min(bytes.len());
            let mut changed = bytes.clone();
            changed.splice(start..end, insert);
            prop_assume!(changed != bytes);
            prop_assert_ne!(refusal(&store(key(Role::Device)), &changed), "accepted");
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            prop_assert_ne!(refusal(&store(key(Role::Device)), &bytes), "accepted");
            let mut tagged = vec![0xd2, 0x84];
            tagged.extend(bytes);
            prop_assert_ne!(refusal(&store(key(Role::Device)), &tagged), "accepted");
        }
    }
}
