//! Digests that name things: the input of a study, the study, the result. Each is a SHA-256 over
//! the deterministic CBOR of an array that starts with a label, so that no two kinds can collide;
//! lists are sorted, so that the order of files or packages does not matter.

use serde::Serialize;

use super::cbor::{self, CborError};
use super::cose::sha256;
use super::wire::codes::InputRole;
use super::wire::{Digest, Id16, Slug};

/// Label of [`series_digest`].
pub const SERIES_LABEL: &str = "hcc-edge.series.v1";
/// Label of [`study_digest`].
pub const STUDY_LABEL: &str = "hcc-edge.study.v1";
/// Label of [`result_id`].
pub const RESULT_LABEL: &str = "hcc-edge.result.v1";

/// The most bytes hashed for one name: 100,000 file digests and some.
const MAX_NAMED: usize = 4 << 20;

/// Digest of the files of one role: of one file its SHA-256, so that any tool can check it; of
/// several (a DICOM series) the SHA-256 over `[label, [file digests, sorted]]`.
pub fn series_digest(files: &[Digest]) -> Result<Digest, CborError> {
    if let [only] = files {
        return Ok(*only);
    }
    named(&(SERIES_LABEL, sorted(files)))
}

/// Digest of a study: SHA-256 over `[label, [[role, series digest], sorted]]`. It covers the
/// bytes of the images and of `clinical.json`, and which is which; no name, no time.
pub fn study_digest(series: &[(InputRole, Digest)]) -> Result<Digest, CborError> {
    named(&(STUDY_LABEL, sorted(series)))
}

/// What makes two results the same result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultIdentity<'a> {
    /// The device.
    pub device: &'a Slug,
    /// See [`study_digest`].
    pub study_digest: Digest,
    /// Manifest digests of the packages in use, in any order.
    pub packages: &'a [Digest],
    /// Version of the analysis.
    pub analysis_version: u64,
    /// Digest of the analysis and clinical settings only.
    pub settings_digest: Digest,
}

/// The idempotency key: first 16 bytes of SHA-256 over `[label, device, study digest, [package
/// digests, sorted], analysis version, settings digest]`.
pub fn result_id(of: &ResultIdentity<'_>) -> Result<Id16, CborError> {
    let digest = named(&(
        RESULT_LABEL,
        of.device,
        of.study_digest,
        sorted(of.packages),
        of.analysis_version,
        of.settings_digest,
    ))?;
    let mut id = [0; 16];
    id.copy_from_slice(&digest.0[..16]);
    Ok(Id16::from(id))
}

fn named<T: Serialize>(value: &T) -> Result<Digest, CborError> {
    cbor::encode(value, MAX_NAMED).map(|bytes| sha256(&bytes))
}

fn sorted<T: Clone + Ord>(items: &[T]) -> Vec<T> {
    let mut items = items.to_vec();
    items.sort();
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::wire::atoms::Octets;

    fn identity(device: &Slug) -> ResultIdentity<'_> {
        ResultIdentity {
            device,
            study_digest: Octets([1; 32]),
            packages: &[],
            analysis_version: 1,
            settings_digest: Octets([2; 32]),
        }
    }

    #[test]
    fn order_does_not_matter_and_everything_else_does() {
        let device = Slug::new("box-1").unwrap();
        let (a, b) = (Octets([3; 32]), Octets([4; 32]));
        let base = ResultIdentity { packages: &[a, b], ..identity(&device) };
        let id = result_id(&base).unwrap();
        assert_eq!(result_id(&ResultIdentity { packages: &[b, a], ..base.clone() }), Ok(id));
        let other = Slug::new("box-2").unwrap();
        for changed in [
            ResultIdentity { device: &other, ..base.clone() },
            ResultIdentity { study_digest: a, ..base.clone() },
            ResultIdentity { packages: &[a], ..base.clone() },
            ResultIdentity { analysis_version: 2, ..base.clone() },
            ResultIdentity { settings_digest: a, ..base.clone() },
        ] {
            assert_ne!(result_id(&changed).unwrap(), id, "{changed:?}");
        }
    }

    #[test]
    fn a_study_knows_which_file_is_which() {
        let (a, b) = (Octets([3; 32]), Octets([4; 32]));
        let study = |series: &[_]| study_digest(series).unwrap();
        let straight = study(&[(InputRole::Portal, a), (InputRole::Arterial, b)]);
        assert_eq!(straight, study(&[(InputRole::Arterial, b), (InputRole::Portal, a)]));
        assert_ne!(straight, study(&[(InputRole::Portal, b), (InputRole::Arterial, a)]));
        assert_ne!(straight, study(&[(InputRole::Portal, a)]));
    }

    #[test]
    fn the_hashed_bytes_are_the_documented_ones() {
        let (a, b) = (Octets([3; 32]), Octets([4; 32]));
        assert_eq!(series_digest(&[a]), Ok(a));
        let mut by_hand = vec![0x82, 0x72];
        by_hand.extend(b"hcc-edge.series.v1");
        by_hand.push(0x82);
        by_hand.extend([0x58, 0x20]);
        by_hand.extend([3; 32]);
        by_hand.extend([0x58, 0x20]);
        by_hand.extend([4; 32]);
        assert_eq!(series_digest(&[b, a]), Ok(sha256(&by_hand)));
    }
}
