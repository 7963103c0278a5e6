//! The spans of this process: whether they are recorded, and where they are kept.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use braidnet_comm::thread_rank;
use serde_json::Value;
use tracing::callsite::rebuild_interest_cache;

/// The spans that a process keeps.
const LIMIT: usize = 2_000_000;

/// The fields of a span; of two with one name the later counts.
pub type Args = Vec<(&'static str, Value)>;

/// A span that has ended.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub name: &'static str,
    /// The rank that the thread worked for.
    pub rank: Option<usize>,
    /// The number of the thread in this process.
    pub thread: usize,
    /// On the clock of this process.
    pub start_ns: u64,
    pub duration_ns: u64,
    pub args: Args,
}

/// The spans of one thread.
#[derive(Debug)]
struct Buffer {
    thread: usize,
    name: String,
    events: Mutex<Vec<Recorded>>,
}

/// The spans of all threads.
#[derive(Debug)]
struct Recorder {
    buffers: Mutex<Vec<Arc<Buffer>>>,
    limit: usize,
    n_events: AtomicUsize,
    n_dropped: AtomicU64,
}

/// What one rank takes out.
#[derive(Debug, Default)]
pub struct Taken {
    pub events: Vec<Recorded>,
    /// Number and name of their threads.
    pub threads: Vec<(usize, String)>,
    /// The spans of the process that found no room.
    pub n_dropped: u64,
}

static IS_ON: AtomicBool = AtomicBool::new(false);
/// The ranks of this process that record.
static RECORDING: Mutex<BTreeSet<Option<usize>>> = Mutex::new(BTreeSet::new());
static RECORDER: Recorder = Recorder::new(LIMIT);

thread_local! {
    static BUFFER: OnceCell<Arc<Buffer>> = const { OnceCell::new() };
}

/// Begins or ends recording on behalf of the calling thread's rank.
///
/// Ranks that are threads share one switch: it is on while any of them records, so that the first rank to leave a window
/// of steps does not cut the others' short. Spans that are open then are recorded when they end.
pub fn record(on: bool) {
    let mut recording = lock(&RECORDING);
    let rank = thread_rank();
    if on {
        recording.insert(rank);
    } else {
        recording.remove(&rank);
    }
    let any = !recording.is_empty();
    if IS_ON.swap(any, Ordering::SeqCst) != any {
        // Spans ask once whether anybody wants them and remember the answer; it has changed.
        rebuild_interest_cache();
    }
}

/// Whether any rank of this process records.
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Nanoseconds on the one clock of this process.
pub fn now_ns() -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    EPOCH.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Keeps a span of the calling thread that began at `start_ns` and ends now.
pub fn keep(name: &'static str, start_ns: u64, args: Args) {
    let duration_ns = now_ns() - start_ns;
    // No destructor of a thread's locals may miss its buffer: the span is lost with the thread then.
    let _ = BUFFER.try_with(|buffer| {
        let buffer = buffer.get_or_init(|| RECORDER.add_thread());
        let (rank, thread) = (thread_rank(), buffer.thread);
        RECORDER.keep(buffer, Recorded { name, rank, thread, start_ns, duration_ns, args });
    });
}

/// Takes out the spans of one rank, by start, outer before inner; `with_unassigned`: also those of threads without a
/// rank, and the count of the process's lost ones.
pub fn take(rank: Option<usize>, with_unassigned: bool) -> Taken {
    RECORDER.take(rank, with_unassigned)
}

impl Recorder {
    const fn new(limit: usize) -> Self {
        Self { buffers: Mutex::new(Vec::new()), limit, n_events: AtomicUsize::new(0), n_dropped: AtomicU64::new(0) }
    }

    /// A buffer for the calling thread.
    fn add_thread(&self) -> Arc<Buffer> {
        let mut buffers = lock(&self.buffers);
        // Buffers of threads that are gone have no other holder; an empty one is of no use any more.
        buffers.retain(|buffer| Arc::strong_count(buffer) > 1 || !lock(&buffer.events).is_empty());
        let thread = buffers.last().map_or(0, |last| last.thread + 1);
        let name = thread::current().name().map_or(format!("thread {thread}"), str::to_owned);
        let buffer = Arc::new(Buffer { thread, name, events: Mutex::default() });
        buffers.push(Arc::clone(&buffer));
        buffer
    }

