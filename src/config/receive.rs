//! The section `[receive]`: who may send studies over DICOM, and where to. Nobody may until somebody
//! is named.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::Problem;
use super::checked::{TlsIdentity, Typed};
use super::names::AeTitle;
use crate::units::Millis;

/// The DICOM receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receive {
    /// Where it listens; port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// The title it answers to.
    pub ae_title: AeTitle,
    /// Who may send; at least one.
    pub calling_ae: Vec<AeTitle>,
    /// Time without an association after which a study is closed.
    pub quiet: Millis,
    /// Time after which a silent association is aborted.
    pub idle: Millis,
    /// Most associations at once.
    pub associations: usize,
    /// Certificates, when TLS is spoken.
    pub tls: Option<ReceiveTls>,
}

/// The files of the server's side of TLS, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveTls {
    /// The receiver's own certificate and key.
    pub identity: TlsIdentity,
    /// Authorities that may have signed a sender's certificate, when one is demanded.
    pub client_ca: Option<PathBuf>,
}

/// The section; `None` when nobody may send or a value is absent.
pub(super) fn check(v: &Typed<'_>, problems: &mut Vec<Problem>) -> Option<Receive> {
    let tls = check_tls(v, problems);
    let calling = v.list("receive.calling_ae")?.iter();
    let calling_ae: Vec<_> = calling.filter_map(|title| AeTitle::new(title).ok()).collect();
    if calling_ae.is_empty() {
        return None;
    }
    let (quiet, deadline) = (v.seconds("receive.quiet_s")?, v.seconds("inbox.deadline_s")?);
    if quiet >= deadline {
        let message = "`receive.quiet_s` is not less than `inbox.deadline_s`: every received study \
                       would fail as incomplete before it is closed";
        problems.push(Problem::Conflict(message.to_owned()));
    }
    let address: IpAddr = v.text("receive.address")?.parse().ok()?;
    let port = u16::try_from(v.integer("receive.port")?).ok()?;
    Some(Receive {
        listen: SocketAddr::new(address, port),
        ae_title: AeTitle::new(v.text("receive.ae_title")?).ok()?,
        calling_ae,
        quiet,
        idle: v.seconds("receive.idle_s")?,
        associations: v.count("receive.associations")?,
        tls,
    })
}

fn check_tls(v: &Typed<'_>, problems: &mut Vec<Problem>) -> Option<ReceiveTls> {
    let mut conflict = |message: &str| problems.push(Problem::Conflict(message.to_owned()));
    let client_ca = v.path("receive.tls_client_ca");
    let (cert, key) = (v.path("receive.tls_certificate"), v.path("receive.tls_key"));
    if cert.is_some() != key.is_some() {
        conflict("`receive.tls_certificate` and `receive.tls_key` are set together or not at all");
    }
    if client_ca.is_some() && cert.is_none() {
        conflict("`receive.tls_client_ca` is set and `receive.tls_certificate` is not");
    }
    let identity = TlsIdentity::of(cert, key)?;
    Some(ReceiveTls { identity, client_ca })
}
