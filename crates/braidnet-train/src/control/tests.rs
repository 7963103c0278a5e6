//! The controller on traces of probes.

use proptest::prelude::*;

use super::*;
use crate::{Schedule, ScheduleKind, SolveConfig};

const BASE: usize = 0;
const TWICE: usize = 1;
const FCF: usize = 2;
const MIXED: usize = 3;
const EXACT: usize = 4;

fn config() -> ControlConfig {
    ControlConfig { kind: ControlKind::Adaptive, ..ControlConfig::default() }
}

fn ladder() -> Ladder {
    Ladder::new(&Schedule::layer_parallel(SolveConfig::new(4)))
}

fn controller(config: ControlConfig) -> Controller {
    Controller::new(config, ladder()).unwrap()
}

fn forward(rho: f64) -> Measured {
    Measured { rho_forward: Some(rho), rho_backward: Some(0.1), ..Measured::default() }
}

fn floor(rho: f64) -> Measured {
    Measured { at_floor_forward: true, at_floor_backward: true, ..forward(rho) }
}

/// The rungs after each probe.
fn rungs(controller: &mut Controller, probes: impl IntoIterator<Item = Measured>) -> Vec<usize> {
    probes.into_iter().map(|measured| controller.observe(0, &measured).to).collect()
}

#[test]
fn scores_that_differ_climb_while_the_forward_pass_is_inexact() {
    let watching = ControlConfig { max_mismatch: Some(0.02), dwell: 2, ..config() };
    let mut adaptive = controller(watching.clone());
    assert_eq!(adaptive.observe_mismatch(10, 0.02), None);
    let decision = adaptive.observe_mismatch(10, 0.05).unwrap();
    assert_eq!((decision.from, decision.to, decision.cause), (0, 1, Cause::Mismatch { value: 0.05, limit: 0.02 }));
    assert!(adaptive.line(&decision).contains("scores as scheduled and exact differ by 0.0500 > 0.02"));
    // The change is near, until two probes have passed.
    let held = adaptive.observe_mismatch(11, f64::NAN).unwrap();
    assert_eq!((held.to, held.held), (1, Some(Held::Dwell { left: 2 })));
    rungs(&mut adaptive, [forward(0.6); 2]);
    assert_eq!(adaptive.observe_mismatch(12, f64::NAN).unwrap().to, 2);
    // Exact states cannot differ; where nobody asks, or the control only watches, nothing changes.
    assert_eq!(on_last_rung(watching.clone()).observe_mismatch(13, 0.5), None);
    assert_eq!(controller(config()).observe_mismatch(13, 0.5), None);
    let off = ControlConfig { kind: ControlKind::Off, ..watching.clone() };
    assert_eq!(controller(off).observe_mismatch(13, 0.5), None);
    let mut fixed = controller(ControlConfig { kind: ControlKind::Fixed, ..watching });
    let decision = fixed.observe_mismatch(13, 0.5).unwrap();
    assert_eq!((decision.to, decision.held), (0, Some(Held::Fixed)));
}

/// A controller that a rho above 1 has brought to the last rung.
fn on_last_rung(config: ControlConfig) -> Controller {
    let mut controller = controller(config);
    assert_eq!(rungs(&mut controller, [forward(1.01)]), [EXACT]);
    controller
}

#[test]
fn a_slowly_rising_rho_climbs_rung_by_rung() {
    let mut controller = controller(config());
    let rising = (0..12).map(|i| forward(0.3 + 0.05 * f64::from(i)));
    // 0.75 + 0.80 are the first two above 0.75 on average; then the dwell of 3 probes.
    let expected = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, TWICE, TWICE];
    assert_eq!(rungs(&mut controller, rising), expected);
    assert_eq!(rungs(&mut controller, [forward(0.86)]), [TWICE]);
    let decision = controller.observe(1300, &forward(0.9));
    let line = "iterations x2 -> FCF: rho of the forward solve 0.880 (mean of 2 probes) > 0.75";
    assert_eq!((decision.step, controller.line(&decision).as_str()), (1300, line));
    assert_eq!(rungs(&mut controller, [forward(0.9); 3]), [FCF, FCF, MIXED]);
    // Exact states now: what is left is the backward solve.
    let backward = Measured { rho_backward: Some(0.8), ..Measured::default() };
    assert_eq!(rungs(&mut controller, [backward; 3]), [MIXED, MIXED, EXACT]);
    assert!(controller.schedule().is_exact());
}

