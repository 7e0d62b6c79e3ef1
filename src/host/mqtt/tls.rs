//! TLS towards the broker: rustls with the ring provider, certificates read anew for every
//! connection, so that a renewed one is used without a restart.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use crate::config::TlsFiles;

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

/// Builds the client side of TLS 1.2 and 1.3.
pub fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let unusable = |path: &PathBuf| {
        let path = path.clone();
        move |source| TlsError::Unusable { path, source }
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("authority certificate", &files.ca)? {
        roots.add(certificate).map_err(unusable(&files.ca))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable(&files.ca))?
        .with_root_certificates(roots);
    let config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates("device certificate", &identity.certificate)?;
            let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|source| {
                TlsError::Pem { what: "private key", path: identity.key.clone(), source }
            })?;
            builder.with_client_auth_cert(chain, key).map_err(unusable(&identity.certificate))?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(
    what: &'static str,
    path: &PathBuf,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Pem { what, path: path.clone(), source };
    let found = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .take(MAX_CERTIFICATES + 1)
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    if found.is_empty() || found.len() > MAX_CERTIFICATES {
        return Err(TlsError::Count { path: path.clone(), found: found.len() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_empty_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let files = TlsFiles { ca: ca.clone(), identity: None };
        assert!(client_config(&files).unwrap_err().to_string().contains("ca.pem"));
        std::fs::write(&ca, "no certificate in here\n").unwrap();
        assert!(matches!(client_config(&files), Err(TlsError::Count { found: 0, .. })));
        std::fs::write(
            &ca,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".repeat(65),
        )
        .unwrap();
        assert!(matches!(client_config(&files), Err(TlsError::Count { found: 65, .. })));
        std::fs::write(&ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        assert!(matches!(client_config(&files), Err(TlsError::Unusable { .. })));
    }
}
