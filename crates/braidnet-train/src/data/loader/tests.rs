#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread::sleep;

use braidnet_data::sampler::epoch_order;
use burn_dataset::{Dataset, DatasetError, InMemDataset};
use proptest::prelude::*;

use super::*;
use crate::data::{InMemory, Reader, Source, Stream};

type Step = LoadedStep<Vec<usize>, Vec<String>>;

const SHUFFLED: Order = Order::Shuffled { seed: 3, epoch: 5 };

fn plan(n: usize, batch: usize, order: Order) -> EpochPlan {
    EpochPlan { n, shards: Shards { batch, micro_batches: 2, data_ranks: 1, data_rank: 0 }, order, position: 0 }
}

fn inputs(n: usize) -> Feed<Vec<usize>> {
    Feed::new(InMemory(InMemDataset::new((0..n).collect())), |samples| samples)
}

fn targets(n: usize) -> Feed<Vec<String>> {
    Feed::new(InMemory(InMemDataset::new((0..n).map(|i| i.to_string()).collect())), |samples| samples)
}

fn load_all(inputs: &Feed<Vec<usize>>, targets: &Feed<Vec<String>>, plan: EpochPlan) -> Vec<Step> {
    Loader::start(Some(inputs), Some(targets), plan).unwrap().map(Result::unwrap).collect()
}

/// The first error of a loader of inputs only; checks that nothing comes after it.
fn first_error<I: Send + 'static>(inputs: &Feed<I>, plan: EpochPlan) -> LoadError {
    let mut loader = Loader::<I, ()>::start(Some(inputs), None, plan).unwrap();
    let error = loader.find_map(Result::err).unwrap();
    assert!(loader.next().is_none() && loader.next().is_none());
    error
}

/// A stream of `n` numbers whose items are made by `item`.
fn stream(
    n: usize,
    item: impl Fn(usize) -> Result<usize, &'static str> + Clone + Send + Sync + 'static,
) -> Feed<usize> {
    let source = Stream::new(n, 1, move || (0..n).map(item.clone()));
    Feed::new(source, |samples: Vec<usize>| samples.len())
}

