//! Senders of DICOM: dcmtk's programs, and one by hand that can stop wherever a test wants it to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRQ, PDataValue, PDataValueType, Pdu,
    PresentationContextProposed, UserVariableItem, read_pdu, write_pdu,
};

use crate::dicom_files::Ct;
use crate::edge::PATIENCE;
use crate::programs::have;

/// Whether dcmtk is there; announced when it is not.
pub fn dcmtk_is_there() -> bool {
    have("storescu", "dcmtk", "receiving from dcmtk")
}

/// A program of dcmtk towards this port, from one title to another.
pub fn dcmtk(program: &str, port: u16, (calling, called): (&str, &str)) -> Command {
    let mut command = Command::new(program);
    command.args(["-aet", calling, "-aec", called]).stdin(Stdio::null());
    command.args(["--timeout", "30", "--acse-timeout", "30", "--dimse-timeout", "60"]);
    command.args(["127.0.0.1", &port.to_string()]);
    command
}

/// Sends every file of a folder in one association.
pub fn storescu(port: u16, folder: &Path) -> Output {
    let mut command = dcmtk("storescu", port, ("CT1", "HCCEDGE"));
    command.arg("+sd").arg(folder).output().unwrap()
}

/// A connection that speaks DICOM by hand.
pub struct Sender {
    socket: TcpStream,
    message: u16,
}

/// The context of a [`Sender`].
const CONTEXT: u8 = 1;

