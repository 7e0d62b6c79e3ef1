//! One object on its way in: spooled as it comes, and known by its study as soon as its first bytes
//! say so. An object that cannot be taken is read to its end all the same, because its sender hears
//! so in the answer only.

use std::io;

use super::dimse::{Command, Status};
use super::names::{file_name, study_key};
use super::negotiation::Context;
use super::part10::Meta;
use super::server::Shared;
use super::staging::Spool;
use crate::analysis::decode::dicom::transfer::identify;
use crate::config::AeTitle;
use crate::host::errors::one_line;
use crate::study::reception::{AssociationId, StudyKey};

/// Most bytes of an object that are kept to find its study in.
pub const MAX_BEGINNING: usize = 1 << 20;

/// Bytes of the beginning at which the study is looked for first; then at each doubling.
const FIRST_LOOK: usize = 4 * 1024;

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Stored,
    /// It is missing in its study, which is not whole without it.
    Refused(Status),
    /// It is refused, and which study lacks it is not known.
    OfNoStudy(Status),
}

/// Whose object it is.
pub struct Origin<'a> {
    /// The sender.
    pub sender: &'a AeTitle,
    /// The association it comes in.
    pub association: AssociationId,
}

/// An object, from its command to its last byte.
pub struct Object {
    instance: String,
    context: Context,
    name: String,
    /// Where it goes, or why it does not.
    spool: Result<Spool, Status>,
    /// Bytes of its file so far.
    length: u64,
    beginning: Vec<u8>,
    next_look: usize,
    study: Option<StudyKey>,
}

impl Object {
    /// An object begins; whether it can be taken is in its last answer.
    pub fn begin(shared: &Shared, command: &Command, context: &Context) -> Self {
        let instance = command.instance.clone().unwrap_or_default();
        let meta = Meta { class: &context.class, instance: &instance, syntax: context.syntax };
        let length = meta.to_bytes().len() as u64;
        let spool = if instance.is_empty() {
            Err(Status::CannotUnderstand)
        } else if command.class.as_ref() != Some(&context.class) {
            Err(Status::ClassNotSupported)
        } else {
            spool(shared, meta)
        };
        Self {
            name: file_name(&instance),
            instance,
            context: context.clone(),
            spool,
            length,
            beginning: Vec::new(),
            next_look: FIRST_LOOK,
            study: None,
        }
    }

    /// Bytes of its file so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Takes a fragment of the data set.
    pub fn take(&mut self, shared: &Shared, origin: &Origin<'_>, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.length > shared.limits.max_image.0 {
            self.refuse(Status::OutOfResources, "an object is larger than limits.max_image_mib");
        }
        if let Ok(spool) = &mut self.spool
            && let Err(error) = spool.write(bytes)
        {
            self.spool = Err(failed(shared, "an object cannot be written", error));
        }
        if self.study.is_none() && self.beginning.len() < MAX_BEGINNING {
            let room = MAX_BEGINNING - self.beginning.len();
            self.beginning.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if self.beginning.len() >= self.next_look {
                self.next_look = self.beginning.len().saturating_mul(2).min(MAX_BEGINNING);
                self.look(shared, origin);
            }
        }
    }

    /// The object is whole: makes it durable in its study's folder.
    pub fn end(mut self, shared: &Shared, origin: &Origin<'_>) -> Outcome {
        if self.study.is_none() {
            self.look(shared, origin);
        }
        match (self.study, self.spool) {
            (Some(study), Ok(mut spool)) => {
                match shared.store(origin.association, study, &self.name, &mut spool) {
                    Ok(()) => Outcome::Stored,
                    Err(status) => Outcome::Refused(status),
                }
            }
            (Some(_), Err(status)) => Outcome::Refused(status),
            (None, Err(status)) => Outcome::OfNoStudy(status),
            (None, Ok(_)) => Outcome::OfNoStudy(Status::CannotUnderstand),
        }
    }

    /// Looks for the study in what is there.
    fn look(&mut self, shared: &Shared, origin: &Origin<'_>) {
        let Ok(identity) = identify(&self.beginning, self.context.syntax) else { return };
        self.beginning = Vec::new();
        let study = study_key(origin.sender, &identity.study);
        self.study = Some(study);
        if let Err(refused) = shared.begin(origin.association, study, &self.name) {
            self.refuse(Status::OutOfResources, &refused.to_string());
        } else if identity.instance != self.instance || identity.class != self.context.class {
            self.refuse(Status::DoesNotMatch, "a data set is another object than its command says");
        }
    }

    /// The first reason counts.
    fn refuse(&mut self, status: Status, why: &str) {
        if self.spool.is_ok() {
            log::warn!("an object is refused: {why}");
            self.spool = Err(status);
        }
    }
}

fn spool(shared: &Shared, meta: Meta<'_>) -> Result<Spool, Status> {
    let least = shared.limits.min_free;
    match shared.shelf.free() {
        Ok(free) if free.0 >= least.0 => {}
        Ok(free) => {
            log::warn!("an object is refused: {free} free, limits.min_free_mib is {least}");
            return Err(Status::OutOfResources);
        }
        Err(error) => return Err(failed(shared, "the free space is not known", error)),
    }
    let begun = shared.shelf.spool().and_then(|mut spool| {
        spool.write(&meta.to_bytes())?;
        Ok(spool)
    });
    begun.map_err(|error| failed(shared, "an object cannot be written", error))
}

/// The status for what the disk refused.
pub fn failed(shared: &Shared, what: &str, error: io::Error) -> Status {
    log::error!("{what}: {}", one_line(&error));
    shared.fail(error);
    Status::OutOfResources
}