#[test]
fn a_step_is_loaded_before_it_is_asked_for_and_no_more_than_one() {
    let (sender, made) = channel();
    let feed = Feed::new(InMemory(InMemDataset::new((0..9).collect())), move |samples: Vec<usize>| {
        sender.send(samples[0]).unwrap();
    });
    let shards = Shards { batch: 3, micro_batches: 1, data_ranks: 1, data_rank: 0 };
    let mut loader =
        Loader::<(), ()>::start(Some(&feed), None, EpochPlan { shards, ..plan(9, 3, Order::AsStored) }).unwrap();
    for first in [0, 3, 6] {
        // Comes although nobody has asked for this step: else the test would hang here.
        assert_eq!(made.recv().unwrap(), first);
        // Time for a loader that reads further to do so.
        sleep(Duration::from_millis(10));
        assert_eq!(made.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(loader.next().unwrap().unwrap().position_after, first + 3);
    }
    assert!(loader.next().is_none());
}

#[test]
fn ranks_without_a_source_get_sizes_and_those_with_one_feed_no_more_than_that() {
    let plan = plan(7, 4, SHUFFLED);
    let sizes = |step: &LoadedStep<_, _>| step.micro.iter().map(|m: &Micro<_, _>| m.size).collect::<Vec<_>>();
    let middle: Vec<Step> = Loader::start(None, None, plan).unwrap().map(Result::unwrap).collect();
    assert_eq!(middle.iter().map(sizes).collect::<Vec<_>>(), [[2, 2], [2, 1]]);
    assert!(middle.iter().flat_map(|step| &step.micro).all(|m| m.input.is_none() && m.target.is_none()));
    let last: Vec<Step> = Loader::start(None, Some(&targets(7)), plan).unwrap().map(Result::unwrap).collect();
    assert_eq!(last.iter().map(sizes).collect::<Vec<_>>(), [[2, 2], [2, 1]]);
    assert!(last.iter().flat_map(|step| &step.micro).all(|m| m.input.is_none() && m.target.is_some()));
}

#[test]
fn the_thread_is_named_after_its_rank() {
    let identity = |_: Vec<usize>| (std::thread::current().name().map(str::to_owned), thread_rank());
    let feed = Feed::new(InMemory(InMemDataset::new(vec![0_usize])), identity);
    let start = || Loader::<_, ()>::start(Some(&feed), None, plan(1, 1, SHUFFLED)).unwrap().next().unwrap().unwrap();
    assert_eq!(start().micro[0].input, Some((Some("loader".to_owned()), None)));
    set_thread_rank(6);
    assert_eq!(start().micro[0].input, Some((Some("rank 6 loader".to_owned()), Some(6))));
}

#[test]
fn feeds_of_another_length_and_wrong_plans_are_refused_at_once() {
    let error = |inputs, targets, plan| Loader::start(Some(inputs), Some(targets), plan).err().unwrap().to_string();
    let (inputs, targets) = (&inputs(5), &targets(4));
    assert!(error(inputs, targets, plan(5, 2, SHUFFLED)).starts_with("4 targets for an epoch of 5 samples"));
    assert!(error(inputs, targets, plan(4, 2, SHUFFLED)).starts_with("5 inputs for an epoch of 4 samples"));
    let past = EpochPlan { position: 6, ..plan(5, 2, SHUFFLED) };
    assert!(matches!(Loader::<(), ()>::start(None, None, past), Err(LoadError::PositionPastEnd { .. })));
    assert!(matches!(Loader::<(), ()>::start(None, None, plan(5, 0, SHUFFLED)), Err(LoadError::Zero { .. })));
}

#[test]
fn an_error_of_the_source_comes_once_with_the_position() {
    let feed = stream(10, |i| if i == 7 { Err("torn page") } else { Ok(i) });
    let error = first_error(&feed, plan(10, 3, Order::AsStored));
    assert_eq!(error.to_string(), "cannot load the step at sample 6 of the epoch: cannot read sample 7: torn page");
    // Where another rank has the torn sample, this one finds out as it passes by.
    let shards = Shards { batch: 10, micro_batches: 1, data_ranks: 2, data_rank: 0 };
    let error = first_error(&feed, EpochPlan { shards, ..plan(10, 10, Order::AsStored) });
    assert!(error.to_string().contains("cannot read sample 7"), "{error}");
}

#[test]
fn a_panic_comes_once_as_an_error() {
    let panicking = |samples: Vec<usize>| assert!(!samples.contains(&5), "sample 5 is cursed");
    let feed = Feed::new(InMemory(InMemDataset::new((0..8).collect())), panicking);
    let error = first_error(&feed, plan(8, 4, Order::AsStored)).to_string();
    assert!(
        error.starts_with("cannot load the step at sample 4 of the epoch: the loader panicked: sample 5"),
        "{error}"
    );
    let error = first_error(&stream(3, |_| panic!("constant")), plan(3, 3, SHUFFLED)).to_string();
    assert!(error.ends_with("the loader panicked: constant"), "{error}");
}

/// Gives one sample less than asked for.
struct Stingy;

impl Source<u8> for Stingy {
    fn len(&self) -> usize {
        4
    }

    fn epoch<'a>(&'a self, _: Order) -> Result<Box<dyn Reader<u8> + Send + 'a>, LoadError> {
        Ok(Box::new(Self))
    }
}

impl Reader<u8> for Stingy {
    fn skip(&mut self, _: usize) -> Result<(), LoadError> {
        Ok(())
    }

    fn read(&mut self, n: usize, out: &mut Vec<u8>) -> Result<(), LoadError> {
        out.extend(vec![0; n - 1]);
        Ok(())
    }
}

#[test]
fn a_reader_that_gives_too_little_is_found_out() {
    let error = first_error(&Feed::new(Stingy, |samples| samples), plan(4, 4, SHUFFLED));
    let LoadError::Step { position: 0, source } = error else { panic!("{error}") };
    assert!(matches!(*source, LoadError::WrongCount { expected: 2, got: 1 }), "{source}");
}

#[test]
fn dropping_a_loader_that_waits_to_hand_over_ends_its_thread() {
    let source = Arc::new(InMemory(InMemDataset::new((0..100).collect::<Vec<usize>>())));
    for taken in 0..3 {
        let feed = Feed::new(Arc::clone(&source), |samples: Vec<usize>| samples);
        let mut loader = Loader::<_, ()>::start(Some(&feed), None, plan(100, 10, SHUFFLED)).unwrap();
        drop(feed);
        assert_eq!(loader.by_ref().take(taken).count(), taken);
        assert_eq!(Arc::strong_count(&source), 2);
        drop(loader);
        // The thread had the only other handle.
        assert_eq!(Arc::strong_count(&source), 1);
    }
}

