//! COSE_Sign1 (RFC 9052) in one fixed profile: tag 18, protected map {alg, content type, kid},
//! empty unprotected map, no external data, Ed25519. Reads and writes envelopes and checks
//! signatures; does not know what a payload means nor whom to trust.
//!
//! ```text
//! d2 84 <bstr {1: -8, 3: "application/vnd.hcc-edge.…", 4: kid}> a0 <bstr payload> <bstr 64>
//! ```
//!
//! −8 (EdDSA) is emitted because every tool reads it; −19 (Ed25519, RFC 9864) is accepted too.

use coset::{CoseSign1, Header, ProtectedHeader, TaggedCborSerializable, iana};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use thiserror::Error;

use super::cbor::first_difference;
use super::wire::{Digest, Id16, MAX_MESSAGE};

/// First 16 bytes of the SHA-256 of a public key.
pub type KeyId = Id16;
/// An Ed25519 public key.
pub type PublicKey = [u8; 32];
/// An Ed25519 signature.
pub type Signature = [u8; 64];

/// The kinds of signed message, each with its own content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageType {
    /// The result of a study, signed by a device.
    Result,
    /// A device's state, signed by it.
    Status,
    /// A consumer's confirmation.
    Ack,
    /// A consumer's request for earlier messages.
    Resend,
    /// A device's word for what its journal holds, signed by it.
    Checkpoint,
    /// A model package's manifest, detached.
    Manifest,
}

impl MessageType {
    /// The protected content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Result => "application/vnd.hcc-edge.result.v1+cbor",
            Self::Status => "application/vnd.hcc-edge.status.v1+cbor",
            Self::Ack => "application/vnd.hcc-edge.ack.v1+cbor",
            Self::Resend => "application/vnd.hcc-edge.resend.v1+cbor",
            Self::Checkpoint => "application/vnd.hcc-edge.checkpoint.v1+cbor",
            Self::Manifest => "application/vnd.hcc-edge.manifest.v1+toml",
        }
    }
}

/// Whoever can sign: a key in memory today, a token later.
pub trait Signer {
    /// The public half of the key.
    fn public_key(&self) -> PublicKey;

    /// Signs the bytes of a `Sig_structure`.
    fn sign(&self, to_be_signed: &[u8]) -> Result<Signature, SealError>;
}

/// Why an envelope could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// The bytes are not an Ed25519 key that can be used.
    #[error("the key is not an Ed25519 key in PKCS#8 form ({0})")]
    Key(String),
    /// The envelope would be larger than any receiver accepts.
    #[error("the signed message has {found} bytes, at most {MAX_MESSAGE} are accepted")]
    TooLarge {
        /// Bytes of the whole envelope.
        found: usize,
    },
    /// The signer failed.
    #[error("signing failed ({0})")]
    Sign(String),
    /// The envelope could not be encoded.
    #[error("the envelope cannot be encoded ({0})")]
    Encode(String),
}

/// An Ed25519 key held in memory.
#[derive(Debug)]
pub struct Ed25519Signer {
    pair: Ed25519KeyPair,
}

impl Ed25519Signer {
    /// Reads PKCS#8, version 2 (with the public key, as `ring` writes) or 1 (as OpenSSL writes).
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SealError> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map(|pair| Self { pair })
            .map_err(|error| SealError::Key(error.to_string()))
    }

    /// Makes the key of a 32-byte seed (RFC 8032 section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, SealError> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(|pair| Self { pair })
            .map_err(|error| SealError::Key(error.to_string()))
    }
}

impl Signer for Ed25519Signer {
    fn public_key(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        bytes
    }

    fn sign(&self, to_be_signed: &[u8]) -> Result<Signature, SealError> {
        let signature = self.pair.sign(to_be_signed);
        signature.as_ref().try_into().map_err(|_| SealError::Sign("not 64 bytes".into()))
    }
}

/// The key id of a public key.
pub fn key_id(public_key: &PublicKey) -> KeyId {
    let digest = sha256(public_key);
    let mut id = [0; 16];
    id.copy_from_slice(&digest.0[..16]);
    Id16::from(id)
}

