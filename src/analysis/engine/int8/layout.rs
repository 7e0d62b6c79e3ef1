//! How values lie in memory, and where: `[z, y, x, channel]` with a halo, in one arena.
//!
//! The halo holds the zero point, so that kernels have no border cases; it is as wide as the widest
//! reader needs. Channels are padded to 16, except in an input of up to [`NARROW`] channels. Weights for padding channels are zero, so what they hold never counts.

use super::program::{Kind, Op, Program, ValueId};

/// Channels that one block of a kernel computes together.
pub(super) const BLOCK: usize = 16;
/// The widest input whose channels are not padded.
const NARROW: usize = 4;
/// Bytes behind every value that may be read and are not used.
const SLACK: usize = 64;
/// Where values may begin.
const ALIGNMENT: usize = 64;

/// True for a value whose channels are padded to whole blocks.
pub(super) fn is_padded(program: &Program, id: ValueId) -> bool {
    program.layers[id].op != Op::Quantise || program.values[id].channels > NARROW
}

/// Shape and place of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes from the start of the arena.
    pub(super) offset: usize,
    /// Channels stored per voxel.
    pub(super) channels: usize,
    /// Bytes of one element: 1 for u8, 2 for staged values, 4 for f32.
    pub(super) element: usize,
    /// Voxels without halo, `[z, y, x]`.
    pub(super) size: [usize; 3],
    /// Voxels of halo before.
    pub(super) front: [usize; 3],
    /// Voxels with the whole halo.
    pub(super) whole: [usize; 3],
}

impl Layout {
    /// Elements from a voxel to the next one in y.
    pub(super) fn row(&self) -> usize {
        self.whole[2] * self.channels
    }

    /// Elements from a voxel to the next one in z.
    pub(super) fn plane(&self) -> usize {
        self.whole[1] * self.row()
    }

    /// Element of channel 0 at `[z, y, x]`, counted from the corner of the halo.
    pub(super) fn at(&self, [z, y, x]: [usize; 3]) -> usize {
        z * self.plane() + y * self.row() + x * self.channels
    }

    /// Element of channel 0 of voxel `[z, y, x]`, counted without halo.
    pub(super) fn voxel(&self, at: [usize; 3]) -> usize {
        self.at([0, 1, 2].map(|axis| at[axis] + self.front[axis]))
    }

    /// True where there is a halo on any side.
    pub(super) fn has_halo(&self) -> bool {
        self.whole != self.size
    }

    fn bytes(&self) -> usize {
        self.whole[0] * self.plane() * self.element + SLACK
    }
}

/// Room that a layer wants around one of its inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Halo {
    /// Voxels before.
    pub(super) front: [usize; 3],
    /// Voxels after.
    pub(super) back: [usize; 3],
}

/// Where everything lies for one input size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// By value; `None` for outputs, which do not lie in the arena.
    pub(super) layouts: Vec<Option<Layout>>,
    /// Bytes of the arena.
    pub(super) arena: usize,
}

/// Bytes that one layer needs for itself while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extra {
    /// Bytes from the start of the arena.
    pub(super) offset: usize,
}

/// Lays out the values of shapes `shapes`; `halo` says how much room layer `reader` wants around its
/// input `value`, `extra` how many bytes a layer needs beside its values.
pub(super) fn plan(
    program: &Program,
    shapes: &[[usize; 3]],
    halo: impl Fn(usize, ValueId) -> Halo,
    extra: impl Fn(usize) -> usize,
) -> (Plan, Vec<Extra>) {
    let mut layouts: Vec<Option<Layout>> = Vec::with_capacity(program.values.len());
    let mut last_read: Vec<usize> = (0..program.values.len()).collect();
    let mut room = vec![Halo::default(); program.values.len()];
    for (reader, layer) in program.layers.iter().enumerate() {
        for id in layer.op.inputs() {
            last_read[id] = reader;
            let wanted = halo(reader, id);
            for axis in 0..3 {
                room[id].front[axis] = room[id].front[axis].max(wanted.front[axis]);
                room[id].back[axis] = room[id].back[axis].max(wanted.back[axis]);
            }
        }
    }
    let mut arena = Arena::default();
    let mut extras = Vec::with_capacity(program.values.len());
    for (id, value) in program.values.iter().enumerate() {
        extras.push(Extra { offset: arena.place(extra(id), (id, id)) });
        let narrow = !is_padded(program, id);
        let padded = value.channels.next_multiple_of(BLOCK);
        let element = match value.kind {
            Kind::Quantised(_) => 1,
            Kind::Staged(_) => 2,
            Kind::Float => 4,
            Kind::Real => {
                layouts.push(None);
                continue;
            }
        };
        let Halo { front, back } = room[id];
        let mut layout = Layout {
            offset: 0,
            channels: if narrow { value.channels } else { padded },
            element,
            size: shapes[id],
            front,
            whole: [0, 1, 2].map(|axis| front[axis] + shapes[id][axis] + back[axis]),
        };
        layout.offset = arena.place(layout.bytes(), (id, last_read[id]));
        layouts.push(Some(layout));
    }
    (Plan { layouts, arena: arena.bytes() }, extras)
}

/// First fit over lifetimes: two values may share bytes when no layer needs both.
#[derive(Debug, Default)]
struct Arena {
    placed: Vec<Placed>,
}

#[derive(Debug, Clone, Copy)]
struct Placed {
    start: usize,
    end: usize,
    lifetime: (usize, usize),
}

impl Arena {
    fn place(&mut self, bytes: usize, lifetime: (usize, usize)) -> usize {
        let bytes = bytes.next_multiple_of(ALIGNMENT);
        let mut alive: Vec<Placed> = self
            .placed
            .iter()
            .copied()
            .filter(|other| other.lifetime.0 <= lifetime.1 && lifetime.0 <= other.lifetime.1)
            .collect();
        alive.sort_by_key(|other| other.start);
        let mut start = 0;
        for other in alive {
            if other.start >= start + bytes {
                break;
            }
            start = start.max(other.end);
        }
        self.placed.push(Placed { start, end: start + bytes, lifetime });
        start
    }

    fn bytes(&self) -> usize {
        self.placed.iter().map(|placed| placed.end).max().unwrap_or(0)
    }
}
