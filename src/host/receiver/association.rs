//! One association from its first byte to its last: negotiation, then messages one after the other,
//! then what its end means for the studies it fed.

use std::net::SocketAddr;
use std::time::Duration;

use dicom_ul::pdu::{AbortRQServiceProviderReason, PDataValue, PDataValueType, Pdu};
use thiserror::Error;

use super::dimse::{Command, CommandError, MAX_COMMAND, Operation, Status};
use super::door::Waiting;
use super::negotiation::{Agreement, Context, VERIFICATION, answer};
use super::object::{Object, Origin, Outcome};
use super::server::{Seat, Shared};
use super::wire::{Wire, WireError};
use crate::host::errors::one_line;
use crate::study::reception::{AssociationId, Ending};

/// Time from the connection to a whole association request (PS3.8's ARTIM timer).
const REQUEST: Duration = Duration::from_secs(5);

/// The same when TLS is agreed on first.
const REQUEST_OVER_TLS: Duration = Duration::from_secs(10);

/// Why an association did not end by release.
#[derive(Debug, Error)]
enum Break {
    /// The peer said A-ABORT.
    #[error("aborted by the sender")]
    Aborted,
    /// The connection.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A PDU or fragment that may not come here.
    #[error("{0}")]
    Unexpected(&'static str),
    /// A command that is none.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Serves a connection to its end; it waits at the door until it has an association.
pub fn serve(shared: &Shared, wire: &mut Wire, peer: SocketAddr, waiting: Waiting) {
    let patience = if shared.terms.tls.is_some() { REQUEST_OVER_TLS } else { REQUEST };
    let request = match wire.receive(patience) {
        Ok(Pdu::AssociationRQ(request)) => request,
        Ok(_) => {
            log::warn!("{peer}: something else than an association request");
            return wire.abort_with(AbortRQServiceProviderReason::UnexpectedPdu);
        }
        // A port that is only looked at, as by a monitor.
        Err(WireError::Closed) => return log::debug!("{peer}: closed without a request"),
        Err(error) => {
            log::warn!("{peer}: no association: {}", one_line(&error));
            return wire.abort(&error);
        }
    };
    let seat = Seat::of_association(shared);
    let (calling, called) = (shown(&request.calling_ae_title), shown(&request.called_ae_title));
    match answer(request, &shared.terms, seat.is_none()) {
        Ok(agreement) => {
            drop(waiting);
            log::info!("{peer}: association of {calling}");
            let ended = associated(shared, wire, &agreement, &format!("{peer}, {calling}"));
            // Free before the peer hears that it is over, and may want the next one.
            drop(seat);
            end(wire, ended);
        }
        Err(rejection) => {
            drop(seat);
            log::warn!("{peer}: {calling} calls {called} and is refused: {}", rejection.source);
            if wire.send(&Pdu::AssociationRJ(rejection)).is_ok() {
                wire.close();
            }
        }
    }
}

/// A title that may be anything, for the log.
fn shown(title: &str) -> String {
    let printable = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    format!("{:?}", title.chars().take(16).map(printable).collect::<String>())
}

/// Exchanges messages until the association is over; what is left is to tell the peer.
fn associated(
    shared: &Shared,
    wire: &mut Wire,
    agreement: &Agreement,
    who: &str,
) -> Result<(), Break> {
    // Broken unless it is told otherwise, also if this thread panics.
    let mut feeding = Feeding { shared, id: shared.open(), ending: Ending::Broken };
    let mut messages = Messages {
        shared,
        id: feeding.id,
        agreement,
        under_way: UnderWay::Nothing,
        stored: 0,
        refused: 0,
    };
    let reply = Pdu::AssociationAC(agreement.reply.clone());
    let ended = wire.send(&reply).map_err(Break::Wire).and_then(|()| messages.exchange(wire));
    let objects = format!("{} objects stored, {} refused", messages.stored, messages.refused);
    if ended.is_ok() {
        feeding.ending = Ending::Released;
    }
    match &ended {
        Ok(()) => log::info!("{who}: released, {objects}"),
        Err(why) => log::warn!("{who}: {}, {objects}", one_line(why)),
    }
    ended
}

/// The last word to the peer.
fn end(wire: &mut Wire, ended: Result<(), Break>) {
    match ended {
        Ok(()) => {
            if wire.send(&Pdu::ReleaseRP).is_ok() {
                wire.close();
            }
        }
        Err(Break::Aborted) => {}
        Err(Break::Wire(error)) => wire.abort(&error),
        Err(Break::Unexpected(_)) => {
            wire.abort_with(AbortRQServiceProviderReason::UnexpectedPdu);
        }
        Err(Break::Command(_)) => {
            wire.abort_with(AbortRQServiceProviderReason::InvalidPduParameter);
        }
    }
}

/// Tells the studies how the association ended, whatever ended it.
struct Feeding<'a> {
    shared: &'a Shared,
    id: AssociationId,
    ending: Ending,
}

impl Drop for Feeding<'_> {
    fn drop(&mut self) {
        self.shared.end(self.id, self.ending);
    }
}

/// What has come of the message that is being received.
enum UnderWay {
    Nothing,
    /// Fragments of a command set.
    Command(u8, Vec<u8>),
    /// The data set of a C-STORE.
    Object(u8, Command, Box<Object>),
    /// A data set that is passed over: its bytes so far, and what will be answered.
    PassedOver(u8, Command, u64, Status),
}

struct Messages<'a> {
    shared: &'a Shared,
    id: AssociationId,
    agreement: &'a Agreement,
    under_way: UnderWay,
    stored: u64,
    refused: u64,
}

