//! Certificates and private keys from PEM files, for both ends of TLS. What a file may hold is bounded;
//! whether its content is valid is for rustls to say.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// Most certificates read from one file.
pub const MAX_CERTIFICATES: usize = 64;

/// Why no TLS connection can be made from these files.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file is missing, unreadable or no PEM.
    #[error("cannot read the {what} from {path}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file holds none, or too many, of what is needed.
    #[error("{path} holds {found} certificates, expected 1 to {MAX_CERTIFICATES}")]
    Count {
        /// Where.
        path: PathBuf,
        /// How many were found.
        found: usize,
    },
    /// The files do not fit together.
    #[error("the certificates in {path} cannot be used")]
    Unusable {
        /// Where.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl TlsError {
    /// Blames what rustls says on a file.
    pub fn unusable(path: &Path) -> impl Fn(rustls::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unusable { path: path.clone(), source }
    }
}

/// The authorities in a PEM file.
pub fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("authority certificate", path)? {
        roots.add(certificate).map_err(TlsError::unusable(path))?;
    }
    Ok(roots)
}

/// The first private key in a PEM file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::Pem {
        what: "private key",
        path: path.to_owned(),
        source,
    })
}

/// The certificates in a PEM file, in file order.
pub fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Pem { what, path: path.to_owned(), source };
    let found = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .take(MAX_CERTIFICATES + 1)
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    if found.is_empty() || found.len() > MAX_CERTIFICATES {
        return Err(TlsError::Count { path: path.to_owned(), found: found.len() });
    }
    Ok(found)
}
