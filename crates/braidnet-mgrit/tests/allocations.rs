//! A solve of scalars allocates per solve and per sweep, never per point.
#![allow(clippy::unwrap_used, clippy::expect_used)] // What helpers run into fails their test.
#![allow(unsafe_code)] // A counting allocator cannot be written without.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use braidnet_comm::Communicator;
use braidnet_grid::{Partition, TimeGrid};
use braidnet_mgrit::model::{Dahlquist, Method};
use braidnet_mgrit::{Cycle, Guess, Mgrit, MgritOptions, ResidualForm};

use common::v_cycles;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting the calls of each thread.
struct Counting;

fn count() {
    // A thread that is ending has no counter any more.
    let _ = COUNT.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the first and of the second solve of one solver, on 3 levels with factor 4.
fn allocations(n: usize, options: &MgritOptions) -> [usize; 2] {
    let grid = TimeGrid::uniform(n, 0.0, 100.0).unwrap();
    let partition = Partition::even(n, 1).unwrap();
    let problem = Dahlquist { lambda: -1.0, method: Method::BackwardEuler, residual: ResidualForm::OneStep };
    let mut solver = Mgrit::new(&grid, &partition, options.clone(), &Communicator::alone()).unwrap();
    [(); 2].map(|()| {
        let before = COUNT.get();
        solver.solve(&problem, Some(1.0), Guess::From(&|_| 0.456)).unwrap();
        COUNT.get() - before
    })
}

fn variants(max_iters: usize) -> [MgritOptions; 4] {
    let v = MgritOptions { norm: None, ..v_cycles(3, 4, 1, max_iters) };
    [
        MgritOptions { skip_downcycle: true, ..v.clone() },
        MgritOptions { c_weights: vec![1.3], ..v.clone() },
        MgritOptions { cycle: Cycle::F { v_cycles: 1, iterations: None }, ..v.clone() },
        v,
    ]
}

/// From 16,384 points on every level has more intervals than a batch holds, so the buffers of both sizes are equal:
/// four times the points, the same number of allocations, in the first solve and in later ones.
#[test]
fn more_points_take_no_more_allocations() {
    for options in variants(3) {
        assert_eq!(allocations(1 << 14, &options), allocations(1 << 16, &options), "{options:?}");
    }
}

/// Every further iteration takes the buffers of tau and of the corrections (2 each per restriction) and its entries in
/// the lists of norms; a sweep takes nothing.
#[test]
fn more_iterations_take_a_few_allocations_each() {
    for ((few, many), restrictions) in variants(3).iter().zip(&variants(13)).zip([2, 2, 3, 2]) {
        let [few, many] = [few, many].map(|options| allocations(1 << 14, options)[1]);
        assert!(many - few <= 10 * 4 * restrictions + 4, "{few} allocations for 3 iterations, {many} for 13");
    }
}
