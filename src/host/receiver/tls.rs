//! The receiver's side of TLS 1.2 and 1.3: rustls with the ring provider, certificates read anew for
//! every connection, so that a renewed one is used without a restart.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use thiserror::Error;

use crate::config::ReceiveTls;
use crate::host::certificates::{TlsError, authorities, certificates, private_key};

/// Why TLS cannot be spoken with these files.
#[derive(Debug, Error)]
pub enum ServerTlsError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] TlsError),
    /// No sender could be verified.
    #[error("no sender can be verified with receive.tls_client_ca")]
    Senders(#[from] VerifierBuilderError),
}

/// Builds the server side.
pub fn server_config(files: &ReceiveTls) -> Result<Arc<ServerConfig>, ServerTlsError> {
    let provider = Arc::new(ring::default_provider());
    let identity = &files.identity;
    let unusable = TlsError::unusable(&identity.certificate);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(&unusable)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates("receiver's certificate", &identity.certificate)?;
    let key = private_key(&identity.key)?;
    Ok(Arc::new(builder.with_single_cert(chain, key).map_err(&unusable)?))
}
