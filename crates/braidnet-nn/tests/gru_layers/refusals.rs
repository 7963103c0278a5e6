//! What a recurrent network cannot be, and what it cannot take.

use braidnet_nn::{CoarseOperator, NetworkError};

use crate::*;

fn good() -> GruConfig {
    GruConfig::new(4, 2, 3, 2, 5)
}

fn tokens(vocabulary: usize, width: usize) -> GruInputs {
    GruInputs::Tokens { vocabulary, width }
}

#[test]
fn sizes_of_zero_are_named() {
    let cases = [
        (GruConfig { length: 0, ..good() }, "the length of a sequence"),
        (GruConfig { inputs: GruInputs::Features(0), ..good() }, "the number of features"),
        (GruConfig { inputs: tokens(7, 0), ..good() }, "the number of features"),
        (GruConfig { inputs: tokens(0, 2), ..good() }, "the vocabulary"),
        (GruConfig { hidden: 0, ..good() }, "the number of hidden features"),
        (GruConfig { cells: 0, ..good() }, "the number of cells"),
        (GruConfig { classes: 0, ..good() }, "the number of classes"),
    ];
    assert_eq!(good().validate(), Ok(()));
    for (config, what) in cases {
        assert_eq!(config.validate(), Err(NetworkError::Zero { what }));
        assert_eq!(config.init(0..config.length, 1, &Device::flex()).err(), Some(NetworkError::Zero { what }));
        assert_eq!(config.validate().unwrap_err().to_string(), format!("{what} is 0: use at least 1"));
    }
    assert!(GruConfig { length: 0, ..good() }.grid().is_err());
}

#[test]
fn final_times_that_are_no_lengths_are_refused() {
    for final_time in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let message = GruConfig { final_time, ..good() }.validate().unwrap_err().to_string();
        assert_eq!(message, format!("the final time is {final_time}: use a finite number above 0"));
    }
    let tiny = GruConfig { final_time: f64::MIN_POSITIVE, ..good() };
    assert_eq!((tiny.validate(), tiny.dt() > 0.0), (Ok(()), true));
}

#[test]
fn coarse_operators_of_unlike_layers_are_refused() {
    for coarse_input in [CoarseOperator::Midpoint, CoarseOperator::Centred, CoarseOperator::Sum] {
        let message = GruConfig { coarse_input, ..good() }.validate().unwrap_err().to_string();
        assert!(
            message.contains("coarse operator") && message.contains("first") && message.contains("mean"),
            "{message}"
        );
    }
    for coarse_input in [CoarseOperator::FirstLayer, CoarseOperator::Mean] {
        assert_eq!(GruConfig { coarse_input, ..good() }.validate(), Ok(()));
    }
}

fn features(dims: [usize; 3]) -> Sequences {
    Sequences::from(Tensor::<3>::zeros(dims, &Device::flex()))
}

fn ids(values: Vec<i64>, dims: [usize; 2]) -> Sequences {
    Sequences::from(Tensor::<2, Int>::from_data(TensorData::new(values, dims), &Device::flex()))
}

fn refused(config: &GruConfig, input: &Sequences) -> NetworkError {
    config.init(0..config.length, 1, &Device::flex()).unwrap().check(input).unwrap_err()
}

fn ending(lengths: &[usize], input: Sequences) -> Sequences {
    Sequences { lengths: Some(lengths.to_vec()), ..input }
}

#[test]
fn sequences_that_do_not_fit_are_refused() {
    use NetworkError::{BadLength, EmptyInput, UnevenLengths, WrongFeatures, WrongLength};
    let cases = [
        (features([0, 4, 2]), EmptyInput { what: "a batch of sequences" }, "is empty: leave it out"),
        (features([3, 0, 2]), EmptyInput { what: "a batch of sequences" }, "is empty: leave it out"),
        (features([3, 3, 2]), WrongLength { length: 3, expected: 4 }, "3 steps, but the network has 4: pad them"),
        (features([3, 5, 2]), WrongLength { length: 5, expected: 4 }, "or build it for 5"),
        (features([3, 4, 3]), WrongFeatures { expected: 2, got: 3 }, "3 features, but the network takes 2"),
        (ending(&[4, 4], features([3, 4, 2])), UnevenLengths { lengths: 2, samples: 3 }, "2 lengths for 3 sequences"),
        (ending(&[], features([3, 4, 2])), UnevenLengths { lengths: 0, samples: 3 }, "give every sequence one"),
        (
            ending(&[4, 0, 5], features([3, 4, 2])),
            BadLength { sequence: 1, got: 0, length: 4 },
            "sequence 1 of the batch is said to end after 0 of 4 steps: use 1 to 4",
        ),
        (
            ending(&[4, 1, 5], features([3, 4, 2])),
            BadLength { sequence: 2, got: 5, length: 4 },
            "after 5 of 4 steps: use 1 to 4",
        ),
    ];
    for (input, expected, words) in cases {
        let error = refused(&good(), &input);
        assert_eq!(error, expected);
        assert!(error.to_string().contains(words), "{error}");
    }
    let net = in_double(&good());
    assert_eq!(net.check(&ending(&[1, 4, 2], features([3, 4, 2]))), Ok(()));
    assert_eq!(net.check(&features([1, 4, 2])), Ok(()));
}

#[test]
fn tokens_and_features_are_not_confused() {
    let of_tokens = GruConfig { inputs: tokens(7, 2), ..good() };
    let message = refused(&of_tokens, &features([3, 4, 2])).to_string();
    assert_eq!(message, "features for a network that takes tokens: give tokens, or build it for features");
    let message = refused(&good(), &ids(vec![0; 12], [3, 4])).to_string();
    assert_eq!(message, "tokens for a network that takes features: give features, or build it for tokens");
    // Sizes are checked there too.
    assert_eq!(refused(&of_tokens, &ids(vec![0; 9], [3, 3])), NetworkError::WrongLength { length: 3, expected: 4 });
    assert!(matches!(refused(&of_tokens, &ids(vec![], [0, 4])), NetworkError::EmptyInput { .. }));
}

#[test]
fn unknown_tokens_are_named_with_their_place() {
    let config = GruConfig { inputs: tokens(7, 2), ..good() };
    for token in [7, -1, i64::from(i32::MAX)] {
        let mut values = vec![6; 12];
        values[6] = token;
        let input = ids(values, [3, 4]);
        let expected = NetworkError::UnknownToken { token, sequence: 1, position: 2, vocabulary: 7 };
        assert_eq!(refused(&config, &input), expected);
        assert_eq!(in_double(&config).check(&ids(vec![6; 12], [3, 4])), Ok(()));
    }
}