    fn keep(&self, buffer: &Buffer, event: Recorded) {
        if self.n_events.fetch_add(1, Ordering::Relaxed) < self.limit {
            lock(&buffer.events).push(event);
        } else {
            self.n_events.fetch_sub(1, Ordering::Relaxed);
            self.n_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take(&self, rank: Option<usize>, with_unassigned: bool) -> Taken {
        let mut taken = Taken::default();
        for buffer in lock(&self.buffers).iter() {
            let mut events = lock(&buffer.events);
            let is_mine = |event: &Recorded| event.rank == rank || (with_unassigned && event.rank.is_none());
            let (mine, others): (Vec<_>, Vec<_>) = mem::take(&mut *events).into_iter().partition(is_mine);
            *events = others;
            if !mine.is_empty() {
                taken.threads.push((buffer.thread, buffer.name.clone()));
                taken.events.extend(mine);
            }
        }
        self.n_events.fetch_sub(taken.events.len(), Ordering::Relaxed);
        taken.events.sort_by_key(|event| (event.start_ns, u64::MAX - event.duration_ns));
        if with_unassigned {
            taken.n_dropped = self.n_dropped.swap(0, Ordering::Relaxed);
        }
        taken
    }
}

/// A panic elsewhere leaves these collections whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(buffer: &Buffer, rank: Option<usize>, start_ns: u64, duration_ns: u64) -> Recorded {
        Recorded { name: "wait", rank, thread: buffer.thread, start_ns, duration_ns, args: Args::new() }
    }

    #[test]
    fn past_the_limit_spans_are_counted_and_there_is_room_again_after_taking() {
        let recorder = Recorder::new(3);
        let buffer = recorder.add_thread();
        for start in 0..5 {
            recorder.keep(&buffer, event(&buffer, Some(0), start, 1));
        }
        let taken = recorder.take(Some(0), true);
        assert_eq!((taken.events.len(), taken.n_dropped), (3, 2));
        recorder.keep(&buffer, event(&buffer, Some(0), 9, 1));
        let taken = recorder.take(Some(0), true);
        assert_eq!((taken.events.len(), taken.n_dropped), (1, 0));
    }

    #[test]
    fn every_rank_takes_its_own_once_and_one_takes_the_rest() {
        let recorder = Recorder::new(LIMIT);
        let buffers = [recorder.add_thread(), recorder.add_thread()];
        for (buffer, rank) in [(0, Some(0)), (1, Some(1)), (1, None), (0, Some(1))] {
            recorder.keep(&buffers[buffer], event(&buffers[buffer], rank, 0, 1));
        }
        assert_eq!(recorder.take(Some(1), false).events.len(), 2);
        assert_eq!(recorder.take(Some(0), true).events.len(), 2);
        assert_eq!(recorder.take(Some(0), true).events.len(), 0);
        assert_eq!(recorder.take(Some(1), true).events.len(), 0);
    }

    #[test]
    fn spans_come_by_start_and_outer_before_inner() {
        let recorder = Recorder::new(LIMIT);
        let buffer = recorder.add_thread();
        for (start, duration) in [(5, 1), (2, 1), (2, 9)] {
            recorder.keep(&buffer, event(&buffer, None, start, duration));
        }
        let order: Vec<_> = recorder.take(None, true).events.iter().map(|e| (e.start_ns, e.duration_ns)).collect();
        assert_eq!(order, [(2, 9), (2, 1), (5, 1)]);
    }

    #[test]
    fn buffers_of_ended_threads_go_once_empty() {
        let recorder = Recorder::new(LIMIT);
        let ended = recorder.add_thread();
        recorder.keep(&ended, event(&ended, None, 0, 1));
        drop(ended);
        let _second = recorder.add_thread();
        assert_eq!(lock(&recorder.buffers).len(), 2);
        recorder.take(None, true);
        let third = recorder.add_thread();
        assert_eq!((lock(&recorder.buffers).len(), third.thread), (2, 2));
    }
}
