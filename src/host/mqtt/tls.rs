//! TLS towards the broker: rustls with the ring provider, certificates read anew for every
//! connection, so that a renewed one is used without a restart.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;

use crate::config::TlsFiles;
use crate::host::certificates::{TlsError, authorities, certificates, private_key};

/// Builds the client side of TLS 1.2 and 1.3.
pub fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::unusable(&files.ca))?
        .with_root_certificates(authorities(&files.ca)?);
    let config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates("device certificate", &identity.certificate)?;
            let key = private_key(&identity.key)?;
            let unusable = TlsError::unusable(&identity.certificate);
            builder.with_client_auth_cert(chain, key).map_err(unusable)?
        }
    };
    Ok(Arc::new(config))
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
