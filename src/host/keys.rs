//! Keys on disk: a device's `<state>/keys/device.pk8` (PKCS#8, mode 0600) and
//! `<state>/keys/trust.toml`, and a consumer's key file wherever it likes. Reads, makes and shows
//! keys; never prints or copies a private one.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::Ed25519KeyPair;
use thiserror::Error;

use super::files;
use crate::seal::cose::{Ed25519Signer, PublicKey, SealError, Signer};
use crate::seal::trust::{MAX_TRUST_BYTES, TrustError, TrustStore, TrustedKey};
use crate::seal::wire::Slug;

/// Name of the key file in the keys folder.
pub const DEVICE_KEY: &str = "device.pk8";
/// Name of the trust store in the keys folder.
pub const TRUST_STORE: &str = "trust.toml";
/// Name of the site's key for pseudonyms in the keys folder.
pub const SITE_KEY: &str = "site.key";
/// The largest private key file that is read, in bytes; ours have 83.
const MAX_KEY_BYTES: u64 = 4_096;

/// What went wrong with a key file or a trust store.
#[derive(Debug, Error)]
pub enum KeyError {
    /// There is no key yet.
    #[error("there is no key at {path}: make one with `hcc-edge keys init`", path = .0.display())]
    Missing(PathBuf),
    /// There is one already, and it is never overwritten.
    #[error("there is a key at {path} already: move it away first", path = .0.display())]
    Exists(PathBuf),
    /// Others can read or write it.
    #[error("{path} has mode {mode:04o}, expected 0600: run chmod 600 and consider the key known to others", path = .path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a plain file of a sensible size.
    #[error("{path} is not a plain file of at most {limit} bytes", path = .path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
        /// Bytes accepted.
        limit: u64,
    },
    /// Not a key.
    #[error("{path} is not a key that can be used", path = .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SealError,
    },
    /// Not a trust store.
    #[error("{path} is not a trust store that can be used", path = .path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TrustError,
    },
    /// The system's random numbers are not available.
    #[error("the system gave no random numbers to make a key from")]
    Random,
    /// The file system refused.
    #[error("cannot {doing} {path}", path = .path.display())]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the device's key and a trust store that holds its public half. Refuses to overwrite.
pub fn init(keys: &Path, site: &Slug, device: &Slug) -> Result<Ed25519Signer, KeyError> {
    let path = keys.join(DEVICE_KEY);
    refuse_existing(&path)?;
    files::create_private_folder(keys).map_err(|source| KeyError::Io {
        doing: "make folder",
        path: keys.to_owned(),
        source,
    })?;
    let document = generate()?;
    let signer = read_pkcs8(&path, &document)?;
    let entry = TrustedKey::of_device(site.clone(), device.clone(), signer.public_key());
    let mut trust = load_trust(&keys.join(TRUST_STORE))?.unwrap_or_default();
    let trust_path = keys.join(TRUST_STORE);
    trust.add(entry).map_err(|source| KeyError::Trust { path: trust_path.clone(), source })?;
    write(&path, &document, 0o600)?;
    write(&trust_path, trust.to_toml().as_bytes(), 0o644)?;
    Ok(signer)
}

/// Makes a consumer's key in a file of its own. Refuses to overwrite.
pub fn init_consumer(path: &Path) -> Result<Ed25519Signer, KeyError> {
    refuse_existing(path)?;
    let document = generate()?;
    let signer = read_pkcs8(path, &document)?;
    write(path, &document, 0o600)?;
    Ok(signer)
}

fn refuse_existing(path: &Path) -> Result<(), KeyError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(KeyError::Exists(path.to_owned())),
        Err(_) => Ok(()),
    }
}

/// Reads the device's key.
pub fn load(keys: &Path) -> Result<Ed25519Signer, KeyError> {
    load_signer(&keys.join(DEVICE_KEY))
}

/// Reads a private key file; refuses one that others can reach.
pub fn load_signer(path: &Path) -> Result<Ed25519Signer, KeyError> {
    let (bytes, mode) =
        read_limited(path, MAX_KEY_BYTES)?.ok_or(KeyError::Missing(path.to_owned()))?;
    owner_only(path, mode)?;
    read_pkcs8(path, &bytes)
}

