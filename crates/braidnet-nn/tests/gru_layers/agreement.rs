//! States, gradients and derivatives by the inputs are those of the plain loop; single precision agrees with double.

use braidnet_nn::gru::{GruConfig, GruForm, GruInputs};

use crate::plain::Plain;
use crate::*;

/// Length, features, hidden features, cells, samples.
type Sizes = [usize; 5];

/// One to three cells; one sample, one step, one feature, one hidden feature; more than a kernel's lanes.
const SIZES: [Sizes; 8] = [
    [5, 3, 4, 1, 3],
    [4, 2, 5, 2, 2],
    [3, 3, 3, 3, 2],
    [6, 2, 3, 1, 1],
    [1, 2, 3, 2, 2],
    [4, 1, 1, 1, 1],
    [3, 2, 1, 3, 2],
    [3, 5, 19, 2, 3],
];

fn config([length, features, hidden, cells, _]: Sizes, form: GruForm, dt: f64) -> GruConfig {
    GruConfig { form, final_time: dt * length as f64, ..GruConfig::new(length, features, hidden, cells, 2) }
}

/// Every form and size, with steps of length 1 and others, whole sequences and padded ones.
fn cases() -> impl Iterator<Item = (GruConfig, usize, Option<Vec<usize>>)> {
    let forms = FORMS.into_iter().flat_map(|form| [1.0, 0.3, 1.7].map(|dt| (form, dt)));
    forms.flat_map(|(form, dt)| SIZES.map(|sizes| (config(sizes, form, dt), sizes[4]))).flat_map(|(config, samples)| {
        // The first sequence ends at once, the last is whole.
        let length = config.length;
        let lengths: Vec<usize> = (0..samples).map(|s| 1 + s * (length - 1) / (samples - 1).max(1)).collect();
        [(config.clone(), samples, None), (config, samples, Some(lengths))]
    })
}

fn agree(a: &Looped, b: &Looped, tolerance: f64, what: &str) {
    assert_eq!(a.states.len(), b.states.len());
    for (n, (a, b)) in a.states.iter().zip(&b.states).enumerate() {
        close(a, b, tolerance, &format!("{what}, state behind step {n}"));
    }
    close(&a.lambda, &b.lambda, tolerance, &format!("{what}, lambda"));
    all_close(&a.gradients, &b.gradients, tolerance, what);
    close(&a.inputs, &b.inputs, tolerance, &format!("{what}, inputs"));
}

#[test]
fn it_agrees_with_autograd_of_the_plain_loop() {
    for (config, samples, lengths) in cases() {
        let what = format!("{config:?}, {samples} samples, lengths {lengths:?}");
        let (net, input, ends) =
            (in_double(&config), sequences(&config, samples, lengths), Ends::new(&config, samples));
        let got = looped(&net, &input, &ends);
        // Weights and biases of both products of every cell.
        assert_eq!(got.gradients.len(), 4 * config.cells);
        agree(&got, &Plain::of(&net).looped(&input, &ends), 1e-12, &what);
    }
}

#[test]
fn a_table_of_embeddings_has_the_gradients_of_autograd() {
    for form in FORMS {
        for (cells, lengths) in [(1, None), (2, Some(vec![6, 1, 4]))] {
            let what = format!("{form:?}, {cells} cells, lengths {lengths:?}");
            let inputs = GruInputs::Tokens { vocabulary: 5, width: 3 };
            let config = GruConfig { inputs, ..config([6, 3, 4, cells, 3], form, 0.7) };
            let (net, input, ends) = (in_double(&config), sequences(&config, 3, lengths), Ends::new(&config, 3));
            let got = looped(&net, &input, &ends);
            let expected = Plain::of(&net).looped(&input, &ends);
            assert!(norm(&expected.gradients["embedding.weight"]) > 0.1);
            close(&got.lambda, &expected.lambda, 1e-12, &what);
            all_close(&got.gradients, &expected.gradients, 1e-12, &what);
            // The table's gradient is that of its rows, wherever they are read.
            assert_eq!(got.inputs.dims(), [6, 3, 3]);
        }
    }
}

#[test]
fn single_precision_agrees_with_double() {
    for (config, samples, lengths) in cases() {
        let what = format!("{config:?}, {samples} samples, lengths {lengths:?}");
        let (double, input, ends) =
            (in_double(&config), sequences(&config, samples, lengths), Ends::new(&config, samples));
        let single = looped(&in_single(double.clone()), &sequences_in_single(&input), &ends.in_single());
        assert_eq!(single.states[0].dtype(), DType::F32);
        agree(&single, &looped(&double, &input, &ends), 3e-6, &what);
    }
}

#[test]
fn tokens_in_single_precision_agree_with_double() {
    let inputs = GruInputs::Tokens { vocabulary: 5, width: 3 };
    let config = GruConfig { inputs, ..config([6, 3, 4, 2, 3], GruForm::Implicit, 1.0) };
    let (double, ends) = (in_double(&config), Ends::new(&config, 3));
    let input = sequences(&config, 3, Some(vec![6, 1, 4]));
    let single = looped(&in_single(double.clone()), &input, &ends.in_single());
    agree(&single, &looped(&double, &input, &ends), 3e-6, "tokens");
}

/// What is complete is taken: a second adjoint of the same batch begins with nothing.
#[test]
fn gradients_are_complete_once() {
    let config = GruConfig::new(4, 2, 3, 2, 2);
    let (net, input, ends) = (in_double(&config), sequences(&config, 2, None), Ends::new(&config, 2));
    let batch = net.prepare(net.batch(&input, Pass::Evaluation));
    let back = || {
        let (block, mut state) = (net.block(&batch), TensorState(ends.first.clone()));
        let steps = steps(&config, 2, 0);
        let linearized: Vec<_> = steps.iter().map(|s| block.linearize(s, &mut state, Output::Used).unwrap()).collect();
        for (step, tape) in steps.iter().zip(linearized).rev() {
            tape.pullback_with_gradients(step, &mut state, Output::Used).unwrap()().unwrap();
        }
        by_name(&net, &net.complete(&batch))
    };
    let first = back();
    assert_eq!(first.len(), 8);
    assert!(net.complete(&batch).is_empty());
    assert!(net.complete_with_inputs(&batch).1.is_none());
    all_close(&back(), &first, 0.0, "again");
    // Without anything prepared there is nothing to complete.
    assert!(net.complete(&net.batch(&input, Pass::Evaluation)).is_empty());
}
