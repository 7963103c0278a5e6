//! What a part of a network is made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{NamedTensor, PartName};

/// One part of a network, with what the optimizer keeps for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Which part.
    pub name: PartName,
    /// Parameters, by global name. They come back in the order of the file: by size of element, then by name.
    pub parameters: Vec<NamedTensor>,
    /// Moments of the optimizer, by global name; no file is written where there are none.
    pub moments: Vec<NamedTensor>,
    /// Numbers of the optimizer, by name, such as counts of steps.
    pub scalars: BTreeMap<String, Scalar>,
}

impl Part {
    /// A part that holds nothing yet.
    pub fn new(name: PartName) -> Self {
        Self { name, parameters: Vec::new(), moments: Vec::new(), scalars: BTreeMap::new() }
    }
}

/// A number of the optimizer; comes back to the bit (of NaNs there is one).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scalar {
    /// A float.
    F64(#[serde(with = "float_as_text")] f64),
    /// A signed integer.
    I64(i64),
    /// An unsigned integer.
    U64(u64),
    /// A truth value.
    Bool(bool),
}

/// Floats as text: JSON has no NaN or infinity, and its readers may lose the last bit.
mod float_as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_come_back_to_the_bit() {
        for value in [0.1 + 0.2, -0.0, f64::NAN, f64::NEG_INFINITY, f64::MIN_POSITIVE / 4.0, 1e300 / 7.0] {
            let text = serde_json::to_string(&Scalar::F64(value)).unwrap();
            let Scalar::F64(back) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
            assert_eq!(back.to_bits(), value.to_bits(), "{text}");
        }
        for value in [Scalar::I64(i64::MIN), Scalar::U64(u64::MAX), Scalar::Bool(true)] {
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Scalar>(&text).unwrap(), value);
        }
        assert_eq!(serde_json::to_string(&Scalar::F64(0.9)).unwrap(), r#"{"f64":"0.9"}"#);
    }
}