#[test]
fn a_run_that_goes_wrong_ends_on_the_last_rung() {
    // Some rho of the 64-layer decoder of arXiv 2601.09026, in their order; its loss departs from the serial one at 0.95.
    let trace = [0.004, 0.21, 0.78, 0.95, 1.02, 1.17, 1.26].map(forward);
    assert_eq!(rungs(&mut controller(config()), trace), [BASE, BASE, BASE, TWICE, EXACT, EXACT, EXACT]);
}

#[test]
fn twice_the_iterations_stay_where_rho_falls_below_the_limit() {
    let mut controller = controller(config());
    assert_eq!(rungs(&mut controller, [0.8, 0.8, 0.8, 0.7, 0.7, 0.6, 0.7].map(forward)), [0, 1, 1, 1, 1, 1, 1]);
    assert_eq!(rungs(&mut controller, [0.39, 0.41, 0.39, 0.39, 0.39].map(forward)), [1, 1, 1, 1, BASE]);
}

#[test]
fn what_diverges_goes_to_the_last_rung_at_once() {
    for rho in [1.0001, 30.0, f64::NAN, f64::INFINITY] {
        let mut controller = controller(config());
        // Also within the dwell of another change.
        assert_eq!(rungs(&mut controller, [forward(0.9), forward(0.9)]), [BASE, TWICE]);
        let decision = controller.observe(300, &forward(rho));
        assert_eq!((decision.from, decision.to, decision.held), (TWICE, EXACT, None), "{rho}");
        let line = controller.line(&decision);
        assert!(line.starts_with("iterations x2 -> sequential: rho of the forward solve"), "{line}");
    }
    let mut controller = controller(config());
    let no_gradient = Measured { gradient_error: Some(f64::NAN), ..forward(0.1) };
    let decision = controller.observe(0, &no_gradient);
    assert_eq!(controller.line(&decision), "base -> sequential: gradient error is NaN");
}

#[test]
fn what_equals_a_limit_is_not_above_it() {
    assert_eq!(rungs(&mut controller(config()), [forward(1.0)]), [BASE]);
    assert_eq!(rungs(&mut controller(config()), [forward(0.75); 20]), [BASE; 20]);
}

#[test]
fn probes_before_a_change_do_not_count_after_it() {
    let mut controller = controller(ControlConfig { dwell: 1, ..config() });
    assert_eq!(rungs(&mut controller, [0.9, 0.9, 0.7, 0.7, 0.9].map(forward)), [BASE, TWICE, TWICE, TWICE, FCF]);
}

#[test]
fn noise_around_a_threshold_changes_little() {
    let mut up = controller(config());
    assert_eq!(rungs(&mut up, (0..40).map(|i| forward([0.6, 0.89][i % 2]))), [BASE; 40]);
    let mut down = controller(config());
    rungs(&mut down, [forward(0.9); 2]);
    assert_eq!(rungs(&mut down, (0..40).map(|i| forward([0.3, 0.3, 0.5][i % 3]))), [TWICE; 40]);
}

#[test]
fn what_is_at_the_floor_or_missing_never_leads_up() {
    let mut controller = controller(config());
    assert_eq!(rungs(&mut controller, [floor(0.94); 20]), [BASE; 20]);
    assert_eq!(rungs(&mut controller, [floor(1.2); 20]), [BASE; 20]);
    assert_eq!(rungs(&mut controller, [forward(0.9), floor(0.94), forward(0.9), Measured::default()]), [BASE; 4]);
    assert_eq!(controller.observe(0, &Measured::default()).cause, Cause::NotMeasured);
    assert_eq!(rungs(&mut controller, [forward(0.9), forward(0.9)]), [BASE, TWICE]);
    // A solve at the floor has converged; of one that was not measured nothing is known.
    assert_eq!(rungs(&mut controller, [Measured::default(); 20]), [TWICE; 20]);
    assert_eq!(rungs(&mut controller, [floor(0.94); 3]), [TWICE, TWICE, BASE]);
}

