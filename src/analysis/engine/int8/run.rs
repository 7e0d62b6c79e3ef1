//! Runs a program: all threads go through the layers side by side, taking units from one counter.

#![allow(unsafe_code, reason = "kernels write through pointers into one arena")]

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::compute::{Compute, MAX_THREADS};
use super::kernels::Place;
pub use super::kernels::Rows;
use super::memory::Buffer;
use super::program::{MAX_OUTPUTS, Program};
use super::ready::{Prepared, ReadyError, Stage, least_winograd, prepare};

/// A program that can run: packed weights, and all memory that a run needs.
pub struct Engine {
    stages: Vec<Stage>,
    counters: Vec<AtomicUsize>,
    arena: Buffer,
    scratch: Vec<Buffer>,
    /// Channels and `[z, y, x]`.
    input: (usize, [usize; 3]),
    outputs: Vec<(usize, [usize; 3])>,
    memory: Memory,
}

/// An input that lies in one piece, `[channel, z, y, x]`.
#[derive(Debug, Clone, Copy)]
pub struct Whole<'a> {
    /// The voxels.
    pub values: &'a [f32],
    /// `[z, y, x]`.
    pub size: [usize; 3],
}

impl Rows for Whole<'_> {
    fn row(&self, [channel, z, y]: [usize; 3]) -> &[f32] {
        let [depth, height, width] = self.size;
        &self.values[((channel * depth + z) * height + y) * width..][..width]
    }
}

/// Bytes that an [`Engine`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Activations.
    pub arena: usize,
    /// Packed weights, and constants of float layers.
    pub weights: usize,
    /// Scratch memory of all threads.
    pub scratch: usize,
}

impl Memory {
    /// Of all kinds.
    pub fn total(&self) -> usize {
        self.arena + self.weights + self.scratch
    }
}

impl Engine {
    /// Packs the weights and plans the memory for inputs of `size` voxels `[z, y, x]`.
    pub fn new(program: &Program, size: [usize; 3], compute: Compute) -> Result<Self, ReadyError> {
        Self::with_winograd(program, size, compute, least_winograd(compute.isa))
    }

    /// As [`Self::new`], with Winograd's kernel from that side on; `None` without it. A path that has
    /// no such kernel takes `None` only.
    pub(super) fn with_winograd(
        program: &Program,
        size: [usize; 3],
        compute: Compute,
        least_winograd: Option<usize>,
    ) -> Result<Self, ReadyError> {
        let Prepared { stages, threads, arena, scratch, weights, outputs } =
            prepare(program, size, compute, least_winograd)?;
        let channels = program.outputs.iter().map(|&id| program.values[id].channels);
        Ok(Self {
            counters: stages.iter().map(|_| AtomicUsize::new(0)).collect(),
            arena: Buffer::new(arena),
            scratch: (0..threads).map(|_| Buffer::new(scratch)).collect(),
            input: (program.input_channels, size),
            outputs: channels.zip(outputs).collect(),
            memory: Memory { arena, weights, scratch: scratch * threads },
            stages,
        })
    }

    /// Bytes held.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// Channels and `[z, y, x]` of the outputs.
    pub fn outputs(&self) -> &[(usize, [usize; 3])] {
        &self.outputs
    }

    /// Runs one input `[channel, z, y, x]` into `outputs` of the same order.
    ///
    /// # Panics
    /// If a length is not the one the engine was made for.
    pub fn run(&mut self, input: &[f32], outputs: &mut [&mut [f32]]) {
        let (channels, size) = self.input;
        assert_eq!(input.len(), channels * size.iter().product::<usize>(), "input length");
        self.run_watched(&Whole { values: input, size }, outputs, &mut |_| {});
    }