#[test]
fn dropping_a_loader_that_reads_or_skips_ends_its_thread_before_the_batch_is_full() {
    const N: usize = 1 << 40;
    // Read as one batch; skipped to the shard of rank 1; skipped to the position.
    let one_rank = Shards { batch: N, micro_batches: 1, data_ranks: 1, data_rank: 0 };
    let second_rank = Shards { data_ranks: 2, data_rank: 1, ..one_rank };
    for (shards, position) in [(one_rank, 0), (second_rank, 0), (one_rank, N - 1)] {
        let read = Arc::new(AtomicUsize::new(0));
        let (sender, started) = channel();
        let counter = Arc::clone(&read);
        let feed = stream(N, move |i| {
            if counter.fetch_add(1, Ordering::Relaxed) == 0 {
                sender.send(()).unwrap();
            }
            Ok(i)
        });
        let plan = EpochPlan { n: N, shards, order: Order::AsStored, position };
        let loader = Loader::<_, ()>::start(Some(&feed), None, plan).unwrap();
        started.recv().unwrap();
        drop(loader);
        let after = read.load(Ordering::Relaxed);
        assert!(after < N / 2, "{after} samples read");
        assert_eq!(Arc::strong_count(&read), 2, "the iterator is still there");
    }
}

/// Never has a sample 4.
struct Short;

impl Dataset<u8> for Short {
    fn get(&self, index: usize) -> Result<u8, DatasetError> {
        Ok([1, 2, 3, 4][index])
    }

    fn len(&self) -> usize {
        5
    }
}

#[test]
fn a_data_set_that_panics_ends_the_epoch() {
    let error = first_error(&Feed::new(InMemory(Short), |samples| samples), plan(5, 1, Order::AsStored));
    assert!(matches!(error, LoadError::Step { position: 4, .. }), "{error}");
}

/// The samples of each global batch, from the loaders of all data ranks together.
fn global_batches(n: usize, order: Order, shards: Shards, position: usize, streamed: bool) -> Vec<(usize, Vec<usize>)> {
    let (inputs, targets) = if streamed {
        let text = |i: usize| Ok::<_, Infallible>(i.to_string());
        (
            Feed::new(Stream::new(n, 7, move || (0..n).map(Ok::<_, Infallible>)), |samples| samples),
            Feed::new(Stream::new(n, 7, move || (0..n).map(text)), |samples| samples),
        )
    } else {
        (inputs(n), targets(n))
    };
    let mut batches: Vec<(usize, Vec<usize>)> = Vec::new();
    for data_rank in 0..shards.data_ranks {
        let plan = EpochPlan { n, shards: Shards { data_rank, ..shards }, order, position };
        let steps = load_all(&inputs, &targets, plan);
        batches.resize(steps.len(), (0, Vec::new()));
        for (batch, step) in batches.iter_mut().zip(steps) {
            batch.0 = step.position_after;
            for micro in step.micro {
                let (input, target) = (micro.input.unwrap(), micro.target.unwrap());
                assert_eq!(input.len(), micro.size);
                assert_eq!(input.iter().map(usize::to_string).collect::<Vec<_>>(), target);
                batch.1.extend(input);
            }
        }
    }
    batches
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_number_of_data_ranks_trains_on_the_same_batches_also_after_a_resume(
        n in 0_usize..60, batch in 1_usize..20, micro_batches in 1_usize..5, data_ranks in 1_usize..5,
        then in 1_usize..5, resume_at in 0_usize..8, streamed: bool,
    ) {
        let shards = Shards { batch, micro_batches, data_ranks, data_rank: 0 };
        let one = Shards { micro_batches: 1, data_ranks: 1, ..shards };
        let expected = global_batches(n, SHUFFLED, one, 0, streamed);
        if !streamed {
            let order = epoch_order(n, 3, 5);
            let chunks: Vec<&[usize]> = order.chunks(batch).collect();
            prop_assert_eq!(expected.iter().map(|(_, samples)| samples.as_slice()).collect::<Vec<_>>(), chunks);
        }
        prop_assert_eq!(&global_batches(n, SHUFFLED, shards, 0, streamed), &expected);
        if let Some((position, _)) = expected.get(resume_at) {
            let resumed = global_batches(n, SHUFFLED, Shards { data_ranks: then, ..shards }, *position, streamed);
            prop_assert_eq!(&resumed[..], &expected[resume_at + 1..]);
        }
    }
}
