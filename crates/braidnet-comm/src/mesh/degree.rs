//! The number of ranks along one axis, as a user gives it.

use std::fmt;
use std::str::FromStr;

/// The number of ranks along one axis of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Degree {
    /// What the other axis leaves.
    Auto,
    /// This many.
    Exactly(usize),
}

/// A text that is no [`Degree`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no number of ranks; type a whole number from 1 on, or `auto` for what the other axis leaves")]
pub struct DegreeError {
    text: String,
}

impl FromStr for Degree {
    type Err = DegreeError;

    fn from_str(text: &str) -> Result<Self, DegreeError> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(n) if n >= 1 => Ok(Self::Exactly(n)),
            _ => Err(DegreeError { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Degree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Exactly(n) => n.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn display_is_what_parse_reads(n in 1usize..) {
            for degree in [Degree::Exactly(n), Degree::Auto] {
                prop_assert_eq!(degree.to_string().parse(), Ok(degree));
            }
        }
    }

    #[test]
    fn other_texts_are_named_in_the_error() {
        for text in ["0", "", "-1", "two", "Auto", "1.5", "99999999999999999999999"] {
            let error = text.parse::<Degree>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no number of ranks")), "{error}");
        }
    }
}
