//! The unsigned JSON messages (`job`, `alarm`) and the commands, as values; and the two content
//! types. The signed ones are made by `seal`.

use std::sync::Arc;

use serde_json::json;

use super::topic::Verb;

/// MQTT 5 content type of `result` and `status` (RFC 9052, section 2).
pub const COSE_TYPE: &str = "application/cose; cose-type=\"cose-sign1\"";

/// MQTT 5 content type of everything else.
pub const JSON_TYPE: &str = "application/json";

/// Largest body of a command or an acknowledgement that is looked at, in bytes.
pub const MAX_BODY: usize = crate::seal::wire::MAX_MESSAGE;

/// What the device says about its presence, as a signed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Connected.
    Online,
    /// Ended on purpose.
    Stopped,
    /// The will: the broker publishes it when the connection breaks.
    Offline,
}

/// Signs a presence message. Called once per connection and presence; the three of one boot share
/// its boot sequence.
pub type StatusSigner = Arc<dyn Fn(Presence) -> Vec<u8> + Send + Sync>;

/// Progress of one study. Carries the job, never the name of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobUpdate {
    /// 16 hexadecimal digits.
    pub job: heapless::String<16>,
    /// How far it is.
    pub phase: JobPhase,
}

/// How far a study is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobPhase {
    /// Claimed, waiting for a worker.
    Queued,
    /// A worker has it.
    Running {
        /// Name of the stage.
        stage: heapless::String<32>,
        /// 0..=100 of this stage.
        percent: u8,
    },
    /// Signed.
    Done {
        /// Sequence number of the result.
        seq: u64,
    },
    /// Ended without an answer.
    Failed {
        /// Reason code as in the result.
        code: heapless::String<48>,
    },
}

impl JobUpdate {
    /// The JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        let job = self.job.as_str();
        let value = match &self.phase {
            JobPhase::Queued => json!({"job": job, "state": "queued"}),
            JobPhase::Running { stage, percent } => {
                json!({"job": job, "state": "running", "stage": stage.as_str(), "percent": percent})
            }
            JobPhase::Done { seq } => json!({"job": job, "state": "done", "seq": seq}),
            JobPhase::Failed { code } => {
                json!({"job": job, "state": "failed", "code": code.as_str()})
            }
        };
        value.to_string().into_bytes()
    }
}

/// A command from the control room. The body is as received: whoever acts on it checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What is asked.
    pub verb: Verb,
    /// At most [`MAX_BODY`] bytes; for `resend` a COSE_Sign1 of a consumer.
    pub body: Vec<u8>,
    /// MQTT 5 correlation data, returned with the reply.
    pub correlation: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json_of(phase: JobPhase) -> serde_json::Value {
        let job = heapless::String::try_from("00112233aabbccdd").unwrap();
        serde_json::from_slice(&JobUpdate { job, phase }.to_json()).unwrap()
    }

    #[test]
    fn job_updates_read_as_documented() {
        assert_eq!(json_of(JobPhase::Queued)["state"], "queued");
        let stage = heapless::String::try_from("segment").unwrap();
        let running = json_of(JobPhase::Running { stage, percent: 40 });
        assert_eq!((&running["stage"], &running["percent"]), (&json!("segment"), &json!(40)));
        assert_eq!(json_of(JobPhase::Done { seq: 7 })["seq"], 7);
        let code = heapless::String::try_from("too_few_slices").unwrap();
        assert_eq!(json_of(JobPhase::Failed { code })["code"], "too_few_slices");
    }
}
