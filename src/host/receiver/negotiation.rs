//! Who may associate, and in which encodings objects may come (PS3.8 section 7.1). Pure: a request
//! in, an answer out.

use std::collections::{BTreeMap, BTreeSet};

use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceProviderASCEReason,
    AssociationRJServiceProviderPresentationReason, AssociationRJServiceUserReason,
    AssociationRJSource, AssociationRQ, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason, UserVariableItem,
};

use super::wire::MAX_PDU;
use crate::analysis::decode::dicom::transfer::accepted_syntaxes;
use crate::config::{AeTitle, Receive};
use crate::dicom::{IMPLEMENTATION_NAME, IMPLEMENTATION_UID};

/// The DICOM application context (PS3.7 annex A.2.1).
const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";

/// Verification SOP Class.
pub const VERIFICATION: &str = "1.2.840.10008.1.1";

/// Root of the storage SOP classes (PS3.4 annex B.5).
const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";

/// Named where a context is refused; not significant then (PS3.8 table 9-18).
const DEFAULT_SYNTAX: &str = "1.2.840.10008.1.2";

/// What was agreed on for one presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// SOP class of its objects.
    pub class: String,
    /// Transfer syntax of their data sets.
    pub syntax: &'static str,
}

/// Accepted presentation contexts by their id.
pub type Contexts = BTreeMap<u8, Context>;

/// An association that may begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// Who sends.
    pub sender: AeTitle,
    /// What may be sent.
    pub contexts: Contexts,
    /// To be sent.
    pub reply: AssociationAC,
}

/// Answers a request; `congested` when there is no room for a further association.
pub fn answer(
    request: AssociationRQ,
    terms: &Receive,
    congested: bool,
) -> Result<Agreement, AssociationRJ> {
    if request.protocol_version & 1 == 0 {
        let reason = AssociationRJServiceProviderASCEReason::ProtocolVersionNotSupported;
        return Err(permanently(AssociationRJSource::ServiceProviderASCE(reason)));
    }
    let refused = |reason| Err(permanently(AssociationRJSource::ServiceUser(reason)));
    if request.application_context_name.trim_end_matches(['\0', ' ']) != APPLICATION_CONTEXT {
        return refused(AssociationRJServiceUserReason::ApplicationContextNameNotSupported);
    }
    if request.called_ae_title != terms.ae_title.as_str() {
        return refused(AssociationRJServiceUserReason::CalledAETitleNotRecognized);
    }
    let known = terms.calling_ae.iter().find(|title| title.as_str() == request.calling_ae_title);
    let Some(sender) = known else {
        return refused(AssociationRJServiceUserReason::CallingAETitleNotRecognized);
    };
    if congested {
        let reason = AssociationRJServiceProviderPresentationReason::TemporaryCongestion;
        let source = AssociationRJSource::ServiceProviderPresentation(reason);
        return Err(AssociationRJ { result: AssociationRJResult::Transient, source });
    }
    let (contexts, results) = choose(request.presentation_contexts);
    let reply = AssociationAC {
        protocol_version: 1,
        calling_ae_title: sender.to_string(),
        called_ae_title: terms.ae_title.to_string(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: results,
        user_variables: vec![
            UserVariableItem::MaxLength(MAX_PDU),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_UID.to_owned()),
            UserVariableItem::ImplementationVersionName(IMPLEMENTATION_NAME.to_owned()),
        ],
    };
    Ok(Agreement { sender: sender.clone(), contexts, reply })
}

fn permanently(source: AssociationRJSource) -> AssociationRJ {
    AssociationRJ { result: AssociationRJResult::Permanent, source }
}

/// An answer to every proposed context, and those that are accepted.
fn choose(
    proposed: Vec<PresentationContextProposed>,
) -> (Contexts, Vec<PresentationContextResult>) {
    let accepted = accepted_syntaxes();
    let mut contexts = Contexts::new();
    let mut seen = BTreeSet::new();
    let mut results = Vec::new();
    for proposal in proposed {
        let id = proposal.id;
        let class = trimmed(&proposal.abstract_syntax);
        let offers = |uid: &&&str| proposal.transfer_syntaxes.iter().any(|o| trimmed(o) == **uid);
        let (reason, syntax) = if id % 2 == 0 || !seen.insert(id) {
            // PS3.8 table 9-13: odd, and each its own.
            (PresentationContextResultReason::NoReason, DEFAULT_SYNTAX)
        } else if class != VERIFICATION && !class.starts_with(STORAGE) {
            (PresentationContextResultReason::AbstractSyntaxNotSupported, DEFAULT_SYNTAX)
        } else if let Some(syntax) = accepted.iter().find(offers) {
            contexts.insert(id, Context { class: class.to_owned(), syntax });
            (PresentationContextResultReason::Acceptance, *syntax)
        } else {
            (PresentationContextResultReason::TransferSyntaxesNotSupported, DEFAULT_SYNTAX)
        };
        results.push(PresentationContextResult { id, reason, transfer_syntax: syntax.to_owned() });
    }
    (contexts, results)
}

