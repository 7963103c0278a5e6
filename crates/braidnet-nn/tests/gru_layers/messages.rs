//! Batches travel: what arrives is what was sent, and nothing else is taken for a batch.

use braidnet_comm::Transfer;
use braidnet_nn::gru::GruBatch;
use proptest::prelude::*;

use crate::*;

fn packed(batch: &GruBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    batch.pack(&mut bytes);
    assert_eq!(bytes.len(), batch.n_bytes());
    bytes
}

fn unpacked(bytes: &[u8]) -> Result<GruBatch, String> {
    GruBatch::unpack(bytes, &Device::flex()).map_err(|error| error.to_string())
}

fn config(takes_tokens: bool) -> GruConfig {
    let inputs = if takes_tokens { GruInputs::Tokens { vocabulary: 7, width: 2 } } else { GruInputs::Features(2) };
    GruConfig { inputs, ..GruConfig::new(5, 2, 3, 2, 2) }
}

/// Tokens and features, with and without lengths.
fn batches() -> Vec<(GruNet, GruBatch)> {
    let kinds = [(false, None), (false, Some(vec![5, 2, 1])), (true, None), (true, Some(vec![1, 5, 3]))];
    let batch = |(takes_tokens, lengths)| {
        let config = config(takes_tokens);
        let (net, input) = (in_single(in_double(&config)), sequences_in_single(&sequences(&config, 3, lengths)));
        let batch = net.batch(&input, Pass::Evaluation);
        (net, batch)
    };
    kinds.map(batch).into()
}

/// States that a network makes of a batch.
fn states(net: &GruNet, batch: &GruBatch) -> Vec<TensorState<3>> {
    let batch = net.prepare(batch.clone());
    let mut state = TensorState(random([2, 3, 3], 4).cast(DType::F32));
    let each = steps(net.config(), 2, 0);
    let block = net.block(&batch);
    let step = |step: &Step| {
        block.linearize(step, &mut state, Output::Used).unwrap();
        state.clone()
    };
    each.iter().map(step).collect()
}

#[test]
fn what_arrives_is_what_was_sent() {
    for (net, batch) in batches() {
        let bytes = packed(&batch);
        let arrived = unpacked(&bytes).unwrap();
        assert_eq!(packed(&arrived), bytes);
        same_bits(&states(&net, &arrived), &states(&net, &batch), "states");
        // What a rank has prepared stays there.
        assert_eq!(packed(&net.prepare(batch)), bytes);
    }
}

#[test]
fn lengths_travel_only_where_they_say_something() {
    let size = |lengths| {
        let config = config(true);
        packed(&in_double(&config).batch(&sequences(&config, 3, lengths), Pass::Evaluation)).len()
    };
    assert_eq!(size(None), 24 + 4 * 15);
    assert_eq!(size(Some(vec![5; 3])), size(None));
    assert_eq!(size(Some(vec![5, 4, 5])), size(None) + 4 * 3);
}

#[test]
fn the_largest_batch_is_at_least_as_large() {
    for (net, batch) in batches() {
        let largest = net.largest_batch(3);
        assert!(largest.n_bytes() + 4 * 3 >= batch.n_bytes());
        assert_eq!(net.state_bytes(0, &largest), net.zero_states(&batch).at(0).n_bytes());
        let tape = |samples| net.tape_bytes(0, &net.largest_batch(samples));
        assert!(tape(1) > 0 && tape(3) == 3 * tape(1));
    }
}

#[test]
fn what_is_cut_off_is_refused() {
    for (_, batch) in batches() {
        let bytes = packed(&batch);
        for n in 0..bytes.len() {
            let message = unpacked(&bytes[..n]).err();
            let message = message.unwrap_or_else(|| panic!("{n} of {} bytes were taken for a batch", bytes.len()));
            assert!(message.contains("batch of sequences") || message.contains("tensor"), "{message}");
        }
        let longer = [&bytes[..], &[0; 4]].concat();
        assert!(unpacked(&longer).is_err());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..96),
        samples in prop_oneof![0..9_u64, any::<u64>()],
        length in prop_oneof![0..9_u64, any::<u64>()],
        flags in 0..8_u64,
        has_header: bool,
    ) {
        let head = [samples.to_le_bytes(), length.to_le_bytes(), flags.to_le_bytes()].concat();
        let _ = unpacked(&if has_header { [head, bytes].concat() } else { bytes });
    }

    /// Where one byte is another, nothing panics.
    #[test]
    fn a_wrong_byte_never_panics(which in 0..4_usize, at: prop::sample::Index, byte: u8) {
        let (_, batch) = batches().swap_remove(which);
        let mut bytes = packed(&batch);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = unpacked(&bytes);
    }
}
