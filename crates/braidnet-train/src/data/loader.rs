//! A thread that loads one step ahead.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use braidnet_comm::{set_thread_rank, thread_rank};
use tracing::trace_span;

use crate::data::feed::{BatchReader, End};
use crate::data::{Feed, LoadError, Order, Shards, StepPlan};

/// What of an epoch is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochPlan {
    /// Samples in the epoch; said here because ranks without a source need it too.
    pub n: usize,
    /// How each global batch is cut.
    pub shards: Shards,
    /// The order of the samples.
    pub order: Order,
    /// Where to start: samples of the epoch that earlier steps had.
    pub position: usize,
}

/// The data of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedStep<I, T> {
    /// Samples of the epoch up to the end of this step: where a run that stops here goes on.
    pub position_after: usize,
    /// Samples in the global batch.
    pub global: usize,
    /// This rank's micro-batches; none where its shard is empty.
    pub micro: Vec<Micro<I, T>>,
}

/// A micro-batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Micro<I, T> {
    /// Samples in it, at least 1.
    pub size: usize,
    /// Samples of the global batch before it.
    pub first: usize,
    /// The input; `None` where no inputs are fed.
    pub input: Option<I>,
    /// The target; `None` where no targets are fed.
    pub target: Option<T>,
}

/// The steps of an epoch, loaded by a thread of its own one step ahead: while one is trained on, the next is read.
///
/// After an error the epoch is over. Dropping the loader ends its thread and waits for it: for the reading of a few
/// samples, the first filling of a stream's buffer, or the making of one micro-batch. A source that blocks for ever
/// blocks the drop.
pub struct Loader<I, T> {
    // Dropped before `thread`: that frees a thread that waits to hand over a step.
    steps: Receiver<Result<LoadedStep<I, T>, LoadError>>,
    thread: Thread,
    position: usize,
    waited: Duration,
}

impl<I: Send + 'static, T: Send + 'static> Loader<I, T> {
    /// Starts loading.
    ///
    /// Inputs are needed on the first layer rank, targets on the last; the others pass `None` and get sizes. The thread
    /// is called `rank R loader` where the calling thread works for rank R.
    ///
    /// # Errors
    /// [`LoadError::WrongLength`] where a feed does not have the samples of the plan; as [`Shards::steps`]; if the
    /// thread cannot be started.
    ///
    /// # Communication
    /// None: every rank loads by itself, and the plan makes the parts fit.
    pub fn start(inputs: Option<&Feed<I>>, targets: Option<&Feed<T>>, plan: EpochPlan) -> Result<Self, LoadError> {
        check_length("inputs", inputs.map(Feed::len), plan.n)?;
        check_length("targets", targets.map(Feed::len), plan.n)?;
        let plans = plan.shards.steps(plan.n, plan.position)?;
        let (inputs, targets) = (inputs.cloned(), targets.cloned());
        // No room in the channel: a step that waits in the thread's hands is the one step ahead.
        let (sender, steps) = sync_channel(0);
        let thread = Thread::start(move |stop| {
            let work = Work { inputs, targets, plan, stop };
            if let Err(End::Failed(error)) = work.run(plans, &sender) {
                // Nobody hears it where the loader has been dropped, and nobody needs to.
                let _ = sender.send(Err(error));
            }
        })?;
        Ok(Self { steps, thread, position: plan.position, waited: Duration::ZERO })
    }
}

impl<I, T> Loader<I, T> {
    /// How long [`next`](Iterator::next) has waited for data, in total.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl<I, T> Iterator for Loader<I, T> {
    type Item = Result<LoadedStep<I, T>, LoadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = Instant::now();
        let received = self.steps.recv();
        self.waited += start.elapsed();
        let result = match received {
            Ok(result) => result,
            // The thread is gone: at the end of the epoch, after an error, or by a panic.
            Err(_) => Err(LoadError::Panicked { message: self.thread.join()? }),
        };
        Some(match result {
            Ok(step) => {
                self.position = step.position_after;
                Ok(step)
            }
            Err(error) => Err(LoadError::Step { position: self.position, source: Box::new(error) }),
        })
    }
}

