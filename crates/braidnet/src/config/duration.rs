//! Durations as people and Slurm write them.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Numbers with units that cannot be read.
    #[error("{0}: write it like 90s, 55m, 1h30m, 01:30:00 or 2-12:30:00")]
    Units(#[from] humantime::DurationError),
    /// `M` would be months.
    #[error("`M` stands for months: write `m` for minutes")]
    Months,
    /// A clock form with a part that is no number, or with too many or too few parts.
    #[error("not of the form [days-]hours:minutes:seconds: write it like 01:30:00 or 2-12:30:00")]
    Clock,
    /// Hours of a day, minutes or seconds that belong to the next higher part.
    #[error("{value} {part}: at most {} can stand there", limit - 1)]
    Part {
        /// `hours`, `minutes` or `seconds`.
        part: &'static str,
        /// Their number.
        value: u64,
        /// The first number that is too large.
        limit: u64,
    },
    /// More seconds than can be counted.
    #[error("too long: at most {} seconds can be counted", u64::MAX)]
    TooLong,
}

/// Value parser of durations, for `#[arg(long, value_parser = duration)]`.
///
/// Takes numbers with units (`90s`, `55m`, `1h30m`), a plain number of seconds (`90`), and Slurm's forms
/// (`[days-]hours:minutes:seconds`, `minutes:seconds`, `days-hours`, `days-hours:minutes`). Slurm's plain number of
/// minutes is not taken: it would be one of seconds.
///
/// # Errors
/// [`DurationError`], saying what to write.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    if text.contains([':', '-']) {
        clock(text)
    } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map(Duration::from_secs).map_err(|_| DurationError::TooLong)
    } else if text.contains('M') {
        Err(DurationError::Months)
    } else {
        Ok(humantime::parse_duration(text)?)
    }
}

/// Slurm's forms.
fn clock(text: &str) -> Result<Duration, DurationError> {
    // (name, limit, seconds); a leading part has no limit, except hours after days.
    const PARTS: [(&str, u64, u64); 3] = [("hours", 24, 3600), ("minutes", 60, 60), ("seconds", 60, 1)];
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(number(days)?), rest),
        None => (None, text),
    };
    let values: Vec<u64> = rest.split(':').map(number).collect::<Result<_, _>>()?;
    let parts = match (days, values.len()) {
        (Some(_), n @ 1..=3) => &PARTS[..n],
        (None, n @ 2..=3) => &PARTS[3 - n..],
        _ => return Err(DurationError::Clock),
    };
    let mut seconds = days.unwrap_or(0).checked_mul(24 * 3600).ok_or(DurationError::TooLong)?;
    for (index, (&value, &(part, limit, unit))) in values.iter().zip(parts).enumerate() {
        if value >= limit && (index > 0 || days.is_some()) {
            return Err(DurationError::Part { part, value, limit });
        }
        let sum = value.checked_mul(unit).and_then(|more| seconds.checked_add(more));
        seconds = sum.ok_or(DurationError::TooLong)?;
    }
    Ok(Duration::from_secs(seconds))
}

fn number(text: &str) -> Result<u64, DurationError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DurationError::Clock);
    }
    text.parse().map_err(|_| DurationError::TooLong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        let cases = [
            ("90", 90),
            ("90s", 90),
            ("55m", 3300),
            ("1h30m", 5400),
            ("1h 30m", 5400),
            ("2d", 172_800),
            ("01:30:00", 5400),
            ("100:00:00", 360_000),
            ("55:10", 3310),
            ("90:00", 5400),
            ("2-12:30:00", 217_800),
            ("2-12", 216_000),
            ("2-12:30", 217_800),
            ("0", 0),
        ];
        for (text, seconds) in cases {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn refusals() {
        for text in ["1:2:3:4", "1-", "-5", "-1:00", "1-2-3", ":30", "1:", "1:+2:3", "1-1:1:1:1", "a-1", "٣:00"] {
            assert_eq!(duration(text), Err(DurationError::Clock), "{text}");
        }
        for text in ["", "soon", "5x", "h", "1.2.3h"] {
            assert!(matches!(duration(text), Err(DurationError::Units(_))), "{text}");
        }
        assert_eq!(duration("30M"), Err(DurationError::Months));
        let part = |part, value, limit| Err(DurationError::Part { part, value, limit });
        assert_eq!(duration("1:60:00"), part("minutes", 60, 60));
        assert_eq!(duration("1:00:61"), part("seconds", 61, 60));
        assert_eq!(duration("1-24:00:00"), part("hours", 24, 24));
        assert_eq!(duration("99999999999999999999"), Err(DurationError::TooLong));
        assert_eq!(duration("9999999999999999999-0"), Err(DurationError::TooLong));
        assert_eq!(duration("9999999999999999999:00:00"), Err(DurationError::TooLong));
        assert_eq!(duration("1:60:00").unwrap_err().to_string(), "60 minutes: at most 59 can stand there");
    }

    proptest! {
        #[test]
        fn slurm_writes_what_we_read(seconds in 0u64..10_000_000) {
            let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
            let text = format!("{days}-{hours:02}:{:02}:{:02}", seconds / 60 % 60, seconds % 60);
            prop_assert_eq!(duration(&text), Ok(Duration::from_secs(seconds)));
            let units = humantime::format_duration(Duration::from_secs(seconds % 86_400)).to_string();
            prop_assert_eq!(duration(&units), Ok(Duration::from_secs(seconds % 86_400)));
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = duration(&text);
        }
    }
}
