//! From the claim to the release: `step(event, now) -> commands`. Decides what happens next and
//! does none of it; whoever carries a command out reports back with an event.
//!
//! ```text
//!            Inspect              fresh          Analyse n            drafted
//!  Claimed ──────────▶ Inspecting ─────▶ Analysing(n) ──────────────────────────▶ Sealing
//!                       │   ▲  │           │      │ timeout, memory, model           ▲ │ Seal
//!                       │   │  │ refused   │      └─────────────────────────────────▶│ │
//!                       │   │  └───────────┼─────────────────────────────────────────┘ │
//!                       │   │ input changed│ crash: n < attempts                       │ sealed
//!                       │   └──────────────┤                                           ▼
//!                       │                  ▼  due                                  Releasing(seq)
//!                       │               Pausing(n) ──▶ Analysing(n + 1)                ▲ │ Release
//!                       │ known: Repeat                                                │ ▼
//!                       └──────────────────────────────────────────────────────────────┘ Released
//! ```
//!
//! A crash at the last attempt seals `poison`. The number of attempts comes from the journal, so it
//! survives restarts; an attempt cut off by an orderly stop is taken back there and does not count.

use crate::units::Millis;

/// The pause before the second attempt; it doubles with every further one.
pub const FIRST_PAUSE: Millis = Millis(1_000);

/// Where a study is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Moved out of the inbox.
    Claimed,
    /// Its files are being listed and hashed.
    Inspecting,
    /// A worker has it.
    Analysing {
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Between two attempts.
    Pausing {
        /// The attempt that failed.
        attempt: u32,
        /// When the next one starts.
        until: Millis,
    },
    /// Its result is being signed and written to the journal.
    Sealing,
    /// It has a result; its folder is being moved out of `work/`.
    Releasing {
        /// Number of the result.
        seq: u64,
    },
    /// Nothing is left to do but delivery.
    Released,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The claim is in the journal, or was found there after a restart.
    Begin,
    /// The files are fit for the worker, and this study has no result yet.
    Inspected,
    /// The very same study has a result already.
    Known {
        /// Its number.
        seq: u64,
    },
    /// The files are not fit for the worker.
    Refused,
    /// The worker handed back a draft.
    Drafted,
    /// The worker did not.
    Failed(Failure),
    /// The pause is over.
    Due,
    /// A result is in the journal.
    Sealed {
        /// Its number.
        seq: u64,
    },
    /// The folder is in `done/` or `failed/`, and the journal says so.
    Moved,
}

/// Why a worker gave no draft, as far as it decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It crashed, gave up or could not be started: worth another attempt.
    Crashed,
    /// A file is no longer what was inspected: inspect again.
    InputChanged,
    /// It took too long, and would again.
    TimedOut,
    /// It needs more memory than it may have, and would again.
    OutOfMemory,
    /// A model package was refused.
    ModelRefused,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// List and hash the files.
    Inspect,
    /// Write down the attempt, then run a worker.
    Analyse {
        /// From 1.
        attempt: u32,
    },
    /// Report [`Event::Due`] at this time.
    Wait {
        /// On the clock of `now`.
        until: Millis,
    },
    /// Sign the result and write it to the journal.
    Seal(Verdict),
    /// Write down that the earlier result answers this study too.
    Repeat {
        /// Its number.
        seq: u64,
    },
    /// Move the folder out of `work/`.
    Release {
        /// Number of the result that goes with it.
        seq: u64,
    },
}

/// What the result will say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What the worker found.
    Draft,
    /// What was wrong with the files.
    Refused,
    /// What the worker failed of.
    Failed(Failure),
    /// That every attempt failed.
    Poison,
}

/// One claimed study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Study {
    state: State,
    attempts: u32,
    most_attempts: u32,
}