    /// As [`Self::run`], of rows that lie anywhere; `done` is told each layer when it is finished, by
    /// its place in the program.
    ///
    /// # Panics
    /// If a row is too short, or the length of an output not the one the engine was made for.
    pub fn run_watched(
        &mut self,
        input: &dyn Rows,
        outputs: &mut [&mut [f32]],
        done: &mut dyn FnMut(usize),
    ) {
        assert_eq!(outputs.len(), self.outputs.len(), "another number of outputs");
        for (output, &(channels, size)) in outputs.iter().zip(&self.outputs) {
            assert_eq!(output.len(), channels * size.iter().product::<usize>(), "output length");
        }
        for counter in &mut self.counters {
            *counter.get_mut() = 0;
        }
        let pointers: heapless::Vec<*mut f32, MAX_OUTPUTS> =
            outputs.iter_mut().map(|output| output.as_mut_ptr()).collect();
        let place = Place::new(self.arena.pointer(), input, &pointers);
        let barrier = Barrier::new(self.scratch.len());
        let this = &*self;
        thread::scope(|scope| {
            // A thread that cannot be had is a panic too.
            let _broken = BreakOnPanic(&barrier);
            let mut helpers = heapless::Vec::<_, MAX_THREADS>::new();
            for thread in 1..this.scratch.len() {
                let barrier = &barrier;
                let helper = scope.spawn(move || this.work(thread, place, barrier, &mut |_| {}));
                // There are no more than there is scratch memory for.
                let _ = helpers.push(helper);
            }
            this.work(0, place, &barrier, done);
            for helper in helpers {
                if let Err(panic) = helper.join() {
                    resume_unwind(panic);
                }
            }
        });
    }

    fn work(
        &self,
        thread: usize,
        place: Place<'_>,
        barrier: &Barrier,
        done: &mut dyn FnMut(usize),
    ) {
        let _broken = BreakOnPanic(barrier);
        let scratch = self.scratch[thread].pointer();
        for (stage, counter) in self.stages.iter().zip(&self.counters) {
            loop {
                let mut unit = counter.fetch_add(1, Ordering::Relaxed);
                let kernel = stage.kernels.iter().find(|kernel| {
                    let here = unit < kernel.units();
                    unit -= if here { 0 } else { kernel.units() };
                    here
                });
                let Some(kernel) = kernel else { break };
                // SAFETY: the counter gives every unit out once, scratch memory is this thread's own,
                // the lengths were checked by `run_watched`, and no thread is in another stage.
                unsafe { kernel.unit(unit, place, scratch) };
            }
            if !barrier.wait() {
                return;
            }
            done(stage.layer);
        }
    }
}

/// Where threads wait for each other. They spin at first, because layers are short.
struct Barrier {
    threads: usize,
    arrived: AtomicUsize,
    round: AtomicUsize,
    broken: AtomicBool,
}

/// Rounds of spinning before the processor is given to others.
const SPINS: usize = 4096;

impl Barrier {
    fn new(threads: usize) -> Self {
        let [arrived, round] = [0, 0].map(AtomicUsize::new);
        Self { threads, arrived, round, broken: AtomicBool::new(false) }
    }

    /// False when another thread will never come.
    fn wait(&self) -> bool {
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return true;
        }
        let mut spins = 0;
        while self.round.load(Ordering::Acquire) == round {
            if self.broken.load(Ordering::Relaxed) {
                return false;
            }
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
        true
    }
}

struct BreakOnPanic<'a>(&'a Barrier);

impl Drop for BreakOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn threads_go_on_together() {
        let (barrier, count) = (Barrier::new(3), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 1..=100 {
                        count.fetch_add(1, Ordering::Relaxed);
                        assert!(barrier.wait());
                        assert_eq!(count.load(Ordering::Relaxed), 3 * round);
                        assert!(barrier.wait());
                    }
                });
            }
        });
    }

    /// A thread that panics, or cannot be started, must not leave the others waiting.
    #[test]
    fn nobody_waits_for_a_thread_that_is_gone() {
        let barrier = Barrier::new(3);
        let gone = catch_unwind(AssertUnwindSafe(|| {
            thread::scope(|scope| {
                let _broken = BreakOnPanic(&barrier);
                for _ in 0..2 {
                    scope.spawn(|| assert!(!barrier.wait()));
                }
                panic!("failed to spawn thread");
            });
        }));
        assert!(gone.is_err());
    }
}
