//! The gated recurrent unit against plain formulas in double precision, and its derivatives against differences.

use braidnet_kernels::{Counts, GruCoarse, GruForm, GruStep, gru_gates, sigmoid, tanh};
use proptest::prelude::*;

use crate::common::{assert_close, dot, slope, values, wide};

const FORMS: [GruForm; 2] = [GruForm::Implicit, GruForm::Explicit];
const COARSE: [GruCoarse; 2] = [GruCoarse::Rediscretised, GruCoarse::Frozen];

/// The gates of one unit from `[xp_r, xp_z, xp_n, hp_r, hp_z, hp_n]`.
fn gates_of_unit(x: &[f64]) -> [f64; 4] {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (r, z) = (sigmoid(x[0] + x[3]), sigmoid(x[1] + x[4]));
    [r, z, (x[2] + r * x[5]).tanh(), x[5]]
}

/// What one unit keeps in a step of length `dt`.
fn retention(form: GruForm, dt: f64, z: f64) -> f64 {
    match form {
        GruForm::Implicit => 1.0 / (1.0 + dt * (1.0 - z)),
        GruForm::Explicit => 1.0 - dt * (1.0 - z),
    }
}

/// The state of one unit after a step.
fn step_of_unit(step: &GruStep<'_>, count: u32, [_, z, n, _]: [f64; 4], h: f64) -> f64 {
    let fine = f64::from(step.dt);
    let (dt, power) = match step.coarse {
        GruCoarse::Rediscretised => (f64::from(count) * fine, 1),
        GruCoarse::Frozen => (fine, count as i32),
    };
    let k = if count == 0 { 1.0 } else { retention(step.form, dt, z).powi(power) };
    k * h + (1.0 - k) * n
}

/// What a step starts from, and the number of fine steps of each row: 0 among them, or the same for all.
#[derive(Debug, Clone)]
struct Case {
    form: GruForm,
    coarse: GruCoarse,
    hidden: usize,
    dt: f32,
    counts: Vec<u32>,
    same: bool,
    input: Vec<f32>,
    state: Vec<f32>,
    bias: Vec<f32>,
    h: Vec<f32>,
}

impl Case {
    fn strategy(rows: usize, hidden: usize) -> impl Strategy<Value = Self> {
        (0..=rows, 1..=hidden, any::<bool>(), 0usize..2, 0usize..2, 0.02f32..1.0, any::<u64>()).prop_map(
            |(rows, hidden, same, form, coarse, dt, seed)| {
                let count = |row: usize| (seed >> if same { 0 } else { row % 13 } & 15) as u32;
                Self {
                    form: FORMS[form],
                    coarse: COARSE[coarse],
                    hidden,
                    dt,
                    counts: (0..rows).map(count).collect(),
                    same,
                    input: values(seed, 3 * rows * hidden),
                    state: values(seed ^ 1, 3 * rows * hidden),
                    bias: values(seed ^ 2, 3 * hidden),
                    h: values(seed ^ 3, rows * hidden),
                }
            },
        )
    }