#[test]
fn the_way_down_is_by_probes_of_the_rung_below() {
    let mut controller = on_last_rung(config());
    let mut step = |measured: &Measured| {
        let decision = controller.observe(0, measured);
        (decision.probed, decision.to, controller.line(&decision))
    };
    // Forward is not what "sequential forward" is judged by.
    let calm = forward(0.1);
    assert_eq!([0; 3].map(|_| step(&forward(2.0)).1), [EXACT, EXACT, MIXED]);
    // Its own backward solve, then what FCF would do, which is not calm: back to its own.
    let probed = |found: (usize, usize, String)| found.0;
    assert_eq!([0; 3].map(|_| probed(step(&calm))), [MIXED; 3]);
    let (probed_rung, to, line) = step(&forward(0.6));
    assert_eq!((probed_rung, to), (FCF, MIXED));
    assert_eq!(line, "kept sequential forward: rho of the forward solve 0.600, not below 0.4 (probe of FCF)");
    assert_eq!([0; 3].map(|_| probed(step(&calm))), [MIXED; 3]);
    // Even what diverges on the rung below is no reason to leave the one in use.
    assert_eq!(step(&forward(f64::NAN)).1, MIXED);
    assert_eq!([0; 6].map(|_| step(&calm).1), [MIXED, MIXED, MIXED, MIXED, MIXED, FCF]);
    assert_eq!([0; 6].map(|_| probed(step(&calm))), [FCF, FCF, FCF, TWICE, TWICE, TWICE]);
    // The same method with fewer iterations: no look is needed.
    let (probed_rung, to, line) = [0; 3].map(|_| step(&calm))[2].clone();
    assert_eq!((probed_rung, to), (TWICE, BASE));
    assert_eq!(line, "iterations x2 -> base: rho below 0.4 or at round-off for 3 probes");
    assert_eq!([0; 9].map(|_| step(&calm).1), [BASE; 9]);
}

#[test]
fn the_rung_below_is_not_looked_at_before_a_descent_is_possible() {
    let mut controller = on_last_rung(ControlConfig { dwell: 8, ..config() });
    assert_eq!(rungs(&mut controller, [forward(0.1); 8])[7], MIXED);
    let probed = [0; 9].map(|_| controller.observe(0, &forward(0.1)).probed);
    assert_eq!(probed, [MIXED, MIXED, MIXED, MIXED, MIXED, MIXED, MIXED, MIXED, FCF]);
}

#[test]
fn a_descent_that_is_taken_back_makes_the_next_one_wait_longer() {
    let mut controller = on_last_rung(config());
    let mut waits = vec![0];
    // The rung below always looks calm, and diverges once it is in use.
    for _ in 0..49 + 49 + 97 + 97 {
        let found = if controller.probe_rung() < controller.rung() { 0.1 } else { 1.5 };
        let decision = controller.observe(0, &Measured { rho_backward: Some(found), ..Measured::default() });
        *waits.last_mut().unwrap() += 1;
        if decision.is_change() {
            waits.push(0);
        }
    }
    assert_eq!(waits, [3, 1, 6, 1, 12, 1, 24, 1, 48, 1, 96, 1, 96, 1, 0]);
    // Once one has lasted for four times the dwell before it, the waits are as at first: three probes of the rung in use
    // and three of the one below.
    let (calm, fine) = (forward(0.1), Measured { rho_backward: Some(0.5), ..Measured::default() });
    assert_eq!(rungs(&mut controller, [calm; 96])[94..], [EXACT, MIXED]);
    assert_eq!(rungs(&mut controller, [fine; 4 * 96]), [MIXED; 4 * 96]);
    assert_eq!(rungs(&mut controller, [calm; 6]), [MIXED, MIXED, MIXED, MIXED, MIXED, FCF]);
    assert_eq!(rungs(&mut controller, [calm; 6]), [FCF, FCF, FCF, FCF, FCF, TWICE]);
}

#[test]
fn a_cause_within_the_dwell_is_told_and_not_followed() {
    let mut controller = controller(ControlConfig { dwell: 5, ..config() });
    rungs(&mut controller, [forward(0.9); 3]);
    let decision = controller.observe(0, &forward(0.9));
    assert_eq!(decision.held, Some(Held::Dwell { left: 3 }));
    assert!(controller.line(&decision).ends_with("> 0.75; not followed, the last change is near: 3 more probes"));
    assert_eq!(rungs(&mut controller, [forward(0.9); 3]), [TWICE, TWICE, FCF]);
}

#[test]
fn the_gradient_error_has_limits_of_its_own() {
    let watched = ControlConfig { gradient_error: true, max_gradient_error: Some(0.2), ..config() };
    let found = |error| Measured { gradient_error: Some(error), ..forward(0.1) };
    assert_eq!(rungs(&mut controller(config()), [found(5.0); 20]), [BASE; 20], "without limits it is only told");
    let mut controller = controller(watched);
    // One probe is no mean of two, and a gap ends what was begun.
    assert_eq!(rungs(&mut controller, [found(5.0), forward(0.1), found(0.2)]), [BASE; 3]);
    let decision = controller.observe(0, &found(0.25));
    assert_eq!(controller.line(&decision), "base -> iterations x2: gradient error 0.225 (mean of 2 probes) > 0.2");
    // The error of twice the iterations does not tell that of the base.
    assert_eq!(rungs(&mut controller, [found(0.01); 3]), [TWICE; 3]);
    assert_eq!(controller.probe_rung(), BASE);
    assert_eq!(rungs(&mut controller, [found(0.15), found(0.01), found(0.01), found(0.01)]), [TWICE; 4]);
    assert_eq!(rungs(&mut controller, [found(0.09); 3]), [TWICE, TWICE, BASE]);
}

