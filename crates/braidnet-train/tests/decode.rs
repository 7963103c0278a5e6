//! Greedy decoding: token by token, many samples at once, on any number of ranks.
#![allow(clippy::unwrap_used)]

use braidnet_comm::{Communicator, Launch, launch};
use braidnet_grid::Partition;
use braidnet_nn::CoarseOperator;
use braidnet_nn::transformer::{EncoderDecoder, EncoderDecoderConfig, SourceTarget};
use braidnet_train::{Decoding, LayerParallel, Schedule, SolveConfig, TrainError};
use burn::tensor::{Device, Int, Tensor, TensorData};

const SOURCES: [&[i64]; 4] = [&[4, 5, 6, 2], &[5, 2], &[6, 6, 4, 3, 2], &[2]];
const BEGIN: u32 = 1;
const MAX_LENGTH: usize = 6;

fn tokens(rows: &[&[i64]]) -> Tensor<2, Int> {
    let longest = rows.iter().map(|row| row.len()).max().unwrap();
    let padded = rows.iter().flat_map(|row| row.iter().copied().chain(std::iter::repeat(0)).take(longest));
    let ids: Vec<i64> = padded.collect();
    Tensor::from_data(TensorData::new(ids, [rows.len(), longest]), &Device::flex())
}

/// A network that was never trained, of a schedule whose own forward pass is not exact.
fn model(comm: &Communicator) -> LayerParallel<EncoderDecoder> {
    let config = EncoderDecoderConfig {
        max_lengths: [5, MAX_LENGTH],
        // Runs may lie on two ranks.
        coarse: CoarseOperator::FirstLayer,
        ..EncoderDecoderConfig::new(4, 8, [7, 9])
    };
    let grid = config.grid().unwrap();
    let partition = Partition::even(grid.n_steps(), comm.size()).unwrap();
    let network = config.init(partition.layers(comm.rank()), 1, 5, &Device::flex()).unwrap();
    LayerParallel::new(network, &grid, &partition, &Schedule::layer_parallel(SolveConfig::new(2)), comm).unwrap()
}

fn decode(comm: &Communicator, sources: &[&[i64]], end: u32) -> Result<Vec<Vec<u32>>, TrainError> {
    let how = Decoding { begin: BEGIN, end, max_length: MAX_LENGTH };
    model(comm).decode(sources.len(), how, |target| SourceTarget { source: tokens(sources), target })
}

/// The sequence of one source, spelled out: its tokens and how many of them come before `end`.
fn spelled_out(source: &[i64], end: u32) -> Vec<u32> {
    let mut model = model(&Communicator::alone());
    let mut known = vec![i64::from(BEGIN)];
    while known.len() <= MAX_LENGTH {
        let input = SourceTarget { source: tokens(&[source]), target: tokens(&[&known]) };
        let logits = model.evaluate_exact(1, Some(&input)).unwrap().unwrap();
        let logits: Vec<f32> = logits.into_data().iter::<f32>().collect();
        let last = &logits[logits.len() - 9..];
        let best = (0..9).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap();
        if best as u32 == end {
            break;
        }
        known.push(best as i64);
    }
    known[1..].iter().map(|token| *token as u32).collect()
}

#[test]
fn every_sample_is_decoded_as_it_is_alone_on_any_number_of_ranks() {
    // Whatever the network says most ends some sequences early and none of the others.
    let all: Vec<Vec<u32>> = SOURCES.iter().map(|source| spelled_out(source, u32::MAX)).collect();
    let mut lengths = std::collections::BTreeSet::new();
    for end in 0..9 {
        let expected: Vec<Vec<u32>> = SOURCES.iter().map(|source| spelled_out(source, end)).collect();
        lengths.extend(expected.iter().map(Vec::len));
        for n in 1..=3 {
            launch(&Launch::ranks(n), |world| {
                let found = decode(&world, &SOURCES, end).map_err(|error| error.to_string())?;
                if found == expected { Ok(()) } else { Err(format!("end {end}: {found:?}, not {expected:?}")) }
            })
            .unwrap();
        }
    }
    assert!(all.iter().any(|tokens| *tokens != all[0]), "sources make no difference: a test of nothing");
    assert!(lengths.len() > 2 && lengths.contains(&MAX_LENGTH), "lengths {lengths:?}: a test of little");
}

#[test]
fn nothing_is_decoded_of_no_samples() {
    assert!(decode(&Communicator::alone(), &[], 2).unwrap().is_empty());
}

#[test]
fn more_tokens_than_positions_are_refused() {
    let how = Decoding { begin: BEGIN, end: u32::MAX, max_length: MAX_LENGTH + 1 };
    let input = |target| SourceTarget { source: tokens(&SOURCES), target };
    let error = model(&Communicator::alone()).decode(SOURCES.len(), how, input).unwrap_err();
    assert!(error.to_string().contains('7') && error.to_string().contains('6'), "{error}");
}
