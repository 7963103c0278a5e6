//! One layer of each network: forward, linearised, pulled back, pulled back with gradients.
//!
//! `cargo bench -p benches --bench layer -- [CASE ...] [--json FILE]`, on one thread; the same by PyTorch is
//! `benches/peers/layers.py`. The operations of a layer take turns, so that a machine that slows down slows all of them; in
//! each turn the first call is not counted. An allocator that counts tells how many bytes of large buffers a call asks for
//! and how many the process holds at most.
#![allow(missing_docs)]
#![allow(unsafe_code)] // A counting allocator cannot be written without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use benches::device_name;
use benches::layers::{CASES, Layer, Operation, layer};
use braidnet::comm::keep_freed_memory;
use braidnet::mgrit::StepError;
use braidnet::monitor::{Framework, Measurement, Seconds, Transport};
use braidnet::prelude::*;
use clap::Parser;

/// From how many bytes on a buffer is large.
const LARGE: usize = 64 << 10;

#[derive(Debug, Parser)]
struct Options {
    /// Layers.
    #[arg(default_values = CASES)]
    cases: Vec<String>,
    /// Rounds in which every operation is timed.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Calls per round that are timed.
    #[arg(long, default_value_t = 5)]
    calls: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// Appends the measurements to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The system's allocator, with counters.
struct Counting;

/// Bytes of all large buffers so far, bytes held, and the most that were.
static LARGE_BYTES: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    if bytes >= LARGE {
        LARGE_BYTES.fetch_add(bytes, Relaxed);
    }
    PEAK.fetch_max(HELD.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What was measured of one operation.
#[derive(Default)]
struct Reading {
    seconds: Vec<f64>,
    /// Bytes of large buffers that the last call asked for.
    large: usize,
    /// Bytes that the process held at most.
    peak: usize,
}

impl Reading {
    fn take(
        &mut self,
        layer: &dyn Layer,
        operation: Operation,
        (device, is_counted): (&Device, bool),
    ) -> Result<(), StepError> {
        let call = layer.prepare(operation)?;
        device.sync()?;
        let large = LARGE_BYTES.load(Relaxed);
        PEAK.store(HELD.load(Relaxed), Relaxed);
        let start = Instant::now();
        let made = call()?;
        device.sync()?;
        let seconds = start.elapsed().as_secs_f64();
        if is_counted {
            self.seconds.push(seconds);
            self.large = LARGE_BYTES.load(Relaxed) - large;
            self.peak = self.peak.max(PEAK.load(Relaxed));
        }
        drop(made);
        Ok(())
    }
}

fn main() -> Result<(), StepError> {
    let options = Options::parse();
    let device = options.device.device(&Mesh::alone())?;
    keep_freed_memory();
    println!("{:<14} {:<24} {:>27}  {:>14} {:>12}", "layer", "operation", "ms", "large buffers", "at most");
    options.cases.iter().try_for_each(|case| measure(&options, case, &device))
}

fn measure(options: &Options, case: &str, device: &Device) -> Result<(), StepError> {
    let layer = layer(case, device)?;
    let mut all = Operation::ALL.map(|operation| (operation, Reading::default()));
    for _ in 0..options.rounds {
        for (operation, reading) in &mut all {
            for call in 0..=options.calls {
                reading.take(&*layer, *operation, (device, call > 0))?;
            }
        }
    }
    for (operation, reading) in all {
        report(options, case, operation, reading)?;
    }
    Ok(())
}

fn report(options: &Options, case: &str, operation: Operation, reading: Reading) -> Result<(), StepError> {
    let Reading { seconds, large, peak } = reading;
    let seconds = Seconds::of(seconds).ok_or("nothing was timed: give --rounds and --calls above 0")?;
    let [low, median, high] = [seconds.first_decile, seconds.median, seconds.last_decile].map(|s| 1e3 * s);
    let [large, peak_kib] = [large, peak].map(|bytes| bytes >> 10);
    println!("{case:<14} {operation:<24} {median:9.4} ({low:.4}-{high:.4})  {large:10} KiB {peak_kib:8} KiB");
    let Some(path) = &options.json else { return Ok(()) };
    Measurement {
        bench: "layer".into(),
        case: case.to_owned(),
        variant: operation.to_string(),
        by: Framework::Braidnet,
        ranks: 1,
        transport: Transport::None,
        device: device_name(options.device.device),
        seconds: Some(seconds),
        peak_bytes: Some(peak as u64),
        ..Measurement::default()
    }
    .append(path)?;
    Ok(())
}