impl Messages<'_> {
    /// Until the sender releases the association.
    fn exchange(&mut self, wire: &mut Wire) -> Result<(), Break> {
        let idle = Duration::from_millis(self.shared.terms.idle.0);
        loop {
            match wire.receive(idle)? {
                Pdu::PData { data } => {
                    for value in data {
                        self.take(wire, value)?;
                    }
                }
                Pdu::ReleaseRQ if matches!(self.under_way, UnderWay::Nothing) => return Ok(()),
                Pdu::ReleaseRQ => return Err(Break::Unexpected("a release within a message")),
                Pdu::AbortRQ { .. } => return Err(Break::Aborted),
                Pdu::AssociationRQ(_)
                | Pdu::AssociationAC(_)
                | Pdu::AssociationRJ(_)
                | Pdu::ReleaseRP
                | Pdu::Unknown { .. } => {
                    return Err(Break::Unexpected("a PDU that belongs elsewhere"));
                }
            }
        }
    }

    /// Takes one fragment: a message is a command set, then perhaps a data set, each in one context
    /// and in any number of fragments (PS3.8 annex E).
    fn take(&mut self, wire: &mut Wire, value: PDataValue) -> Result<(), Break> {
        let id = value.presentation_context_id;
        let is_command = value.value_type == PDataValueType::Command;
        let under_way = std::mem::replace(&mut self.under_way, UnderWay::Nothing);
        match under_way {
            UnderWay::Nothing if is_command => self.command_fragment(wire, Vec::new(), value),
            UnderWay::Command(in_context, bytes) if is_command && in_context == id => {
                self.command_fragment(wire, bytes, value)
            }
            UnderWay::Object(in_context, command, object) if !is_command && in_context == id => {
                self.object_fragment(wire, (command, object), value)
            }
            UnderWay::PassedOver(in_context, command, passed, status)
                if !is_command && in_context == id =>
            {
                let passed = passed + value.data.len() as u64;
                self.bounded(passed)?;
                if value.is_last {
                    return self.answer(wire, id, &command, status);
                }
                self.under_way = UnderWay::PassedOver(id, command, passed, status);
                Ok(())
            }
            UnderWay::Nothing
            | UnderWay::Command(..)
            | UnderWay::Object(..)
            | UnderWay::PassedOver(..) => {
                Err(Break::Unexpected("a fragment of another message or context"))
            }
        }
    }

    fn command_fragment(
        &mut self,
        wire: &mut Wire,
        mut bytes: Vec<u8>,
        value: PDataValue,
    ) -> Result<(), Break> {
        bytes.extend(value.data);
        if bytes.len() > MAX_COMMAND {
            return Err(Break::Unexpected("a command set that is too long"));
        }
        let id = value.presentation_context_id;
        if value.is_last {
            return self.begin(wire, id, Command::parse(&bytes)?);
        }
        self.under_way = UnderWay::Command(id, bytes);
        Ok(())
    }

    fn object_fragment(
        &mut self,
        wire: &mut Wire,
        (command, mut object): (Command, Box<Object>),
        value: PDataValue,
    ) -> Result<(), Break> {
        let origin = Origin { sender: &self.agreement.sender, association: self.id };
        object.take(self.shared, &origin, &value.data);
        self.bounded(object.length())?;
        let id = value.presentation_context_id;
        if !value.is_last {
            self.under_way = UnderWay::Object(id, command, object);
            return Ok(());
        }
        let status = match object.end(self.shared, &origin) {
            Outcome::Stored => Status::Success,
            Outcome::Refused(status) => status,
            Outcome::OfNoStudy(status) => {
                self.shared.unattributed(self.id);
                status
            }
        };
        if status == Status::Success {
            self.stored += 1;
        } else {
            self.refused += 1;
        }
        self.answer(wire, id, &command, status)
    }

    /// A command is whole.
    fn begin(&mut self, wire: &mut Wire, id: u8, command: Command) -> Result<(), Break> {
        let Some(context) = self.agreement.contexts.get(&id) else {
            return Err(Break::Unexpected("a message in a context that was not accepted"));
        };
        let operation = command.operation();
        if operation == Operation::Store && context.class != VERIFICATION && command.has_data {
            let object = Box::new(Object::begin(self.shared, &command, context));
            self.under_way = UnderWay::Object(id, command, object);
            return Ok(());
        }
        let status = status_without_object(operation, context);
        if command.has_data {
            self.under_way = UnderWay::PassedOver(id, command, 0, status);
            return Ok(());
        }
        if operation == Operation::Cancel {
            return Ok(());
        }
        self.answer(wire, id, &command, status)
    }

    /// A data set that is read and not kept is bounded too.
    fn bounded(&self, length: u64) -> Result<(), Break> {
        if length > self.shared.limits.max_study.0 {
            return Err(Break::Unexpected("a data set larger than a whole study may be"));
        }
        Ok(())
    }

    fn answer(
        &mut self,
        wire: &mut Wire,
        id: u8,
        command: &Command,
        status: Status,
    ) -> Result<(), Break> {
        let value = PDataValue {
            presentation_context_id: id,
            value_type: PDataValueType::Command,
            is_last: true,
            data: command.response(status),
        };
        Ok(wire.send(&Pdu::PData { data: vec![value] })?)
    }
}

/// The answer to a message that brings no object.
fn status_without_object(operation: Operation, context: &Context) -> Status {
    match operation {
        Operation::Echo if context.class == VERIFICATION => Status::Success,
        Operation::Store if context.class != VERIFICATION => Status::CannotUnderstand,
        Operation::Echo | Operation::Store => Status::ClassNotSupported,
        Operation::Cancel | Operation::Other => Status::UnrecognisedOperation,
    }
}