    fn step(&self) -> GruStep<'_> {
        let counts = match self.counts.first() {
            Some(&count) if self.same => Counts::All(count),
            _ => Counts::Each(&self.counts),
        };
        GruStep { form: self.form, coarse: self.coarse, hidden: self.hidden, dt: self.dt, counts }
    }

    fn gates(&self) -> Vec<f32> {
        let mut gates = vec![f32::NAN; 4 * self.h.len()];
        gru_gates(&self.input, &self.state, &self.bias, &mut gates);
        gates
    }

    /// Row, column and `[xp_r, xp_z, xp_n, hp_r, hp_z, hp_n, h]` of every unit.
    fn units(&self) -> impl Iterator<Item = (usize, usize, [f64; 7])> {
        (0..self.h.len()).map(|i| {
            let (row, column) = (i / self.hidden, i % self.hidden);
            let at = |x: &[f32], row: usize, block: usize| f64::from(x[(3 * row + block) * self.hidden + column]);
            let unit = std::array::from_fn(|part| match part {
                0..3 => at(&self.input, row, part),
                3..6 => at(&self.state, row, part - 3) + at(&self.bias, 0, part - 3),
                _ => f64::from(self.h[i]),
            });
            (row, column, unit)
        })
    }

    /// The problem of one unit alone.
    fn unit_alone(&self, row: usize, column: usize) -> Self {
        let pick = |x: &[f32], row: usize, blocks: usize| -> Vec<f32> {
            (0..blocks).map(|block| x[(blocks * row + block) * self.hidden + column]).collect()
        };
        Self {
            hidden: 1,
            counts: vec![self.counts[row]],
            input: pick(&self.input, row, 3),
            state: pick(&self.state, row, 3),
            bias: pick(&self.bias, 0, 3),
            h: pick(&self.h, row, 1),
            ..self.clone()
        }
    }

    /// Everything that the kernels compute.
    fn results(&self) -> Results {
        let (gates, n) = (self.gates(), self.h.len());
        let (mut after, mut lambda) = (self.h.clone(), self.h.clone());
        let (mut delta_state, mut delta_input) = (vec![f32::NAN; 3 * n], vec![f32::NAN; 3 * n]);
        let mut diagonal = vec![f32::NAN; n];
        self.step().apply(&gates, &mut after);
        self.step().pullback(&gates, &self.h, &mut lambda, &mut delta_state, Some(&mut delta_input));
        self.step().diagonal(&gates, &self.h, &self.bias, &mut diagonal);
        Results { gates, blocks: [delta_state, delta_input], rows: [after, lambda, diagonal] }
    }
}

struct Results {
    gates: Vec<f32>,
    blocks: [Vec<f32>; 2],
    rows: [Vec<f32>; 3],
}

fn bits<'a>(x: impl IntoIterator<Item = &'a f32>) -> Vec<u32> {
    x.into_iter().map(|x| x.to_bits()).collect()
}

/// Within `tolerance` of the reference, relative to it where it is large.
fn close(actual: f32, expected: f64, tolerance: f64) -> bool {
    (f64::from(actual) - expected).abs() <= tolerance * (1.0 + expected.abs())
}

