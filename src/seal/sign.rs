//! The signer: a message is checked by the verifier's own rules, encoded and sealed. What leaves
//! here verifies everywhere.

use thiserror::Error;

use super::cbor::{self, CborError};
use super::cose::{self, SealError, Signer};
use super::verify::Signed;
use super::wire::MAX_MESSAGE;
use super::wire::consistency::Inconsistent;

/// Why a message was not signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignError {
    /// It breaks a rule that every verifier checks.
    #[error("the message contradicts itself")]
    Inconsistent(#[from] Inconsistent),
    /// It cannot be encoded, or is too large.
    #[error("the message cannot be encoded")]
    Cbor(#[from] CborError),
    /// The key did not sign, or the envelope is too large.
    #[error("the message cannot be sealed")]
    Seal(#[from] SealError),
}

/// Checks, encodes and signs: the bytes of a COSE_Sign1 of at most [`MAX_MESSAGE`] bytes.
pub fn sign<T: Signed>(message: &T, signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
    message.check()?;
    let payload = cbor::encode(message, MAX_MESSAGE)?;
    Ok(cose::seal(T::KIND, &payload, signer)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::cose::Ed25519Signer;
    use crate::seal::trust::{TrustStore, TrustedKey};
    use crate::seal::verify::verify;
    use crate::seal::wire::{ResendMessage, ResultMessage, samples};

    #[test]
    fn what_is_signed_verifies() {
        let signer = Ed25519Signer::from_seed(&[7; 32]).unwrap();
        let message: ResultMessage = samples::scored();
        let mut trust = TrustStore::default();
        let (site, device) = (message.site.clone(), message.device.clone());
        trust.add(TrustedKey::of_device(site, device, signer.public_key())).unwrap();
        let cose = sign(&message, &signer).unwrap();
        assert_eq!(verify::<ResultMessage>(&cose, &trust, None).unwrap().message, message);
    }

    #[test]
    fn a_contradiction_is_not_signed() {
        let signer = Ed25519Signer::from_seed(&[7; 32]).unwrap();
        let empty = ResendMessage { from: 2, to: 1, ..samples::resend() };
        assert!(matches!(sign(&empty, &signer), Err(SignError::Inconsistent(_))));
    }
}
