//! Errors for people.

use std::error::Error;

/// An error and its causes in one line, outermost first. A cause that a message before it has quoted is not said again.
///
/// ```
/// use braidnet::describe;
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("cannot read a.txt: {source}")]
/// struct Unreadable { source: std::io::Error }
///
/// let error = Unreadable { source: std::io::Error::other("disk on fire") };
/// assert_eq!(describe(&error), "cannot read a.txt: disk on fire");
/// ```
pub fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