/// SHA-256 of some bytes; of a whole envelope it is what `prev` and `last_digest` hold.
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    Digest::from(digest)
}

/// Signs `payload` into a complete envelope of at most [`MAX_MESSAGE`] bytes.
pub fn seal(kind: MessageType, payload: &[u8], signer: &dyn Signer) -> Result<Vec<u8>, SealError> {
    finish(unsigned(kind, signer, Some(payload.to_vec())), payload, signer)
}

/// Signs `payload`, which travels beside the envelope (its payload is null).
pub fn seal_detached(
    kind: MessageType,
    payload: &[u8],
    signer: &dyn Signer,
) -> Result<Vec<u8>, SealError> {
    finish(unsigned(kind, signer, None), payload, signer)
}

fn unsigned(kind: MessageType, signer: &dyn Signer, payload: Option<Vec<u8>>) -> CoseSign1 {
    let kid = key_id(&signer.public_key());
    CoseSign1 {
        protected: protected(Algorithm::EdDsa, kind.content_type(), &kid),
        payload,
        ..CoseSign1::default()
    }
}

fn finish(
    mut message: CoseSign1,
    payload: &[u8],
    signer: &dyn Signer,
) -> Result<Vec<u8>, SealError> {
    message.signature = signer.sign(&sig_structure(&message.protected, payload))?.to_vec();
    let bytes = message.to_tagged_vec().map_err(|error| SealError::Encode(error.to_string()))?;
    if bytes.len() > MAX_MESSAGE {
        return Err(SealError::TooLarge { found: bytes.len() });
    }
    Ok(bytes)
}

/// The two names of Ed25519 that verifiers accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// −8, what we emit.
    EdDsa,
    /// −19.
    Ed25519,
}

/// An envelope that kept the profile; its signature is not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The protected content type, any text.
    pub content_type: String,
    /// Who claims to have signed.
    pub kid: KeyId,
    /// Which name of Ed25519 was used.
    pub algorithm: Algorithm,
    /// The payload as received; empty when detached.
    pub payload: Vec<u8>,
    signature: Signature,
    to_be_signed: Vec<u8>,
}

impl Envelope {
    /// Checks the signature over the received bytes.
    pub fn is_signed_by(&self, public_key: &PublicKey) -> bool {
        UnparsedPublicKey::new(&ED25519, public_key)
            .verify(&self.to_be_signed, &self.signature)
            .is_ok()
    }
}

/// Why bytes are not an envelope of the profile.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// Not a tagged COSE_Sign1.
    #[error("it is not a tagged COSE_Sign1 ({0})")]
    NotSign1(String),
    /// Something in the unprotected map.
    #[error("its unprotected map is not empty")]
    Unprotected,
    /// An algorithm that is not Ed25519.
    #[error("its algorithm is not Ed25519 (−8 or −19)")]
    Algorithm,
    /// Content type missing or not a text.
    #[error("its content type is missing or not a text")]
    ContentType,
    /// Key id missing or not 16 bytes.
    #[error("its key id is missing or not 16 bytes")]
    KeyId,
    /// Signature of another length.
    #[error("its signature is not 64 bytes")]
    SignatureLength,
    /// Payload missing, or present where it should be detached.
    #[error("its payload is missing where it belongs, or present where it does not")]
    Payload,
    /// Another encoding is the deterministic one, or a header too many.
    #[error("it is not in the one form that is accepted: it differs from byte {at} on")]
    NotDeterministic {
        /// Offset of the first difference.
        at: usize,
    },
}

/// Takes an envelope with its payload apart. Check the size first ([`MAX_MESSAGE`]).
pub fn open(bytes: &[u8]) -> Result<Envelope, EnvelopeError> {
    let message = parse(bytes)?;
    let payload = message.payload.clone().ok_or(EnvelopeError::Payload)?;
    envelope(message, &payload, payload.clone())
}

/// Takes an envelope without payload apart; `payload` is what it should be about.
pub fn open_detached(bytes: &[u8], payload: &[u8]) -> Result<Envelope, EnvelopeError> {
    let message = parse(bytes)?;
    if message.payload.is_some() {
        return Err(EnvelopeError::Payload);
    }
    envelope(message, payload, Vec::new())
}