proptest! {
    #[test]
    fn gates_and_steps_match_the_formulas(case in Case::strategy(6, 150)) {
        let (gates, hidden) = (case.gates(), case.hidden);
        let mut after = case.h.clone();
        case.step().apply(&gates, &mut after);
        for (row, column, unit) in case.units() {
            let expected = gates_of_unit(&unit);
            for (block, expected) in expected.into_iter().enumerate() {
                let actual = gates[(4 * row + block) * hidden + column];
                prop_assert!(close(actual, expected, 2e-6), "gate {block}: {actual}, not {expected}");
            }
            let (actual, count) = (after[row * hidden + column], case.counts[row]);
            let expected = step_of_unit(&case.step(), count, expected, unit[6]);
            prop_assert!(close(actual, expected, 3e-5), "{actual}, not {expected}, after {count} steps");
        }
    }

    #[test]
    fn pullbacks_match_differences(case in Case::strategy(5, 90), seed in any::<u64>()) {
        let (gates, hidden, n) = (case.gates(), case.hidden, case.h.len());
        let lambda = values(seed, n);
        let (mut direct, nan) = (lambda.clone(), vec![f32::NAN; 3 * n]);
        let (mut delta_state, mut delta_input) = (nan.clone(), nan.clone());
        case.step().pullback(&gates, &case.h, &mut direct, &mut delta_state, Some(&mut delta_input));
        for (row, column, unit) in case.units() {
            let i = row * hidden + column;
            for part in 0..7 {
                let expected = f64::from(lambda[i]) * slope(|t| {
                    let mut unit = unit;
                    unit[part] += t;
                    step_of_unit(&case.step(), case.counts[row], gates_of_unit(&unit), unit[6])
                });
                let actual = match part {
                    0..3 => delta_input[(3 * row + part) * hidden + column],
                    3..6 => delta_state[(3 * row + part - 3) * hidden + column],
                    _ => direct[i],
                };
                prop_assert!(close(actual, expected, 5e-5), "part {part}: {actual}, not {expected}");
            }
        }
        // The same without the derivative by the input.
        let (mut direct_alone, mut alone) = (lambda, nan);
        case.step().pullback(&gates, &case.h, &mut direct_alone, &mut alone, None);
        prop_assert_eq!((bits(&direct_alone), bits(&alone)), (bits(&direct), bits(&delta_state)));
    }

    /// One sequence with a full matrix, whose diagonal alone the kernel is given.
    #[test]
    fn diagonals_match_those_of_the_jacobian(mut case in Case::strategy(1, 20), seed in any::<u64>()) {
        let hidden = case.hidden;
        case.counts = vec![(seed & 7) as u32];
        let matrix: Vec<f32> = values(seed, 3 * hidden * hidden).into_iter().map(|w| 0.5 * w).collect();
        let (h, input) = (wide(&values(seed ^ 1, hidden)), values(seed ^ 2, 3 * hidden));
        let product = |h: &[f64]| -> Vec<f64> { matrix.chunks(hidden).map(|row| dot(&wide(row), h)).collect() };
        case.h = h.iter().map(|&h| h as f32).collect();
        case.state = product(&h).into_iter().map(|hp| hp as f32).collect();
        case.input = input;

        let weights: Vec<f32> = (0..3 * hidden).map(|i| matrix[i * hidden + i % hidden]).collect();
        let mut diagonal = vec![f32::NAN; hidden];
        case.step().diagonal(&case.gates(), &case.h, &weights, &mut diagonal);

        let bias = wide(&case.bias);
        for (j, &actual) in diagonal.iter().enumerate() {
            let gates = |h: &[f64]| {
                let hp: Vec<f64> = product(h).iter().zip(&bias).map(|(hp, bias)| hp + bias).collect();
                let part = |x: &[f64], block: usize| x[block * hidden + j];
                let input = wide(&case.input);
                let unit: Vec<f64> = [&input, &hp].iter().flat_map(|x| [part(x, 0), part(x, 1), part(x, 2)]).collect();
                gates_of_unit(&unit)
            };
            let after = |t: f64| {
                let mut h = h.clone();
                h[j] += t;
                step_of_unit(&case.step(), case.counts[0], gates(&h), h[j])
            };
            prop_assert!(close(actual, slope(after), 5e-5), "{actual}, not {}", slope(after));
        }
    }

    /// So neither the rows beside a row nor the end of a row, which fills no register, change a bit.
    #[test]
    fn every_unit_alone_has_the_same_bits(case in Case::strategy(4, 140)) {
        let (all, hidden) = (case.results(), case.hidden);
        for (row, column, _) in case.units() {
            let alone = case.unit_alone(row, column).results();
            let pick = |x: &[f32], blocks: usize| {
                bits((0..blocks).map(|block| &x[(blocks * row + block) * hidden + column]))
            };
            prop_assert_eq!(pick(&all.gates, 4), bits(&alone.gates));
            for (all, alone) in all.blocks.iter().zip(&alone.blocks) {
                prop_assert_eq!(pick(all, 3), bits(alone));
            }
            for (all, alone) in all.rows.iter().zip(&alone.rows) {
                prop_assert_eq!(pick(all, 1), bits(alone));
            }
        }
    }

    #[test]
    fn rows_without_a_step_stay_whatever_the_gates_are(hidden in 1usize..80, seed in any::<u64>()) {
        let gates = [f32::MAX, -1e30, f32::NAN, f32::INFINITY].repeat(3 * hidden);
        let (h, weights) = (values(seed, 3 * hidden), values(seed ^ 1, 3 * hidden));
        for (form, coarse) in FORMS.into_iter().flat_map(|form| COARSE.map(|coarse| (form, coarse))) {
            for counts in [Counts::All(0), Counts::Each(&[0; 3])] {
                let step = GruStep { form, coarse, hidden, dt: 0.5, counts };
                let (mut after, mut lambda, mut diagonal) = (h.clone(), h.clone(), vec![f32::NAN; 3 * hidden]);
                let (mut delta_state, mut delta_input) = (vec![f32::NAN; 9 * hidden], vec![f32::NAN; 9 * hidden]);
                step.apply(&gates, &mut after);
                step.pullback(&gates, &h, &mut lambda, &mut delta_state, Some(&mut delta_input));
                step.diagonal(&gates, &h, &weights, &mut diagonal);
                prop_assert_eq!((&after, &lambda), (&h, &h));
                prop_assert!(diagonal.iter().all(|&d| d == 1.0));
                prop_assert!(delta_state.iter().chain(&delta_input).all(|&d| d == 0.0));
            }
        }
    }
}

