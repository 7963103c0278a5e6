//! Parts of a network: what each rank has, the closing layer, and loading.

use braidnet_nn::NetworkError;

use crate::*;

fn config() -> GruConfig {
    GruConfig { inputs: GruInputs::Tokens { vocabulary: 7, width: 2 }, ..GruConfig::new(9, 2, 3, 2, 4) }
}

/// Parameters by the names that training uses.
fn named(net: &GruNet) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let mut all = BTreeMap::new();
    net.visit_parameters(|p| {
        let values = p.to_torch_layout(p.values.clone()).to_data().iter::<f32>().collect();
        assert!(all.insert(p.name, (p.shape, values)).is_none());
    });
    all
}

fn part(range: std::ops::Range<usize>, seed: u64) -> GruNet {
    config().init(range, seed, &Device::flex()).unwrap()
}

#[test]
fn every_part_has_the_shared_parameters_and_the_last_the_closing_layer() {
    let whole = named(&part(0..9, 5));
    let names: Vec<&str> = whole.keys().map(String::as_str).collect();
    let sides = |k: usize| ["h.bias", "h.weight", "x.bias", "x.weight"].map(|of| format!("shared.cells.{k}.{of}"));
    let expected = ["close.head.bias".to_owned(), "close.head.weight".to_owned()]
        .into_iter()
        .chain(sides(0))
        .chain(sides(1))
        .chain(["shared.embedding.weight".to_owned()]);
    assert_eq!(names, expected.collect::<Vec<_>>());
    assert_eq!(whole["shared.cells.0.x.weight"].0, [9, 2]);
    assert_eq!(whole["shared.cells.1.x.weight"].0, [9, 3]);
    assert_eq!(whole["close.head.weight"].0, [4, 3]);
    for range in [0..4, 4..7, 7..9] {
        let own = named(&part(range.clone(), 5));
        assert_eq!(own.len(), if range.end == 9 { 11 } else { 9 }, "{range:?}");
        assert!(own.iter().all(|(name, value)| whole[name] == *value), "{range:?}");
        assert_ne!(own["shared.cells.0.x.weight"], named(&part(range, 6))["shared.cells.0.x.weight"]);
    }
    assert!(part(0..4, 5).shares_parameters());
    assert!(part(0..4, 5).tied().is_empty());
    // Cells that are above each other are not alike.
    assert_ne!(whole["shared.cells.0.h.weight"], whole["shared.cells.1.h.weight"]);
}

#[test]
fn parameters_can_be_loaded_from_any_other_part() {
    let source = named(&part(0..9, 5));
    for range in [0..4, 7..9] {
        let loaded = part(range.clone(), 6).load(|name| source.get(name).cloned()).unwrap();
        assert!(named(&loaded).iter().all(|(name, value)| source[name] == *value), "{range:?}");
    }
    let missing = part(0..4, 6).load(|name| source.get(name).filter(|_| name != "shared.cells.1.h.bias").cloned());
    let name = "shared.cells.1.h.bias".to_owned();
    assert_eq!(missing.err(), Some(NetworkError::MissingParameter { name }));
    let wrong = part(7..9, 6).load(|name| {
        let (shape, values) = source.get(name).cloned()?;
        Some(if name == "close.head.weight" { (vec![3, 4], values) } else { (shape, values) })
    });
    let message = wrong.err().unwrap().to_string();
    assert!(
        message.contains("close.head.weight") && message.contains("[3, 4]") && message.contains("[4, 3]"),
        "{message}"
    );
}

#[test]
fn the_first_part_opens_and_the_last_closes() {
    let input = sequences(&config(), 3, None);
    for range in [0..4, 4..7, 7..9, 0..9] {
        let net = part(range.clone(), 5);
        let batch = net.batch(&input, Pass::Evaluation);
        let opened = net.open(&input, &batch);
        assert_eq!(opened.is_some(), range.start == 0, "{range:?}");
        assert!(opened.is_none_or(|u| u.0.dims() == [2, 3, 3] && u.norm_squared() == 0.0));
        let recorded = net.open_recorded(&input, &batch);
        assert_eq!(recorded.is_some(), range.start == 0, "{range:?}");
        // Zeros have no parameters.
        assert!(recorded.is_none_or(|(u, pullback)| pullback(u).unwrap().is_empty()));
        let u = TensorState(random([2, 3, 3], 4).cast(DType::F32));
        let closed = net.close_recorded(&u, &batch, |output| output.sum()).unwrap();
        assert_eq!(net.close(&u, &batch).is_some(), range.end == 9, "{range:?}");
        assert_eq!(closed.is_some(), range.end == 9, "{range:?}");
    }
}

/// The output is that of the last state of the top cell, and so are the derivatives.
#[test]
fn the_closing_layer_reads_the_top_cell() {
    let net = in_double(&config());
    let (weight, bias) = (values(&net)["closing.head.weight"].clone(), values(&net)["closing.head.bias"].clone());
    let weight: Tensor<2> = weight.reshape([3, 4]);
    let (u, c) = (random([2, 3, 3], 4), random([3, 4], 5));
    let batch = net.batch(&sequences(&config(), 3, None), Pass::Evaluation);
    let top: Tensor<2> = u.clone().narrow(0, 1, 1).reshape([3, 3]);
    let output = top.clone().matmul(weight.clone()) + bias.unsqueeze();
    close(&net.close(&TensorState(u.clone()), &batch).unwrap(), &output, 1e-14, "output");
    let loss = |output: Tensor<2>| (output * c.clone().autodiff()).sum();
    let closed = net.close_recorded(&TensorState(u), &batch, loss).unwrap().unwrap();
    close(&closed.output, &output, 1e-14, "output");
    assert!((closed.loss - (output * c.clone()).sum().into_scalar::<f64>()).abs() < 1e-12);
    let lambda = Tensor::cat(vec![random([1, 3, 3], 1) * 0.0, c.clone().matmul(weight.transpose()).unsqueeze()], 0);
    close(&closed.lambda.0, &lambda, 1e-14, "lambda");
    let gradients = by_name(&net, &closed.gradients);
    assert_eq!(gradients.len(), 2);
    close(&gradients["closing.head.weight"], &top.transpose().matmul(c.clone()).reshape([12]), 1e-14, "weight");
    close(&gradients["closing.head.bias"], &c.sum_dim(0).reshape([4]), 1e-14, "bias");
}

/// A part computes its own steps as the whole network does.
#[test]
fn parts_make_the_states_of_the_whole() {
    let (whole, input) = (part(0..9, 5), sequences(&config(), 3, Some(vec![9, 2, 5])));
    let mut states: Vec<TensorState<3>> = Vec::new();
    for nets in [vec![whole], vec![part(0..4, 5), part(4..7, 5), part(7..9, 5)]] {
        let mut state = TensorState(random([2, 3, 3], 4).cast(DType::F32));
        let all = steps(&config(), 2, 0);
        let mut rest = &all[..];
        for net in nets {
            let batch = net.prepare(net.batch(&input, Pass::Evaluation));
            while rest.first().is_some_and(|step| net.supports(step).is_ok()) {
                net.block(&batch).linearize(&rest[0], &mut state, Output::Used).unwrap();
                rest = &rest[1..];
            }
        }
        assert!(rest.is_empty());
        states.push(state);
    }
    same_bits(&states[..1], &states[1..], "the last state");
}