fn check_length(what: &'static str, got: Option<usize>, expected: usize) -> Result<(), LoadError> {
    match got {
        Some(got) if got != expected => Err(LoadError::WrongLength { what, expected, got }),
        _ => Ok(()),
    }
}

/// What the thread does.
struct Work<I, T> {
    inputs: Option<Feed<I>>,
    targets: Option<Feed<T>>,
    plan: EpochPlan,
    stop: Arc<AtomicBool>,
}

type Sender<I, T> = SyncSender<Result<LoadedStep<I, T>, LoadError>>;

impl<I, T> Work<I, T> {
    fn run(&self, plans: impl Iterator<Item = StepPlan>, sender: &Sender<I, T>) -> Result<(), End> {
        let span = || trace_span!(target: braidnet_monitor::timeline::TARGET, "load");
        let (mut inputs, mut targets) = span().in_scope(|| -> Result<_, End> {
            Ok((self.open(self.inputs.as_ref())?, self.open(self.targets.as_ref())?))
        })?;
        for plan in plans {
            let step = span().in_scope(|| self.load(&plan, &mut inputs, &mut targets))?;
            sender.send(Ok(step)).map_err(|_| End::Dropped)?;
        }
        Ok(())
    }

    /// The reader of a feed, at the place where the epoch starts.
    fn open<'a, B>(&self, feed: Option<&'a Feed<B>>) -> Result<FeedReader<'a, B>, End> {
        let mut reader = FeedReader(feed.map(|feed| feed.epoch(self.plan.order)).transpose()?);
        reader.skip(self.plan.position, &self.stop)?;
        Ok(reader)
    }

    fn load(
        &self,
        plan: &StepPlan,
        inputs: &mut FeedReader<'_, I>,
        targets: &mut FeedReader<'_, T>,
    ) -> Result<LoadedStep<I, T>, End> {
        inputs.skip(plan.skip_before, &self.stop)?;
        targets.skip(plan.skip_before, &self.stop)?;
        let mut micro = Vec::with_capacity(plan.micro.len());
        let mut first = plan.skip_before;
        for &size in &plan.micro {
            let (input, target) = (inputs.read(size, &self.stop)?, targets.read(size, &self.stop)?);
            micro.push(Micro { size, first, input, target });
            first += size;
        }
        inputs.skip(plan.skip_after, &self.stop)?;
        targets.skip(plan.skip_after, &self.stop)?;
        Ok(LoadedStep { position_after: plan.position_after(), global: plan.global, micro })
    }
}

/// The reader of a feed, or of none.
struct FeedReader<'a, B>(Option<Box<dyn BatchReader<B> + 'a>>);

impl<B> FeedReader<'_, B> {
    fn skip(&mut self, n: usize, stop: &AtomicBool) -> Result<(), End> {
        self.0.as_mut().map_or(Ok(()), |reader| reader.skip(n, stop))
    }

    fn read(&mut self, n: usize, stop: &AtomicBool) -> Result<Option<B>, End> {
        self.0.as_mut().map(|reader| reader.read(n, stop)).transpose()
    }
}

/// A thread that is told to stop, and waited for, when this is dropped.
struct Thread {
    stop: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    fn start(work: impl FnOnce(Arc<AtomicBool>) + Send + 'static) -> Result<Self, LoadError> {
        let rank = thread_rank();
        let name = rank.map_or_else(|| "loader".to_owned(), |rank| format!("rank {rank} loader"));
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let body = move || {
            if let Some(rank) = rank {
                set_thread_rank(rank);
            }
            work(theirs);
        };
        let handle = Builder::new().name(name).spawn(body).map_err(LoadError::Thread)?;
        Ok(Self { stop, handle: Some(handle) })
    }

    /// Waits for the end of the thread; if it panicked, what the panic said. `None` ever after.
    fn join(&mut self) -> Option<String> {
        self.handle.take()?.join().err().map(|panic| said(panic.as_ref()))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.join();
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests;
