//! Numbers in English words.

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// A number below 1,000,000 as it is said: 4,207 is `four thousand two hundred and seven`, 21 `twenty one`.
///
/// # Panics
/// Where `number` is 1,000,000 or more.
pub fn in_words(number: u32) -> String {
    assert!(number < 1_000_000, "{number} has no words: numbers go up to 999,999");
    let mut words = Vec::new();
    let (thousands, rest) = (number / 1_000, number % 1_000);
    if thousands > 0 {
        below_thousand(thousands, &mut words);
        words.push("thousand");
        if (1..100).contains(&rest) {
            words.push("and");
        }
    }
    if rest > 0 || thousands == 0 {
        below_thousand(rest, &mut words);
    }
    words.join(" ")
}

fn below_thousand(number: u32, words: &mut Vec<&'static str>) {
    let (hundreds, rest) = (number as usize / 100, number as usize % 100);
    if hundreds > 0 {
        words.extend([SMALL[hundreds], "hundred"]);
        if rest == 0 {
            return;
        }
        words.push("and");
    }
    if rest < 20 {
        words.push(SMALL[rest]);
        return;
    }
    words.push(TENS[rest / 10 - 2]);
    if rest % 10 > 0 {
        words.push(SMALL[rest % 10]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_they_are() {
        for (number, words) in [
            (0, "zero"),
            (13, "thirteen"),
            (90, "ninety"),
            (100, "one hundred"),
            (321, "three hundred and twenty one"),
            (1_005, "one thousand and five"),
            (4_207, "four thousand two hundred and seven"),
            (70_000, "seventy thousand"),
            (110_011, "one hundred and ten thousand and eleven"),
            (999_999, "nine hundred and ninety nine thousand nine hundred and ninety nine"),
        ] {
            assert_eq!(in_words(number), words);
        }
    }

    /// The number that words say: units add up, `hundred` and `thousand` multiply what came before.
    fn said(words: &str) -> u32 {
        let (mut total, mut part) = (0, 0);
        for word in words.split(' ') {
            match word {
                "and" => {}
                "hundred" => part *= 100,
                "thousand" => (total, part) = (part * 1_000, 0),
                _ => {
                    let small = SMALL.iter().position(|&small| small == word);
                    let tens = || TENS.iter().position(|&tens| tens == word).map(|i| 10 * i + 20);
                    part += small.or_else(tens).unwrap() as u32;
                }
            }
        }
        total + part
    }

    #[test]
    fn words_say_the_number_again() {
        let all = (0..1_000).chain((1_000..1_000_000).step_by(97));
        all.for_each(|number| assert_eq!(said(&in_words(number)), number));
    }

    #[test]
    #[should_panic(expected = "1000000 has no words")]
    fn a_million_has_no_words() {
        in_words(1_000_000);
    }
}
