//! What the box feels like: load, memory, disk, temperature, latencies of the last stages. Unsigned
//! JSON, for graphs; nothing is decided from it.

use std::time::Instant;

use serde_json::{Value, json};
use sysinfo::{Components, System};

use super::device::Device;
use crate::host::clock;
use crate::host::files::{StateDir, free_bytes};
use crate::host::journal::Journal;
use crate::host::mqtt::messages::{JobPhase, JobUpdate};

/// Stage latencies remembered.
const REMEMBERED: usize = 16;

/// Sensors, where this machine has them, and a short memory.
pub struct Telemetry {
    system: Option<System>,
    components: Option<Components>,
    state: StateDir,
    running: Option<(heapless::String<32>, Instant)>,
    stages: heapless::Deque<(heapless::String<32>, u64), REMEMBERED>,
}

impl Telemetry {
    /// Nothing read yet.
    pub fn new(device: &Device) -> Self {
        Self {
            system: System::new().ok(),
            components: Components::new_with_refreshed_list().ok(),
            state: device.state.clone(),
            running: None,
            stages: heapless::Deque::new(),
        }
    }

    /// Takes the time of the stages as they go by.
    pub fn heard(&mut self, update: &JobUpdate) {
        let now = Instant::now();
        let stage = match &update.phase {
            JobPhase::Running { stage, .. } => Some(stage),
            JobPhase::Queued | JobPhase::Done { .. } | JobPhase::Failed { .. } => None,
        };
        if self.running.as_ref().map(|(name, _)| name) == stage {
            return;
        }
        if let Some((name, since)) = self.running.take() {
            let elapsed_ms = now.duration_since(since).as_millis() as u64;
            if self.stages.is_full() {
                self.stages.pop_front();
            }
            // There is room: the oldest one has just gone.
            let _ = self.stages.push_back((name, elapsed_ms));
        }
        self.running = stage.map(|name| (name.clone(), now));
    }

    /// One snapshot as JSON.
    pub fn read(&mut self, journal: &Journal) -> Vec<u8> {
        let system = self.system.as_mut().map(|system| {
            system.refresh_memory();
            system.refresh_cpu_usage();
            json!({
                "cpu_percent": system.global_cpu_usage(),
                "memory_used_mib": system.used_memory() >> 20,
                "memory_total_mib": system.total_memory() >> 20,
            })
        });
        let hottest = self.components.as_mut().and_then(|components| {
            components.refresh(false);
            components.iter().filter_map(|part| part.temperature()).reduce(f32::max)
        });
        let (open, backlog) = {
            let ledger = journal.ledger();
            (ledger.open().len(), ledger.backlog())
        };
        let stages: Vec<Value> =
            self.stages.iter().map(|(name, ms)| json!({"stage": name, "ms": ms})).collect();
        let value = json!({
            "schema": 1,
            "signed": false,
            "now_ms": clock::now_ms(),
            "load_1m": System::load_average().ok().map(|load| load.one),
            "system": system,
            "disk_free_mib": free_bytes(self.state.root()).ok().map(|bytes| bytes.0 >> 20),
            "hottest_celsius": hottest,
            "queue": open,
            "backlog": backlog,
            "stages": stages,
        });
        value.to_string().into_bytes()
    }
}
