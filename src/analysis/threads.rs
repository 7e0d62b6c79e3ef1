//! Work shared out over the threads that a site allows. What comes out never depends on how many
//! there are: every part is computed alone, and parts are put together in their order.

use std::panic::resume_unwind;
use std::thread;

use ndarray::{Array3, ArrayViewMut2, ArrayViewMut3, Axis};

/// Both results, computed at the same time where two threads are allowed. A panic of either goes on.
pub fn both<A: Send, B>(
    threads: usize,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B,
) -> (A, B) {
    if threads < 2 {
        return (one(), other());
    }
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().unwrap_or_else(|panic| resume_unwind(panic)), other)
    })
}

/// `work` of every item, in the items' order, on up to `threads` threads. A panic goes on.
pub fn each<T: Sync, U: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> U + Sync,
) -> Vec<U> {
    let share = items.len().div_ceil(threads.max(1)).max(1);
    let work = &work;
    thread::scope(|scope| {
        let mut shares = items.chunks(share);
        let first = shares.next().unwrap_or_default();
        let others: Vec<_> = shares
            .map(|share| scope.spawn(move || share.iter().map(work).collect::<Vec<U>>()))
            .collect();
        let mut done: Vec<U> = first.iter().map(work).collect();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    })
}

/// Calls `fill(z, slab)` for slabs that make up `out`, `[z, y, x]`, each with the number of its first
/// plane, one slab for each of up to `threads` threads.
pub fn slabs<T: Send>(
    threads: usize,
    mut out: ArrayViewMut3<'_, T>,
    fill: impl Fn(usize, ArrayViewMut3<'_, T>) + Sync,
) {
    let per_thread = out.dim().0.div_ceil(threads.max(1)).max(1);
    let fill = &fill;
    thread::scope(|scope| {
        let mut slabs = out.axis_chunks_iter_mut(Axis(0), per_thread);
        let first = slabs.next();
        for (n, slab) in (1..).zip(slabs) {
            scope.spawn(move || fill(n * per_thread, slab));
        }
        if let Some(slab) = first {
            fill(0, slab);
        }
    });
}

/// Calls `fill(z, plane)` for every plane of `out`, `[z, y, x]`, on up to `threads` threads.
pub fn planes<T: Send>(
    threads: usize,
    out: &mut Array3<T>,
    fill: impl Fn(usize, ArrayViewMut2<'_, T>) + Sync,
) {
    slabs(threads, out.view_mut(), |first, mut slab| {
        for (k, plane) in slab.axis_iter_mut(Axis(0)).enumerate() {
            fill(first + k, plane);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn order_is_that_of_the_items(
            items in prop::collection::vec(any::<u32>(), 0..40),
            threads in 0usize..9,
        ) {
            let work = |item: &u32| u64::from(*item) * 3;
            prop_assert_eq!(each(threads, &items, work), items.iter().map(work).collect::<Vec<_>>());
        }

        #[test]
        fn every_plane_is_filled_once(depth in 0usize..20, threads in 0usize..9) {
            let mut out = Array3::<usize>::zeros([depth, 2, 3]);
            planes(threads, &mut out, |z, mut plane| plane += z + 1);
            let expected = Array3::from_shape_fn([depth, 2, 3], |(z, ..)| z + 1);
            prop_assert_eq!(out, expected);
        }
    }

    #[test]
    fn both_are_done_and_panics_go_on() {
        for threads in [0, 1, 2, 5] {
            assert_eq!(both(threads, || 1, || "two"), (1, "two"));
            assert!(catch_unwind(|| both(threads, || panic!("one"), || 2)).is_err());
            assert!(catch_unwind(|| both(threads, || 1, || panic!("two"))).is_err());
            let work = |item: &u8| assert_ne!(*item, 9);
            assert!(catch_unwind(|| each(threads, &[1, 9], work)).is_err());
        }
    }
}