#[test]
fn off_and_fixed_stay_and_only_off_does_not_probe() {
    for (kind, probes) in [(ControlKind::Off, false), (ControlKind::Fixed, true), (ControlKind::Adaptive, true)] {
        let controller = controller(ControlConfig { kind, ..config() });
        assert_eq!([0, 50, 100, 200].map(|step| controller.due(step)), [probes, false, probes, probes], "{kind:?}");
    }
    let exact = Controller::new(config(), Ladder::new(&Schedule::sequential())).unwrap();
    assert!(!exact.due(0));
    let mut fixed = controller(ControlConfig { kind: ControlKind::Fixed, ..config() });
    let decision = [0, 1].map(|step| fixed.observe(step, &forward(0.9)))[1];
    let expected =
        "kept base: rho of the forward solve 0.900 (mean of 2 probes) > 0.75; not followed, the control is fixed";
    assert_eq!((decision.to, fixed.line(&decision)), (BASE, expected.to_owned()));
    assert_eq!(rungs(&mut fixed, [forward(f64::NAN), forward(0.9)]), [BASE; 2]);
}

#[test]
fn a_mixed_base_is_judged_by_its_backward_solve() {
    let solve = SolveConfig::new(4);
    let mixed = Ladder::new(&Schedule::new(ScheduleKind::Mixed, solve.clone(), solve));
    let mut controller = Controller::new(config(), mixed).unwrap();
    assert_eq!(rungs(&mut controller, [forward(3.0); 5]), [BASE; 5]);
    let slow = Measured { rho_backward: Some(0.9), ..Measured::default() };
    assert_eq!(rungs(&mut controller, [slow; 8]), [BASE, TWICE, TWICE, TWICE, FCF, FCF, FCF, 3]);
    assert!(controller.schedule().is_exact());
}

#[test]
fn steps_are_counted_by_rung() {
    let mut controller = controller(config());
    assert_eq!(controller.layer_parallel_share(), None);
    (0..3).for_each(|_| controller.count_step());
    controller.observe(0, &forward(2.0));
    controller.count_step();
    assert_eq!((controller.steps(), controller.layer_parallel_share()), (&[3, 0, 0, 0, 1][..], Some(0.75)));
    let steps = "base 3, iterations x2 0, FCF 0, sequential forward 0, sequential 1";
    assert_eq!(
        controller.summary(),
        Some(format!("control: 75.0 % of the steps layer-parallel; steps per rung: {steps}"))
    );
    let saved = controller.to_json().unwrap();
    let fixed = ControlConfig { kind: ControlKind::Fixed, ..config() };
    let back = Controller::from_json(fixed, ladder(), &saved).unwrap();
    assert_eq!((back.rung(), back.steps()), (BASE, controller.steps()), "not adaptive: as the schedule was given");
    let exact = Ladder::new(&Schedule::sequential());
    let fixed = ControlConfig { kind: ControlKind::Fixed, ..config() };
    let other = Controller::from_json(fixed, exact, &saved).unwrap();
    assert_eq!((other.rung(), other.steps()), (BASE, &[0][..]), "not adaptive: another schedule is no obstacle");
    let mut no_choice = other;
    no_choice.count_step();
    assert_eq!((no_choice.layer_parallel_share(), no_choice.summary()), (Some(0.0), None));
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let saved = on_last_rung(config()).to_json().unwrap();
    let exact = Ladder::new(&Schedule::sequential());
    let message = Controller::from_json(config(), exact, &saved).unwrap_err().to_string();
    for part in ["has 5 rungs (base, ", "this schedule has 1 (base)", "go on with the schedule of the saved run"] {
        assert!(message.contains(part), "{message}");
    }
    for (key, value) in [("rung", 5.into()), ("steps", vec![1, 2].into()), ("rung", (-1).into()), ("since", "x".into())]
    {
        let mut damaged = saved.clone();
        damaged[key] = value;
        let error = Controller::from_json(config(), ladder(), &damaged).unwrap_err();
        assert!(matches!(error, ControlError::State { .. }), "{error}");
    }
    assert!(Controller::from_json(ControlConfig { dwell: 0, ..config() }, ladder(), &saved).is_err());
}