impl Sender {
    /// A bare connection.
    pub fn connect(port: u16) -> Self {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, message: 0 }
    }

    /// A connection with an association of CT1 for CT images, explicit little-endian.
    pub fn associate(port: u16) -> Self {
        match Self::request(port, "CT1") {
            (sender, Ok(_)) => sender,
            (_, Err(rejection)) => panic!("{}", rejection.source),
        }
    }

    /// Asks for an association under this title.
    pub fn request(port: u16, calling: &str) -> (Self, Result<AssociationAC, AssociationRJ>) {
        let mut sender = Self::connect(port);
        let answer = match sender.ask(calling) {
            Some(Pdu::AssociationAC(accepted)) => Ok(accepted),
            Some(Pdu::AssociationRJ(rejected)) => Err(rejected),
            other => panic!("{other:?}"),
        };
        (sender, answer)
    }

    /// Asks for an association on this connection; `None` when it is closed instead.
    pub fn ask(&mut self, calling: &str) -> Option<Pdu> {
        let request = AssociationRQ {
            protocol_version: 1,
            calling_ae_title: calling.to_owned(),
            called_ae_title: "HCCEDGE".to_owned(),
            application_context_name: "1.2.840.10008.3.1.1.1".to_owned(),
            presentation_contexts: vec![PresentationContextProposed {
                id: CONTEXT,
                abstract_syntax: uids::CT_IMAGE_STORAGE.to_owned(),
                transfer_syntaxes: vec![uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned()],
            }],
            user_variables: vec![UserVariableItem::MaxLength(16_384)],
        };
        self.send(&Pdu::AssociationRQ(request));
        self.receive()
    }

    /// Sends no more, and reads until the peer has closed, too.
    pub fn finish(mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
        while matches!(self.socket.read(&mut [0; 1024]), Ok(1..)) {}
    }

    fn send(&mut self, pdu: &Pdu) {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).unwrap();
        self.raw(&bytes);
    }

    /// Sends bytes as they are; the peer may have closed already.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// The next PDU; `None` at the end.
    pub fn receive(&mut self) -> Option<Pdu> {
        let mut pdu = vec![0; 6];
        self.socket.read_exact(&mut pdu).ok()?;
        let length = u32::from_be_bytes(pdu[2..6].try_into().unwrap()) as usize;
        pdu.resize(6 + length, 0);
        self.socket.read_exact(&mut pdu[6..]).ok()?;
        read_pdu(&pdu[..], 1 << 20, true).unwrap()
    }

    /// Sends fragments, all in one PDU.
    fn fragments(&mut self, kind: &PDataValueType, fragments: &[&[u8]], last: bool) {
        let value = |(at, data): (usize, &&[u8])| PDataValue {
            presentation_context_id: CONTEXT,
            value_type: kind.clone(),
            is_last: last && at + 1 == fragments.len(),
            data: data.to_vec(),
        };
        let data = fragments.iter().enumerate().map(value).collect();
        self.send(&Pdu::PData { data });
    }

    /// Begins a C-STORE of an object that calls itself `instance`.
    pub fn begin_store(&mut self, instance: &str) {
        self.command(0x0001, uids::CT_IMAGE_STORAGE, Some(instance));
    }

    /// Sends a command set, with a data set to follow when an instance is named.
    pub fn command(&mut self, field: u16, class: &str, instance: Option<&str>) {
        self.message += 1;
        let data_set: u16 = if instance.is_some() { 1 } else { 0x0101 };
        let mut group = element(0x0002, &padded(class));
        group.extend(element(0x0100, &field.to_le_bytes()));
        group.extend(element(0x0110, &self.message.to_le_bytes()));
        group.extend(element(0x0700, &[0, 0]));
        group.extend(element(0x0800, &data_set.to_le_bytes()));
        group.extend(instance.map(|uid| element(0x1000, &padded(uid))).unwrap_or_default());
        let mut command = element(0x0000, &(group.len() as u32).to_le_bytes());
        command.extend(group);
        // In two fragments of odd sizes, as some senders do.
        let (head, tail) = command.split_at((command.len() / 3) | 1);
        self.fragments(&PDataValueType::Command, &[head, tail], true);
    }

    /// Sends a part of a data set in fragments of `size`, up to 20 to a PDU.
    pub fn data(&mut self, bytes: &[u8], size: usize, last: bool) {
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        let groups: Vec<&[&[u8]]> = pieces.chunks((100_000 / size).clamp(1, 20)).collect();
        for (at, group) in groups.iter().enumerate() {
            self.fragments(&PDataValueType::Data, group, last && at + 1 == groups.len());
        }
    }

    /// The status of the next answer.
    pub fn status(&mut self) -> u16 {
        let Some(Pdu::PData { data }) = self.receive() else { panic!("no answer") };
        let command = &data[0].data;
        // Implicit little-endian: the element (0000,0900) of two bytes.
        let tag = [0, 0, 0, 9, 2, 0, 0, 0];
        let at = command.windows(8).position(|window| window == tag).unwrap() + 8;
        u16::from_le_bytes([command[at], command[at + 1]])
    }

    /// Sends a whole object; the status.
    pub fn store(&mut self, object: &Ct) -> u16 {
        self.begin_store(&object.instance);
        self.data(&object.data_set(), 1_001, true);
        self.status()
    }

    /// Begins an object and stops in the middle of a fragment that is announced as longer.
    pub fn stop_within(&mut self, object: &Ct) {
        self.begin_store(&object.instance);
        let data = object.data_set();
        self.data(&data[..1_000], 400, false);
        let mut header = vec![4, 0, 0, 0, 4, 6, 0, 0, 4, 2, CONTEXT, 0];
        header.extend(&data[1_000..1_300]);
        self.raw(&header);
    }

    /// Releases the association.
    pub fn release(mut self) {
        self.send(&Pdu::ReleaseRQ);
        assert_eq!(self.receive(), Some(Pdu::ReleaseRP));
    }
}

fn element(number: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(number.to_le_bytes());
    bytes.extend((value.len() as u32).to_le_bytes());
    bytes.extend(value);
    bytes
}

fn padded(uid: &str) -> Vec<u8> {
    let mut bytes = uid.as_bytes().to_vec();
    bytes.resize(uid.len() + uid.len() % 2, 0);
    bytes
}
