//! Numbers in words, and their digits: pairs to learn translation from with no file at all.

use rand::seq::SliceRandom;

use crate::{
    DataError,
    pairs::{PairSplit, TextPair, in_words},
    random::{Purpose, stream},
};

/// Training pairs there are: nine of ten numbers below 1,000,000.
pub const MAX_TRAIN: usize = 900_000;

/// Test pairs there are: the others.
pub const MAX_TEST: usize = 100_000;

/// The least number of 1, 2, ... 6 digits, and the first of 7.
const BOUNDS: [u32; 7] = [0, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

/// Pairs such as `four thousand two hundred and seven` and `4 2 0 7`, of numbers below 1,000,000.
///
/// No number comes twice, in one set or in both. One of ten numbers of each length is for the test
/// set; both sets take one of each length in turn, for as long as there are, since of all numbers
/// nine in ten have six digits. A larger set begins with the smaller one.
///
/// # Errors
/// [`DataError::TooManyPairs`] where more than [`MAX_TRAIN`] or [`MAX_TEST`] are asked for.
pub fn generated(seed: u64, n_train: usize, n_test: usize) -> Result<PairSplit, DataError> {
    for (part, asked, available) in [("training", n_train, MAX_TRAIN), ("test", n_test, MAX_TEST)] {
        if asked > available {
            return Err(DataError::TooManyPairs { part, asked, available });
        }
    }
    let mut train = Vec::new();
    let mut test = Vec::new();
    for (index, bounds) in (0..).zip(BOUNDS.windows(2)) {
        let mut numbers: Vec<u32> = (bounds[0]..bounds[1]).collect();
        numbers.shuffle(&mut stream(seed, 0, Purpose::Pairs, index));
        test.push(numbers.split_off(numbers.len() - numbers.len() / 10));
        train.push(numbers);
    }
    Ok(PairSplit::new(&in_turn(&train, n_train), &in_turn(&test, n_test)))
}

/// The first `n` pairs: one from each group in turn, passing over those that have ended.
fn in_turn(groups: &[Vec<u32>], n: usize) -> Vec<TextPair> {
    let rounds = 0..groups.iter().map(Vec::len).max().unwrap_or(0);
    let numbers = rounds.flat_map(|round| groups.iter().filter_map(move |group| group.get(round)));
    numbers.take(n).map(|&number| pair(number)).collect()
}

fn pair(number: u32) -> TextPair {
    let digits: Vec<String> = number.to_string().chars().map(String::from).collect();
    TextPair { source: in_words(number), target: digits.join(" ") }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::pairs::{BOS, EOS, Pair, UNKNOWN};

    #[test]
    fn sets_share_no_pair_and_have_all_lengths() {
        let PairSplit { source, target, train, test } = generated(3, 4_000, 500).unwrap();
        let distinct: HashSet<&Vec<u32>> = train.pairs.iter().chain(&test.pairs).map(|pair| &pair.source).collect();
        assert_eq!(distinct.len(), 4_500);
        // 20 small numbers, 8 tens, `hundred`, `thousand` and `and`; ten digits; the four specials.
        assert_eq!((source.len(), target.len()), (4 + 31, 4 + 10));
        for set in [&train, &test] {
            let lengths: HashSet<usize> = set.pairs.iter().map(|pair| pair.target.len()).collect();
            assert_eq!(lengths, (3..=8).collect());
            assert!(set.pairs.iter().all(|pair| !pair.source.contains(&UNKNOWN) && !pair.target.contains(&UNKNOWN)));
        }
    }

    #[test]
    fn targets_are_the_digits_of_the_sources() {
        let split = generated(9, 300, 0).unwrap();
        for Pair { source, target } in &split.train.pairs {
            let (words, end) = source.split_at(source.len() - 1);
            let words: Vec<&str> = words.iter().map(|&word| split.source.word(word)).collect();
            let digits: String = target[1..target.len() - 1].iter().map(|&digit| split.target.word(digit)).collect();
            assert_eq!(words.join(" "), in_words(digits.parse().unwrap()));
            assert_eq!((end, target[0], target.last()), (&[EOS][..], BOS, Some(&EOS)));
        }
    }

    #[test]
    fn larger_sets_begin_with_smaller_ones_and_seeds_differ() {
        let texts = |seed, n| {
            let split = generated(seed, n, 0).unwrap();
            let source = |pair: &Pair| pair.source.iter().map(|&word| split.source.word(word).to_owned()).collect();
            split.train.pairs.iter().map(source).collect::<Vec<Vec<String>>>()
        };
        assert_eq!(texts(1, 50), texts(1, 80)[..50]);
        assert_ne!(texts(1, 50), texts(2, 50));
    }

    #[test]
    fn more_pairs_than_numbers_are_refused() {
        let error = generated(0, MAX_TRAIN + 1, 0).unwrap_err();
        assert_eq!(error.to_string(), "900001 training pairs asked for, but there are 900000: ask for fewer");
        assert!(generated(0, 1, MAX_TEST + 1).is_err());
        assert_eq!(generated(0, 1, MAX_TEST).unwrap().test.len(), MAX_TEST);
    }
}
