//! Numbers of ranks: `4`, `1,2,4` or `1..1024`.

use std::str::FromStr;

/// Numbers of ranks, ascending, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankCounts(pub Vec<usize>);

impl FromStr for RankCounts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} names no ranks: use numbers from 1, as 4 or 1,2,4, or 1..1024 for powers of two");
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|n| *n > 0).ok_or_else(wrong);
        let mut counts: Vec<usize> = match text.split_once("..") {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return Err(wrong());
                }
                let doubled = std::iter::successors(Some(first), |n| n.checked_mul(2));
                doubled.take_while(|n| *n <= last).collect()
            }
            None => text.split(',').map(number).collect::<Result<_, _>>()?,
        };
        counts.sort_unstable();
        counts.dedup();
        Ok(Self(counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_rank_counts() {
        let counts = |text: &str| text.parse::<RankCounts>().map(|counts| counts.0);
        assert_eq!(counts("4"), Ok(vec![4]));
        assert_eq!(counts("4,1, 2,2"), Ok(vec![1, 2, 4]));
        assert_eq!(counts("1..20"), Ok(vec![1, 2, 4, 8, 16]));
        for text in ["", "0", "1,0", "2..1", "1..", "-1", "two"] {
            assert!(counts(text).unwrap_err().contains("1..1024"), "{text}");
        }
    }
}
