//! Shapes, kinds of layers and the estimates of memory.

use braidnet_comm::Transfer;
use braidnet_grid::StepKind;
use braidnet_nn::{BlockNet, BlockNetConfig, ConvRhs, Network, NormKind, Pass, RightHandSide};

use crate::*;

/// Layers `o o t o t o o o`: transitions 2 and 4, so that points 3 and 4 belong to the second block.
fn config() -> BlockNetConfig {
    BlockNetConfig { image: [3, 8, 9], classes: 5, ..BlockNetConfig::new(vec![2, 1, 3], 4) }
}

const SHAPES: [[usize; 3]; 9] =
    [[4, 8, 9], [4, 8, 9], [4, 8, 9], [8, 4, 5], [8, 4, 5], [16, 2, 3], [16, 2, 3], [16, 2, 3], [16, 2, 3]];

fn network(config: &BlockNetConfig) -> BlockNet {
    let solved = config.n_layers() - 2 * config.buffer;
    config.init(0..solved, 1, 7, &Device::flex()).unwrap()
}

#[test]
fn layers_and_their_kinds() {
    let kinds = |config: &BlockNetConfig| {
        let grid = config.grid().unwrap();
        (0..grid.n_steps()).map(|n| grid.kind(n) == StepKind::Transition).collect::<Vec<_>>()
    };
    let all = [false, false, true, false, true, false, false, false];
    assert_eq!(config().n_layers(), 8);
    assert_eq!(kinds(&config()), all);
    for buffer in 0..4 {
        assert_eq!(kinds(&BlockNetConfig { buffer, ..config() }), all[buffer..8 - buffer], "buffer {buffer}");
    }
    let one = BlockNetConfig { per_block: vec![3], ..config() };
    assert_eq!((one.n_layers(), kinds(&one)), (3, vec![false; 3]));
    let none = BlockNetConfig { per_block: vec![], ..config() };
    assert_eq!(none.n_layers(), 0);
    assert!(none.grid().is_err());
}

/// As many equal steps as layers, those of transitions not taken.
#[test]
fn time_steps_count_transitions() {
    let config = BlockNetConfig { final_time: 2.0, ..config() };
    let grid = config.grid().unwrap();
    assert_eq!(grid.times(), [0.0, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0, 1.25, 1.5]);
    assert_eq!(network(&config).step_length(), 0.25);
}

#[test]
fn states_have_the_shapes_of_their_blocks() {
    for buffer in 0..4 {
        let network = network(&BlockNetConfig { buffer, ..config() });
        let batch = network.batch_of_size(2, Pass::Evaluation).unwrap();
        assert_eq!(batch, EVALUATION);
        let zeros = network.zero_states(&batch);
        for (point, shape) in SHAPES[buffer..9 - buffer].iter().enumerate() {
            let zero = zeros.at(point);
            assert_eq!(zero.0.dims()[1..], shape[..], "point {point}, buffer {buffer}");
            assert_eq!(network.space().shape(point + buffer), shape);
            assert_eq!(network.state_bytes(point, &batch), zero.n_bytes());
        }
    }
}

/// What the layers make of an input has the shapes promised, whatever lies outside the solver.
#[test]
fn outputs_do_not_depend_on_the_buffer() {
    let input = random([2, 3, 8, 9], 1).cast(DType::F32);
    let outputs = [Pass::Evaluation, Pass::Training(None)].map(|pass| {
        let of = |buffer| {
            let config = BlockNetConfig { buffer, ..config() };
            let network = network(&config);
            let batch = network.batch(&input, pass);
            let hierarchy =
                braidnet_grid::Hierarchy::new(&config.grid().unwrap(), &braidnet_grid::Coarsening::none()).unwrap();
            let first = network.open(&input, &batch).unwrap();
            let states = braidnet_mgrit::sequential(&network.block(&batch), &hierarchy, first).unwrap();
            for (point, state) in states.iter().enumerate() {
                assert_eq!(state.0.dims()[1..], SHAPES[point + buffer]);
            }
            network.close(states.last().unwrap(), &batch).unwrap()
        };
        let whole = of(0);
        assert_eq!(whole.dims(), [2, 5]);
        for buffer in 1..4 {
            close(&of(buffer), &whole, 1e-6, &format!("buffer {buffer}"));
        }
        whole
    });
    // Running statistics are those of the beginning.
    assert!(norm(&(outputs[0].clone() - outputs[1].clone())) > 1e-3);
}

#[test]
fn tapes_are_estimated_by_layer() {
    let network = network(&config());
    let batch = network.largest_batch(2);
    assert_eq!(batch, TRAINING);
    for (layer, is_transition) in [false, false, true, false, true, false, false, false].into_iter().enumerate() {
        // Of two convolutions the state before and what is behind both, and behind both norms.
        let states = 5 * network.state_bytes(layer, &batch);
        assert_eq!(network.tape_bytes(layer, &batch), states, "{layer} {is_transition}");
    }
    assert_eq!(network.tape_bytes(8, &batch), 0);
    let factor = |convs, norm| ConvRhs::new(convs, norm, 4, &Device::flex()).tape_bytes(&TRAINING, 100);
    assert_eq!([factor(1, None), factor(2, None)], [200, 300]);
    assert_eq!([factor(1, Some(NormKind::Layer)), factor(2, Some(NormKind::Layer))], [300, 500]);
}
