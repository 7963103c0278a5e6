//! Parameters and gradients by name, and how they are compared.

use std::collections::BTreeMap;
use std::fmt::Debug;

use braidnet_nn::{Gradients, Network};

/// Parameters or gradients by name.
pub type Values = BTreeMap<String, Vec<f32>>;
/// What a body returns.
pub type Checked = Result<(), String>;

/// Turns any error into a body's.
pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// That something holds; otherwise what `why` says.
pub fn ensure(holds: bool, why: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(why()) }
}

/// That two values agree.
pub fn same<T: PartialEq + Debug>(what: &str, got: &T, expected: &T) -> Checked {
    ensure(got == expected, || format!("{what}: got {got:?}, expected {expected:?}"))
}

pub fn parameters<N: Network>(network: &N) -> Values {
    let mut all = Values::new();
    network.visit_parameters(|p| {
        all.insert(p.name, p.values.to_data().iter::<f32>().collect());
    });
    all
}

/// Gradients by the names of their parameters.
pub fn by_name<N: Network>(network: &N, gradients: &Gradients) -> Values {
    let mut all = Values::new();
    network.visit_parameters(|p| {
        let gradient = gradients.iter().find(|g| g.id == p.id).map(|g| g.values.to_data().iter::<f32>().collect());
        all.insert(p.name, gradient.unwrap_or_default());
    });
    all
}

/// That a rank's values are, to the bit, those of the same names in `all`.
pub fn same_bits(what: &str, own: &Values, all: &Values) -> Checked {
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    ensure(!own.is_empty(), || format!("{what}: nothing to compare"))?;
    let differs = |(name, values): &(&String, &Vec<f32>)| all.get(*name).is_none_or(|v| bits(v) != bits(values));
    match own.iter().find(differs) {
        Some((name, _)) => Err(format!("{what}: {name} has other bits")),
        None => Ok(()),
    }
}

/// Distance of a rank's values from those of the same names in `all`, relative to their size.
pub fn distance(own: &Values, all: &Values) -> f64 {
    let (mut difference, mut size) = (0.0, 0.0);
    for (name, values) in own {
        let Some(expected) = all.get(name).filter(|expected| expected.len() == values.len()) else { return f64::NAN };
        for (a, b) in values.iter().zip(expected) {
            difference += f64::from(a - b).powi(2);
            size += f64::from(*b).powi(2);
        }
    }
    (difference / size).sqrt()
}