impl Study {
    /// A study as the journal knows it: how many attempts were started, and its result if it has
    /// one. `most_attempts` is at least 1.
    pub fn new(attempts: u32, seq: Option<u64>, most_attempts: u32) -> Self {
        let state = seq.map_or(State::Claimed, |seq| State::Releasing { seq });
        Self { state, attempts, most_attempts: most_attempts.max(1) }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes an event into account. An event that does not belong to the state changes nothing:
    /// it is the answer to a command that was overtaken.
    pub fn step(&mut self, event: Event, now: Millis) -> Option<Command> {
        let (state, command) = self.next(event, now)?;
        self.state = state;
        command
    }

    fn next(&mut self, event: Event, now: Millis) -> Option<(State, Option<Command>)> {
        match (self.state, event) {
            (State::Claimed, Event::Begin) => Some((State::Inspecting, Some(Command::Inspect))),
            (State::Releasing { seq }, Event::Begin) => {
                Some((State::Releasing { seq }, Some(Command::Release { seq })))
            }
            (State::Inspecting, Event::Inspected) => Some(self.try_again()),
            (State::Inspecting, Event::Refused) => Some(seal(Verdict::Refused)),
            (State::Inspecting, Event::Known { seq }) => {
                Some((State::Sealing, Some(Command::Repeat { seq })))
            }
            (State::Analysing { .. }, Event::Drafted) => Some(seal(Verdict::Draft)),
            (State::Analysing { attempt }, Event::Failed(failure)) => {
                Some(self.failed(attempt, failure, now))
            }
            (State::Pausing { .. }, Event::Due) => Some(self.try_again()),
            (State::Sealing, Event::Sealed { seq }) => {
                Some((State::Releasing { seq }, Some(Command::Release { seq })))
            }
            (State::Releasing { .. }, Event::Moved) => Some((State::Released, None)),
            (
                State::Claimed
                | State::Inspecting
                | State::Analysing { .. }
                | State::Pausing { .. }
                | State::Sealing
                | State::Releasing { .. }
                | State::Released,
                _overtaken,
            ) => None,
        }
    }

    fn try_again(&mut self) -> (State, Option<Command>) {
        if self.attempts >= self.most_attempts {
            return seal(Verdict::Poison);
        }
        self.attempts += 1;
        let attempt = self.attempts;
        (State::Analysing { attempt }, Some(Command::Analyse { attempt }))
    }

    fn failed(&self, attempt: u32, failure: Failure, now: Millis) -> (State, Option<Command>) {
        match failure {
            Failure::TimedOut | Failure::OutOfMemory | Failure::ModelRefused => {
                seal(Verdict::Failed(failure))
            }
            Failure::InputChanged => (State::Inspecting, Some(Command::Inspect)),
            Failure::Crashed if attempt >= self.most_attempts => seal(Verdict::Poison),
            Failure::Crashed => {
                let pause = FIRST_PAUSE.0 << attempt.saturating_sub(1).min(5);
                let until = Millis(now.0.saturating_add(pause));
                (State::Pausing { attempt, until }, Some(Command::Wait { until }))
            }
        }
    }
}

fn seal(verdict: Verdict) -> (State, Option<Command>) {
    (State::Sealing, Some(Command::Seal(verdict)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Millis = Millis(5);

    fn run(study: &mut Study, events: &[Event]) -> Vec<Command> {
        events.iter().filter_map(|event| study.step(*event, NOW)).collect()
    }

    #[test]
    fn the_straight_path() {
        let mut study = Study::new(0, None, 3);
        let commands = run(
            &mut study,
            &[
                Event::Begin,
                Event::Inspected,
                Event::Drafted,
                Event::Sealed { seq: 7 },
                Event::Moved,
            ],
        );
        let expected = [
            Command::Inspect,
            Command::Analyse { attempt: 1 },
            Command::Seal(Verdict::Draft),
            Command::Release { seq: 7 },
        ];
        assert_eq!(commands, expected);
        assert_eq!(study.state(), State::Released);
    }

    #[test]
    fn a_study_known_already_is_answered_without_a_worker() {
        let mut study = Study::new(0, None, 3);
        let commands =
            run(&mut study, &[Event::Begin, Event::Known { seq: 2 }, Event::Sealed { seq: 2 }]);
        let expected = [Command::Inspect, Command::Repeat { seq: 2 }, Command::Release { seq: 2 }];
        assert_eq!(commands, expected);
    }

    #[test]
    fn crashes_are_tried_again_with_growing_pauses_and_then_poison() {
        let mut study = Study::new(0, None, 3);
        run(&mut study, &[Event::Begin, Event::Inspected]);
        let crash = Event::Failed(Failure::Crashed);
        let commands = run(&mut study, &[crash, Event::Due, crash, Event::Due, crash]);
        let expected = [
            Command::Wait { until: Millis(1_005) },
            Command::Analyse { attempt: 2 },
            Command::Wait { until: Millis(2_005) },
            Command::Analyse { attempt: 3 },
            Command::Seal(Verdict::Poison),
        ];
        assert_eq!(commands, expected);
    }

    #[test]
    fn attempts_before_a_restart_count() {
        let mut last = Study::new(2, None, 3);
        let commands = run(&mut last, &[Event::Begin, Event::Inspected]);
        assert_eq!(commands[1], Command::Analyse { attempt: 3 });
        let mut used_up = Study::new(3, None, 3);
        let commands = run(&mut used_up, &[Event::Begin, Event::Inspected]);
        assert_eq!(commands[1], Command::Seal(Verdict::Poison));
    }

    #[test]
    fn what_would_fail_again_is_not_tried_again() {
        for failure in [Failure::TimedOut, Failure::OutOfMemory, Failure::ModelRefused] {
            let mut study = Study::new(0, None, 3);
            run(&mut study, &[Event::Begin, Event::Inspected]);
            let commands = run(&mut study, &[Event::Failed(failure)]);
            assert_eq!(commands, [Command::Seal(Verdict::Failed(failure))]);
        }
    }

    #[test]
    fn a_changed_input_is_inspected_again_but_not_for_ever() {
        let mut study = Study::new(0, None, 2);
        let changed = Event::Failed(Failure::InputChanged);
        let events = [Event::Begin, Event::Inspected, changed, Event::Inspected, changed];
        run(&mut study, &events);
        assert_eq!(run(&mut study, &[Event::Inspected]), [Command::Seal(Verdict::Poison)]);
    }

    #[test]
    fn a_result_found_at_the_restart_is_only_released() {
        let mut study = Study::new(1, Some(4), 3);
        assert_eq!(run(&mut study, &[Event::Begin]), [Command::Release { seq: 4 }]);
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Begin),
            Just(Event::Inspected),
            Just(Event::Known { seq: 1 }),
            Just(Event::Refused),
            Just(Event::Drafted),
            Just(Event::Failed(Failure::Crashed)),
            Just(Event::Failed(Failure::InputChanged)),
            Just(Event::Failed(Failure::OutOfMemory)),
            Just(Event::Due),
            Just(Event::Sealed { seq: 2 }),
            Just(Event::Moved),
        ]
    }

    /// What the answer to a command may be.
    fn answers(command: Command, pick: usize) -> Event {
        let failures = [Failure::Crashed, Failure::InputChanged, Failure::TimedOut];
        match command {
            Command::Inspect => {
                [Event::Inspected, Event::Refused, Event::Known { seq: 1 }][pick % 3]
            }
            Command::Analyse { .. } if pick % 4 == 3 => Event::Drafted,
            Command::Analyse { .. } => Event::Failed(failures[pick % 3]),
            Command::Wait { .. } => Event::Due,
            Command::Seal(_) => Event::Sealed { seq: 2 },
            Command::Repeat { seq } => Event::Sealed { seq },
            Command::Release { .. } => Event::Moved,
        }
    }

    proptest! {
        #[test]
        fn no_order_of_events_gives_a_second_result(
            events in proptest::collection::vec(any_event(), 0..60)
        ) {
            let mut study = Study::new(0, None, 3);
            let commands = run(&mut study, &events);
            let answers = |c: &&Command| matches!(c, Command::Seal(_) | Command::Repeat { .. });
            prop_assert!(commands.iter().filter(answers).count() <= 1);
            let released = commands.iter().position(|c| matches!(c, Command::Release { .. }));
            let answered = commands.iter().position(|c| answers(&c));
            prop_assert!(released.is_none_or(|r| answered.is_some_and(|a| a < r)));
        }

        #[test]
        fn whatever_the_answers_every_study_ends_with_one_result(
            picks in proptest::collection::vec(any::<usize>(), 64),
            most in 1u32..5,
        ) {
            let mut study = Study::new(0, None, most);
            let mut next = study.step(Event::Begin, NOW);
            let (mut analysed, mut answered) = (0, 0);
            for pick in picks {
                let Some(command) = next else { break };
                analysed += u32::from(matches!(command, Command::Analyse { .. }));
                answered += u32::from(matches!(command, Command::Seal(_) | Command::Repeat { .. }));
                next = study.step(answers(command, pick), NOW);
            }
            prop_assert_eq!(study.state(), State::Released);
            prop_assert_eq!(answered, 1);
            prop_assert!(analysed <= most);
        }
    }
}