fn parse(bytes: &[u8]) -> Result<CoseSign1, EnvelopeError> {
    let message = CoseSign1::from_tagged_slice(bytes)
        .map_err(|error| EnvelopeError::NotSign1(error.to_string()))?;
    if !message.unprotected.is_empty() {
        return Err(EnvelopeError::Unprotected);
    }
    let again = canonical(&message)?
        .to_tagged_vec()
        .map_err(|error| EnvelopeError::NotSign1(error.to_string()))?;
    match first_difference(bytes, &again) {
        None => Ok(message),
        Some(at) => Err(EnvelopeError::NotDeterministic { at }),
    }
}

/// The same message with nothing but what the profile allows.
fn canonical(message: &CoseSign1) -> Result<CoseSign1, EnvelopeError> {
    let header = &message.protected.header;
    let (algorithm, content_type, kid) = headers(header)?;
    Ok(CoseSign1 {
        protected: protected(algorithm, content_type, &kid),
        unprotected: Header::default(),
        payload: message.payload.clone(),
        signature: message.signature.clone(),
    })
}

fn headers(header: &Header) -> Result<(Algorithm, &str, KeyId), EnvelopeError> {
    let algorithm = match &header.alg {
        Some(coset::Algorithm::Assigned(iana::Algorithm::EdDSA)) => Algorithm::EdDsa,
        Some(coset::Algorithm::Assigned(iana::Algorithm::Ed25519)) => Algorithm::Ed25519,
        _ => return Err(EnvelopeError::Algorithm),
    };
    let content_type = match &header.content_type {
        Some(coset::ContentType::Text(text)) => text.as_str(),
        _ => return Err(EnvelopeError::ContentType),
    };
    let kid: [u8; 16] = header.key_id.as_slice().try_into().map_err(|_| EnvelopeError::KeyId)?;
    Ok((algorithm, content_type, KeyId::from(kid)))
}

fn envelope(
    message: CoseSign1,
    signed: &[u8],
    payload: Vec<u8>,
) -> Result<Envelope, EnvelopeError> {
    let (algorithm, content_type, kid) = headers(&message.protected.header)?;
    let signature =
        message.signature.as_slice().try_into().map_err(|_| EnvelopeError::SignatureLength)?;
    Ok(Envelope {
        content_type: content_type.to_owned(),
        kid,
        algorithm,
        to_be_signed: sig_structure(&message.protected, signed),
        signature,
        payload,
    })
}

fn protected(algorithm: Algorithm, content_type: &str, kid: &KeyId) -> ProtectedHeader {
    let algorithm = match algorithm {
        Algorithm::EdDsa => iana::Algorithm::EdDSA,
        Algorithm::Ed25519 => iana::Algorithm::Ed25519,
    };
    ProtectedHeader {
        original_data: None,
        header: Header {
            alg: Some(coset::Algorithm::Assigned(algorithm)),
            content_type: Some(coset::ContentType::Text(content_type.to_owned())),
            key_id: kid.0.to_vec(),
            ..Header::default()
        },
    }
}