#[test]
fn one_step_is_the_same_frozen_and_rediscretised() {
    for form in FORMS {
        let [a, b] = COARSE.map(|coarse| {
            let case = Case {
                form,
                coarse,
                hidden: 37,
                dt: 0.3,
                counts: vec![1, 1],
                same: true,
                input: values(1, 222),
                state: values(2, 222),
                bias: values(3, 111),
                h: values(4, 74),
            };
            case.results()
        });
        assert_eq!((a.rows, a.blocks), (b.rows, b.blocks));
    }
}

#[test]
fn frozen_steps_are_steps_with_the_same_gates() {
    for form in FORMS {
        for count in [2, 3, 4, 7, 8, 31, 64] {
            let gates: Vec<f32> = values(count.into(), 4 * 40).into_iter().map(sigmoid).collect();
            let step = |counts| GruStep { form, coarse: GruCoarse::Frozen, hidden: 40, dt: 0.1, counts };
            let (mut once, mut each) = (values(9, 40), values(9, 40));
            step(Counts::All(count)).apply(&gates, &mut once);
            (0..count).for_each(|_| step(Counts::All(1)).apply(&gates, &mut each));
            assert_close(&once, &wide(&each), 1e-5);
        }
    }
}

/// Large and infinite arguments of the gates, of both signs, in all combinations.
#[test]
fn saturated_gates_are_the_limits_and_pass_nothing_on() {
    for size in [1e4, f32::INFINITY] {
        for signs in 0..16 {
            let sign = |bit: u32| if signs >> bit & 1 == 1 { 1.0f32 } else { -1.0 };
            // `hp_n` is large itself where `r` is not 0; nothing is known of 0 times infinity.
            let input = [0, 1, 2].map(|bit| sign(bit) * size);
            let state = [0.0, 0.0, if sign(0) > 0.0 { sign(2) * size } else { sign(3) }];
            let mut gates = [f32::NAN; 4];
            gru_gates(&input, &state, &[0.0; 3], &mut gates);
            assert_eq!(gates, [0.5 + 0.5 * sign(0), 0.5 + 0.5 * sign(1), sign(2), state[2]]);
            for (form, coarse) in FORMS.into_iter().flat_map(|form| COARSE.map(|coarse| (form, coarse))) {
                let step = GruStep { form, coarse, hidden: 1, dt: 0.5, counts: Counts::All(4) };
                let (mut after, mut lambda, mut diagonal) = ([2.0], [1.0], [f32::NAN]);
                let (mut delta_state, mut delta_input) = ([f32::NAN; 3], [f32::NAN; 3]);
                step.apply(&gates, &mut after);
                step.pullback(&gates, &[2.0], &mut lambda, &mut delta_state, Some(&mut delta_input));
                step.diagonal(&gates, &[2.0], &[3.0; 3], &mut diagonal);
                let k = step_of_unit(&step, 4, [0.0, f64::from(gates[1]), 0.0, 0.0], 1.0);
                let expected = 2.0 * k + (1.0 - k) * f64::from(gates[2]);
                assert!(close(after[0], expected, 1e-6), "{step:?} {gates:?}: {after:?}");
                assert!([lambda[0], diagonal[0]].into_iter().all(|kept| close(kept, k, 1e-6)), "{step:?} {gates:?}");
                assert_eq!((delta_state, delta_input), ([0.0; 3], [0.0; 3]), "{step:?} {gates:?}");
            }
        }
    }
}