fn any_rho() -> impl Strategy<Value = Option<f64>> {
    let number = prop_oneof![8 => 0.0..0.4, 6 => 0.3..1.0, 1 => 0.9..1.2, 1 => Just(f64::NAN)];
    prop_oneof![9 => number.prop_map(Some), 1 => Just(None)]
}

fn any_measured() -> impl Strategy<Value = Measured> {
    let at_floor = || prop::bool::weighted(0.1);
    let error = prop_oneof![8 => (0.0..0.4).prop_map(Some), 1 => Just(None)];
    (any_rho(), any_rho(), at_floor(), at_floor(), error).prop_map(
        |(rho_forward, rho_backward, at_floor_forward, at_floor_backward, gradient_error)| {
            let cosine = None;
            Measured { rho_forward, rho_backward, at_floor_forward, at_floor_backward, gradient_error, cosine }
        },
    )
}

fn any_config() -> impl Strategy<Value = ControlConfig> {
    (1..4usize, 1..4usize, 1..6usize, prop::bool::ANY).prop_map(|(smoothing, patience_down, dwell, watched)| {
        let max_gradient_error = watched.then_some(0.3);
        ControlConfig { smoothing, patience_down, dwell, gradient_error: true, max_gradient_error, ..config() }
    })
}

/// Stretches of alike probes, as training gives: pure noise would seldom be calm for long.
fn any_trace() -> impl Strategy<Value = Vec<Measured>> {
    let stretch = (any_measured(), 1..12usize).prop_map(|(measured, n)| vec![measured; n]);
    prop::collection::vec(stretch, 1..40).prop_map(|stretches| stretches.concat())
}

proptest! {
    #[test]
    fn changes_keep_the_rules(config in any_config(), trace in any_trace()) {
        let mut controller = controller(config.clone());
        let mut last_change = None;
        for (step, measured) in trace.iter().enumerate() {
            let (rung, probed) = (controller.rung(), controller.probe_rung());
            let decision = controller.observe(step as u64, measured);
            prop_assert_eq!((decision.from, decision.probed, decision.to), (rung, probed, controller.rung()));
            prop_assert!(decision.to <= EXACT && probed <= rung && rung <= probed + 1);
            let backward = measured.rho_backward.filter(|rho| probed == rung && (rho.is_nan() || *rho > 1.0));
            if backward.is_some_and(|rho| rho.is_nan() || !measured.at_floor_backward) {
                prop_assert_eq!(decision.to, EXACT, "what is in use diverges");
            }
            if !decision.is_change() {
                continue;
            }
            let distance = last_change.map_or(usize::MAX, |before| step - before);
            last_change = Some(step);
            match decision.cause {
                Cause::Diverges { .. } => prop_assert!(decision.to == EXACT && probed == rung),
                Cause::High { .. } => prop_assert!(decision.to == rung + 1 && probed == rung && distance >= config.dwell),
                Cause::Calm { .. } => {
                    prop_assert!(decision.to + 1 == rung && distance >= config.dwell.max(config.patience_down));
                    prop_assert!(probed < rung || (rung == TWICE && config.max_gradient_error.is_none()));
                }
                cause => prop_assert!(false, "{} changed the schedule", cause),
            }
        }
    }

    #[test]
    fn a_restored_controller_decides_the_same(config in any_config(), trace in any_trace(), part in 0.0..1.0) {
        let mut one = controller(config.clone());
        let (before, after) = trace.split_at((part * trace.len() as f64) as usize);
        rungs(&mut one, before.iter().copied());
        one.count_step();
        let text = one.to_json().unwrap().to_string();
        let mut other = Controller::from_json(config, ladder(), &serde_json::from_str(&text).unwrap()).unwrap();
        for measured in after {
            prop_assert_eq!(one.probe_rung(), other.probe_rung());
            let [a, b] = [&mut one, &mut other].map(|c| { let d = c.observe(7, measured); c.line(&d) });
            prop_assert_eq!(a, b);
        }
        prop_assert_eq!(one.to_json().unwrap(), other.to_json().unwrap());
    }

    #[test]
    fn calm_training_ends_on_the_base(config in any_config(), trace in any_trace()) {
        let mut controller = controller(config);
        rungs(&mut controller, trace);
        let calm = Measured { gradient_error: Some(0.01), ..forward(0.1) };
        // Four descents, each after at most the longest dwell and twice the patience.
        rungs(&mut controller, [calm; 4 * (32 * 5 + 6)]);
        prop_assert_eq!(controller.rung(), BASE);
    }
}
