//! What times are compared with: the sequential step on one rank, PyTorch, and weak scaling.

use braidnet_monitor::{Framework, Measurement};

/// The schedule that all others are compared with, by the bench's name for it.
pub const SEQUENTIAL: &str = "seq";

/// Whether this is the sequential step on one rank.
pub fn is_baseline(one: &Measurement) -> bool {
    one.by == Framework::Braidnet && one.ranks == 1 && one.variant == SEQUENTIAL
}

/// The median, in seconds.
pub fn median(one: &Measurement) -> Option<f64> {
    one.seconds.map(|seconds| seconds.median)
}

/// The median of the sequential step on one rank.
pub fn baseline(case: &[&Measurement]) -> Option<f64> {
    case.iter().find(|one| is_baseline(one)).and_then(|one| median(one))
}

/// How many times faster than the sequential step on one rank.
pub fn speed_up(one: &Measurement, case: &[&Measurement]) -> Option<f64> {
    Some(baseline(case)? / median(one)?)
}

/// Whether it was measured on the processor.
pub fn is_on_cpu(one: &Measurement) -> bool {
    one.device == "cpu"
}

/// How many times faster than PyTorch on the processor with so many threads: than its variant of the same name, or, without one, than its
/// fastest.
pub fn over_pytorch(one: &Measurement, case: &[&Measurement], threads: usize) -> Option<f64> {
    if one.by == Framework::PyTorch {
        return None;
    }
    // On a GPU threads say nothing.
    let peers = || case.iter().filter(|peer| peer.by == Framework::PyTorch && peer.ranks == threads && is_on_cpu(peer));
    let same = peers().find(|peer| peer.variant == one.variant).and_then(|peer| median(peer));
    let fastest = || peers().filter_map(|peer| median(peer)).reduce(f64::min);
    // Where PyTorch's variants have our names, what has no counterpart has no ratio.
    let are_named = peers().any(|peer| case.iter().any(|own| own.by != peer.by && own.variant == peer.variant));
    let peer = if are_named { same } else { fastest() };
    Some(peer? / median(one)?)
}

/// Where a curve of speed-ups over ranks first reaches 1, between measured points by the logarithm of the ranks; `None` if
/// it never does, or is there from the first point on.
pub fn crossover(points: &[(f64, f64)]) -> Option<f64> {
    let above = points.iter().position(|(_, speed_up)| *speed_up >= 1.0)?;
    let ((before, slower), (ranks, speed_up)) = (*points.get(above.checked_sub(1)?)?, *points.get(above)?);
    let share = (1.0 - slower) / (speed_up - slower);
    Some((before.log2() + share * (ranks / before).log2()).exp2())
}

/// The network's kind: what is before the sizes.
pub fn kind(case: &str) -> &str {
    case.split_once(':').map_or(case, |(kind, _)| kind)
}

/// Of a network that grows with the ranks the part of one rank, as a case: of `conv:64x3@50` on two ranks `conv:32x3@50`.
pub fn per_rank(case: &str, ranks: usize) -> Option<String> {
    let (kind, sizes) = case.split_once(':')?;
    let (sizes, batch) = sizes.split_once('@')?;
    let mut sizes: Vec<usize> = sizes.split('x').map(str::parse).collect::<Result<_, _>>().ok()?;
    // The number of layers, or of steps.
    let layers = sizes.get_mut(usize::from(kind == "voxels"))?;
    *layers = layers.is_multiple_of(ranks).then(|| *layers / ranks)?;
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    Some(format!("{kind}:{}@{batch}", sizes.join("x")))
}

/// What a network is but for its depth, its depth, and its batch: of `conv:64x3@50` `conv:DEPTHx3`, 64 and 50.
pub fn split(case: &str) -> Option<(String, usize, usize)> {
    let (kind, sizes) = case.split_once(':')?;
    let (sizes, batch) = sizes.split_once('@')?;
    let mut sizes: Vec<&str> = sizes.split('x').collect();
    let layers = sizes.get_mut(usize::from(kind == "voxels"))?;
    let depth = layers.parse().ok()?;
    *layers = "DEPTH";
    Some((format!("{kind}:{}", sizes.join("x")), depth, batch.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use braidnet_monitor::Transport;

    use super::super::made_up::timed;
    use super::*;

    fn peer(variant: &str, threads: usize, median: f64) -> Measurement {
        Measurement { by: Framework::PyTorch, transport: Transport::None, ..timed(variant, threads, median) }
    }

    #[test]
    fn ratios_are_of_the_right_pairs() {
        let all = [timed("seq", 1, 0.4), timed("seq", 2, 0.5), timed("lp:2/4/1/1", 2, 0.2), peer("eager", 1, 0.6)];
        let all = [all.to_vec(), vec![peer("compiled", 1, 0.3)]].concat();
        let case: Vec<&Measurement> = all.iter().collect();
        assert_eq!((speed_up(case[2], &case), speed_up(case[1], &case)), (Some(2.0), Some(0.8)));
        assert!((over_pytorch(case[2], &case, 1).unwrap() - 1.5).abs() < 1e-12);
        assert_eq!(over_pytorch(case[2], &case, 2), None);
        assert_eq!(over_pytorch(case[3], &case, 1), None);
        assert_eq!(speed_up(case[2], &case[1..]), None);
    }

    #[test]
    fn operations_are_compared_with_their_namesakes() {
        let all = [timed("forward", 1, 0.4), timed("pullback", 1, 0.2), peer("forward", 1, 0.6)];
        let case: Vec<&Measurement> = all.iter().collect();
        assert!((over_pytorch(case[0], &case, 1).unwrap() - 1.5).abs() < 1e-12);
        assert_eq!(over_pytorch(case[1], &case, 1), None);
    }

    #[test]
    fn crossovers_are_found() {
        assert_eq!(crossover(&[(1.0, 0.5), (2.0, 0.8), (4.0, 1.2)]).map(|x| (x * 1e6).round()), Some(2_828_427.0));
        assert_eq!(crossover(&[(2.0, 1.3), (4.0, 2.0)]), None);
        assert_eq!(
            (crossover(&[(1.0, 0.5), (8.0, 0.9)]), crossover(&[(1.0, 1.0)]), crossover(&[])),
            (None, None, None)
        );
    }

    #[test]
    fn kinds_are_before_the_sizes() {
        assert_eq!([kind("conv:36x3@50"), kind("points")], ["conv", "points"]);
    }

    #[test]
    fn depths_and_batches_are_split_off() {
        assert_eq!(split("conv:256x12@50"), Some(("conv:DEPTHx12".to_owned(), 256, 50)));
        assert_eq!(split("voxels:31x64@4"), Some(("voxels:31xDEPTH".to_owned(), 64, 4)));
        assert_eq!(split("gru:1024@1"), Some(("gru:DEPTH".to_owned(), 1024, 1)));
        assert_eq!([split("layer"), split("gru:8"), split("gru:x@4")], [const { None }; 3]);
    }

    #[test]
    fn parts_of_growing_networks_are_named() {
        let part = |case| per_rank(case, 4);
        assert_eq!(part("conv:128x3@50").as_deref(), Some("conv:32x3@50"));
        assert_eq!(part("voxels:31x64@4").as_deref(), Some("voxels:31x16@4"));
        assert_eq!([part("conv:35x3@50"), part("conv"), part("gru:x@4"), part("conv:4")], [const { None }; 4]);
    }
}