/// `hp_n` beyond all bounds behind a reset gate that is open part of the way.
#[test]
fn an_infinite_candidate_passes_nothing_on() {
    let mut gates = [f32::NAN; 4];
    gru_gates(&[0.0; 3], &[0.0, 0.0, f32::NEG_INFINITY], &[0.0; 3], &mut gates);
    assert_eq!(gates, [0.5, 0.5, -1.0, f32::NEG_INFINITY]);
    let (form, coarse) = (GruForm::Explicit, GruCoarse::Frozen);
    let step = GruStep { form, coarse, hidden: 1, dt: 1.0, counts: Counts::All(1) };
    let (mut lambda, mut delta, mut diagonal) = ([1.0], [f32::NAN; 3], [f32::NAN]);
    step.pullback(&gates, &[1.0], &mut lambda, &mut delta, None);
    step.diagonal(&gates, &[1.0], &[5.0, 0.0, 5.0], &mut diagonal);
    assert_eq!((lambda, delta, diagonal), ([0.5], [0.0, 0.5, 0.0], [0.5]));
}

#[test]
fn a_nan_is_not_hidden() {
    for part in 0..7 {
        let mut x = [0.5f32; 7];
        x[part] = f32::NAN;
        let mut gates = [f32::NAN; 4];
        gru_gates(&x[..3], &x[3..6], &[0.0; 3], &mut gates);
        let nan = gates.map(f32::is_nan);
        let expected = match part {
            0 | 3 => [true, false, true, false],
            1 | 4 => [false, true, false, false],
            2 => [false, false, true, false],
            5 => [false, false, true, true],
            _ => [false; 4],
        };
        assert_eq!(nan, expected, "part {part}");
        for (form, coarse) in FORMS.into_iter().flat_map(|form| COARSE.map(|coarse| (form, coarse))) {
            let step = GruStep { form, coarse, hidden: 1, dt: 0.5, counts: Counts::All(3) };
            let (mut after, mut diagonal) = ([x[6]], [0.0]);
            step.apply(&gates, &mut after);
            step.diagonal(&gates, &[x[6]], &[1.0; 3], &mut diagonal);
            assert!(after[0].is_nan() && diagonal[0].is_nan(), "part {part}");
            let (mut lambda, mut delta) = ([f32::NAN], [0.0; 3]);
            step.pullback(&[0.5; 4], &[0.5], &mut lambda, &mut delta, None);
            assert!(lambda[0].is_nan() && delta.iter().all(|d| d.is_nan()));
        }
    }
}

/// Numbers of every size, both signs, and a fine grid where the functions bend.
fn arguments() -> Vec<f32> {
    let sizes = (0..=f32::MAX.to_bits()).step_by(60_013).chain([1, 2, f32::MAX.to_bits()]).map(f32::from_bits);
    let grid = (0..200_000).map(|i| i as f32 * 5e-4);
    sizes.chain(grid).flat_map(|x| [x, -x]).collect()
}

#[test]
fn sigmoid_and_tanh_are_accurate_to_two_units_in_the_last_place() {
    let worst = 2.0 * f64::from(f32::EPSILON);
    for x in arguments() {
        let (s, t, wide) = (sigmoid(x), tanh(x), f64::from(x));
        let expected = 1.0 / (1.0 + (-wide).exp());
        // No normal number, far on the left.
        let least = if x < -87.0 { 2e-38 } else { 0.0 };
        assert!((f64::from(s) - expected).abs() <= worst * expected + least, "sigmoid({x}) = {s}, not {expected}");
        let expected = wide.tanh();
        let error = (f64::from(t) - expected).abs();
        assert!(error <= worst * expected.abs() && t.abs() <= 1.0, "tanh({x}) = {t}, not {expected}");
        assert_eq!(t.to_bits(), (-tanh(-x)).to_bits(), "tanh is odd");
    }
}

#[test]
fn sigmoid_and_tanh_of_no_number_and_of_zero() {
    let (plus, minus, nan) = (f32::INFINITY, f32::NEG_INFINITY, f32::NAN);
    assert_eq!([sigmoid(plus), sigmoid(minus), sigmoid(0.0)], [1.0, 0.0, 0.5]);
    assert_eq!([tanh(plus), tanh(minus), tanh(0.0)], [1.0, -1.0, 0.0]);
    assert!(sigmoid(nan).is_nan() && tanh(nan).is_nan());
}

#[test]
fn names_in_files() {
    assert_eq!(serde_json::to_string(&FORMS).unwrap(), r#"["implicit","explicit"]"#);
    assert_eq!(serde_json::to_string(&COARSE).unwrap(), r#"["rediscretised","frozen"]"#);
}