fn owner_only(path: &Path, mode: u32) -> Result<(), KeyError> {
    let mode = mode & 0o777;
    if mode & 0o177 != 0 {
        return Err(KeyError::Mode { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Reads a private key that is no secret: the demonstration signing key of the repository.
pub fn load_public_signer(path: &Path) -> Result<Ed25519Signer, KeyError> {
    let bytes = read_limited(path, MAX_KEY_BYTES)?.ok_or(KeyError::Missing(path.to_owned()))?;
    read_pkcs8(path, &bytes.0)
}

/// Reads a trust store; `None` when there is no such file.
pub fn load_trust(path: &Path) -> Result<Option<TrustStore>, KeyError> {
    let Some((bytes, _)) = read_limited(path, MAX_TRUST_BYTES as u64)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    TrustStore::parse(&text)
        .map(Some)
        .map_err(|source| KeyError::Trust { path: path.to_owned(), source })
}

/// The entry other machines put into their trust store.
pub fn export(keys: &Path, site: &Slug, device: &Slug) -> Result<String, KeyError> {
    let public: PublicKey = load(keys)?.public_key();
    Ok(TrustedKey::of_device(site.clone(), device.clone(), public).to_toml())
}

/// A new PKCS#8 document.
pub fn generate() -> Result<Vec<u8>, KeyError> {
    let document =
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
    Ok(document.as_ref().to_vec())
}

/// The site's key for pseudonyms, `<keys>/site.key`, 32 bytes, mode 0600: copied to every device of a
/// site that shares pseudonyms, made at random where there is none.
pub fn site_key(keys: &Path) -> Result<[u8; 32], KeyError> {
    let path = keys.join(SITE_KEY);
    if let Some((bytes, mode)) = read_limited(&path, MAX_KEY_BYTES)? {
        owner_only(&path, mode)?;
        return bytes.try_into().map_err(|_| KeyError::NotAFile { path, limit: 32 });
    }
    let mut key = [0; 32];
    random(&mut key)?;
    write(&path, &key, 0o600)?;
    Ok(key)
}

/// Fills `bytes` from the system's random numbers: epochs, job ids.
pub fn random(bytes: &mut [u8]) -> Result<(), KeyError> {
    SystemRandom::new().fill(bytes).map_err(|_| KeyError::Random)
}

/// A random number to spread attempts with; without entropy the largest. It need not be secret.
pub fn jitter() -> u32 {
    let mut bytes = [0; 4];
    random(&mut bytes).map_or(u32::MAX, |()| u32::from_le_bytes(bytes))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    files::write_durably(path, bytes, mode).map_err(|source| KeyError::Io {
        doing: "write",
        path: path.to_owned(),
        source,
    })
}

fn read_pkcs8(path: &Path, document: &[u8]) -> Result<Ed25519Signer, KeyError> {
    Ed25519Signer::from_pkcs8(document)
        .map_err(|source| KeyError::Key { path: path.to_owned(), source })
}

/// Content and mode of a plain file of at most `limit` bytes, not through a link.
fn read_limited(path: &Path, limit: u64) -> Result<Option<(Vec<u8>, u32)>, KeyError> {
    let io = |source| KeyError::Io { doing: "read", path: path.to_owned(), source };
    let opened =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() || metadata.len() > limit {
        return Err(KeyError::NotAFile { path: path.to_owned(), limit });
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(io)?;
    Ok(Some((bytes, metadata.mode())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names() -> (Slug, Slug) {
        (Slug::new("demo-site").unwrap(), Slug::new("box-1").unwrap())
    }

    #[test]
    fn a_key_is_made_once_and_trusts_itself() {
        let (site, device) = names();
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        assert!(matches!(load(&keys), Err(KeyError::Missing(_))));
        let made = init(&keys, &site, &device).unwrap();
        assert_eq!(load(&keys).unwrap().public_key(), made.public_key());
        assert!(matches!(init(&keys, &site, &device), Err(KeyError::Exists(_))));
        let trust = load_trust(&keys.join(TRUST_STORE)).unwrap().unwrap();
        let exported = TrustStore::parse(&export(&keys, &site, &device).unwrap()).unwrap();
        assert_eq!(trust, exported);
        let left: Vec<_> = fs::read_dir(&keys).unwrap().collect();
        assert_eq!(left.len(), 2, "no temporary file stays behind");
    }

    #[test]
    fn a_consumers_key_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consumer.pk8");
        assert!(matches!(load_signer(&path), Err(KeyError::Missing(_))));
        let made = init_consumer(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load_signer(&path).unwrap().public_key(), made.public_key());
        assert!(matches!(init_consumer(&path), Err(KeyError::Exists(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load_signer(&path), Err(KeyError::Mode { .. })));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (site, device) = names();
        let folder = tempfile::tempdir().unwrap();
        init(folder.path(), &site, &device).unwrap();
        let path = folder.path().join(DEVICE_KEY);
        let with_mode = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            load(folder.path())
        };
        for good in [0o600, 0o400] {
            assert!(with_mode(good).is_ok(), "{good:o}");
        }
        for bad in [0o640, 0o604, 0o620, 0o601, 0o700, 0o666] {
            assert!(matches!(with_mode(bad), Err(KeyError::Mode { .. })), "{bad:o}");
        }
    }

    #[test]
    fn the_site_key_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let made = site_key(folder.path()).unwrap();
        assert_eq!(site_key(folder.path()).unwrap(), made);
        let path = folder.path().join(SITE_KEY);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(site_key(folder.path()), Err(KeyError::Mode { .. })));
        fs::remove_file(&path).unwrap();
        assert_ne!(site_key(folder.path()).unwrap(), made);
    }

    #[test]
    fn links_and_large_files_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large");
        let fill = |bytes: u64| write(&large, &vec![0; bytes as usize], 0o600).unwrap();
        fill(MAX_KEY_BYTES);
        assert!(matches!(load_signer(&large), Err(KeyError::Key { .. })), "read, and no key");
        fill(MAX_KEY_BYTES + 1);
        assert!(matches!(load_signer(&large), Err(KeyError::NotAFile { .. })));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&large, &link).unwrap();
        assert!(matches!(load_signer(&link), Err(KeyError::Io { .. })));
    }
}