fn trimmed(uid: &str) -> &str {
    uid.trim_end_matches(['\0', ' '])
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::units::Millis;

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
    const IMPLICIT: &str = "1.2.840.10008.1.2";
    const EXPLICIT: &str = "1.2.840.10008.1.2.1";
    const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
    const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";

    fn terms() -> Receive {
        Receive {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ae_title: AeTitle::new("HCCEDGE").unwrap(),
            calling_ae: ["CT1", "CT2"].map(|title| AeTitle::new(title).unwrap()).to_vec(),
            quiet: Millis(10_000),
            idle: Millis(10_000),
            associations: 2,
            tls: None,
        }
    }

    fn request(contexts: &[(u8, &str, &[&str])]) -> AssociationRQ {
        let proposed = |(id, class, syntaxes): &(u8, &str, &[&str])| PresentationContextProposed {
            id: *id,
            abstract_syntax: (*class).to_owned(),
            transfer_syntaxes: syntaxes.iter().map(|uid| (*uid).to_owned()).collect(),
        };
        AssociationRQ {
            protocol_version: 1,
            calling_ae_title: "CT2".to_owned(),
            called_ae_title: "HCCEDGE".to_owned(),
            application_context_name: APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: contexts.iter().map(proposed).collect(),
            user_variables: Vec::new(),
        }
    }

    fn rejected(change: impl Fn(&mut AssociationRQ), congested: bool) -> AssociationRJ {
        let mut request = request(&[(1, CT, &[EXPLICIT])]);
        change(&mut request);
        answer(request, &terms(), congested).unwrap_err()
    }

    #[test]
    fn each_reason_to_refuse_has_its_code() {
        use AssociationRJServiceUserReason as Reason;
        let user = |reason| permanently(AssociationRJSource::ServiceUser(reason));
        let called = rejected(|request| request.called_ae_title = "OTHER".into(), false);
        assert_eq!(called, user(Reason::CalledAETitleNotRecognized));
        for title in ["CT3", "ct2", ""] {
            let calling = rejected(|request| request.calling_ae_title = title.into(), true);
            assert_eq!(calling, user(Reason::CallingAETitleNotRecognized), "{title}");
        }
        let context = rejected(|request| request.application_context_name = "1.2".into(), false);
        assert_eq!(context, user(Reason::ApplicationContextNameNotSupported));
        let version = rejected(|request| request.protocol_version = 2, false);
        assert!(matches!(version.source, AssociationRJSource::ServiceProviderASCE(_)));
        let congested = rejected(|_| (), true);
        assert_eq!(congested.result, AssociationRJResult::Transient, "it may try again");
    }

    #[test]
    fn the_plainest_lossless_encoding_is_chosen_whatever_the_order_of_the_offer() {
        let offers: [(&[&str], Option<&str>); 5] = [
            (&[JPEG_BASELINE, JPEG_LOSSLESS, IMPLICIT, EXPLICIT], Some(EXPLICIT)),
            (&[JPEG_LOSSLESS, IMPLICIT], Some(IMPLICIT)),
            (&[JPEG_BASELINE, JPEG_LOSSLESS], Some(JPEG_LOSSLESS)),
            (&[JPEG_BASELINE], None),
            (&[], None),
        ];
        for (offered, expected) in offers {
            let agreement = answer(request(&[(3, CT, offered)]), &terms(), false).unwrap();
            assert_eq!(agreement.contexts.get(&3).map(|context| context.syntax), expected);
            let reason = &agreement.reply.presentation_contexts[0].reason;
            assert_eq!(*reason == PresentationContextResultReason::Acceptance, expected.is_some());
        }
    }

    #[test]
    fn only_storage_and_verification_are_accepted_and_every_context_is_answered() {
        let commitment = "1.2.840.10008.1.20.1";
        let find = "1.2.840.10008.5.1.4.1.2.2.1";
        let report = "1.2.840.10008.5.1.4.1.1.88.67";
        let padded = "1.2.840.10008.5.1.4.1.1.2\0";
        let proposed = [
            (1, CT, &[EXPLICIT][..]),
            (3, commitment, &[EXPLICIT]),
            (5, find, &[EXPLICIT]),
            (7, report, &[EXPLICIT]),
            (9, VERIFICATION, &[IMPLICIT]),
            (10, CT, &[EXPLICIT]),
            (7, CT, &[EXPLICIT]),
            (11, padded, &[EXPLICIT]),
        ];
        let agreement = answer(request(&proposed), &terms(), false).unwrap();
        assert_eq!(agreement.contexts.keys().copied().collect::<Vec<_>>(), [1, 7, 9, 11]);
        assert_eq!(agreement.contexts[&7].class, report, "a repeated id changes nothing");
        assert_eq!(agreement.contexts[&11].class, CT);
        let answered: Vec<u8> =
            agreement.reply.presentation_contexts.iter().map(|result| result.id).collect();
        assert_eq!(answered, [1, 3, 5, 7, 9, 10, 7, 11]);
        assert_eq!(agreement.sender.as_str(), "CT2");
    }
}