/// `["Signature1", protected, h'', payload]`, RFC 9052 section 4.4.
fn sig_structure(protected: &ProtectedHeader, payload: &[u8]) -> Vec<u8> {
    let context = coset::SignatureContext::CoseSign1;
    coset::sig_structure_data(context, protected.clone(), None, &[], payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    fn signer() -> Ed25519Signer {
        Ed25519Signer::from_seed(&[7; 32]).unwrap()
    }

    /// cose-wg/Examples `eddsa-examples/eddsa-sig-01.json` (public domain): key pair, message.
    const WG_SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const WG_PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const WG_MESSAGE: &str = "d28445a201270300a10442313154546869732069732074686520636f6e74656e742e\
                              58407142fd2ff96d56db85bee905a76ba1d0b7321a95c8c4d3607c5781932b7afb87\
                              11497dfa751bf40b58b3bcc32300b1487f3db34085eef013bf08f4a44d6fef0d";

    #[test]
    fn the_working_groups_example_verifies_and_is_reproduced() {
        let bytes = hex(WG_MESSAGE);
        let message = CoseSign1::from_tagged_slice(&bytes).unwrap();
        let payload = message.payload.clone().unwrap();
        assert_eq!(payload, b"This is the content.");
        let signed = sig_structure(&message.protected, &payload);
        let public: PublicKey = hex(WG_PUBLIC).try_into().unwrap();
        UnparsedPublicKey::new(&ED25519, &public).verify(&signed, &message.signature).unwrap();

        let signer = Ed25519Signer::from_seed(&hex(WG_SEED).try_into().unwrap()).unwrap();
        assert_eq!(signer.public_key(), public);
        assert_eq!(signer.sign(&signed).unwrap().to_vec(), message.signature);
        assert_eq!(message.to_tagged_vec().unwrap(), bytes);
    }

    #[test]
    fn the_working_groups_example_is_outside_our_profile() {
        assert_eq!(open(&hex(WG_MESSAGE)), Err(EnvelopeError::Unprotected));
    }

    #[test]
    fn what_is_sealed_opens_and_verifies() {
        let signer = signer();
        let bytes = seal(MessageType::Result, b"payload", &signer).unwrap();
        assert_eq!(&bytes[..3], [0xd2, 0x84, 0x58], "tag 18, array of four, byte string");
        let envelope = open(&bytes).unwrap();
        assert_eq!(envelope.content_type, MessageType::Result.content_type());
        assert_eq!(envelope.kid, key_id(&signer.public_key()));
        assert_eq!(envelope.payload, b"payload");
        assert!(envelope.is_signed_by(&signer.public_key()));
        assert!(!envelope.is_signed_by(&[0; 32]));
    }

    #[test]
    fn minus_19_is_accepted() {
        let signer = signer();
        let mut message = unsigned(MessageType::Ack, &signer, Some(b"x".to_vec()));
        let kid = key_id(&signer.public_key());
        message.protected = protected(Algorithm::Ed25519, MessageType::Ack.content_type(), &kid);
        let envelope = open(&finish(message, b"x", &signer).unwrap()).unwrap();
        assert_eq!(envelope.algorithm, Algorithm::Ed25519);
        assert!(envelope.is_signed_by(&signer.public_key()));
    }

    #[test]
    fn a_detached_signature_holds_for_its_bytes_only() {
        let signer = signer();
        let cose = seal_detached(MessageType::Manifest, b"name = 1", &signer).unwrap();
        let holds =
            |payload| open_detached(&cose, payload).unwrap().is_signed_by(&signer.public_key());
        assert!(holds(b"name = 1"));
        assert!(!holds(b"name = 2"));
        assert_eq!(open(&cose), Err(EnvelopeError::Payload));
        let attached = seal(MessageType::Manifest, b"name = 1", &signer).unwrap();
        assert_eq!(open_detached(&attached, b"name = 1"), Err(EnvelopeError::Payload));
    }

    #[test]
    fn the_size_limit_holds_on_both_sides() {
        let signer = signer();
        let overhead = seal(MessageType::Result, &[0; 1024], &signer).unwrap().len() - 1024;
        let fits = vec![0; MAX_MESSAGE - overhead];
        assert_eq!(seal(MessageType::Result, &fits, &signer).unwrap().len(), MAX_MESSAGE);
        let one_more = vec![0; MAX_MESSAGE - overhead + 1];
        assert_eq!(
            seal(MessageType::Result, &one_more, &signer),
            Err(SealError::TooLarge { found: MAX_MESSAGE + 1 })
        );
    }

    #[test]
    fn keys_are_read_from_both_versions_of_pkcs8() {
        let document = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let ours = Ed25519Signer::from_pkcs8(document.as_ref()).unwrap();
        let seed = &document.as_ref()[16..48];
        let openssl = [&hex("302e020100300506032b657004220420")[..], seed].concat();
        assert_eq!(Ed25519Signer::from_pkcs8(&openssl).unwrap().public_key(), ours.public_key());
        assert!(Ed25519Signer::from_pkcs8(b"not a key").is_err());
    }
}
