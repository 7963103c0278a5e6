//! The Pareto front: what nothing else beats in both of two values.

/// The indices of the points that no other point beats: none is less in one value and not greater in the other. By the
/// first value; of equal points the first.
pub fn front(points: &[(f64, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.retain(|&index| points.get(index).is_some_and(|(x, y)| !x.is_nan() && !y.is_nan()));
    order.sort_by(|&a, &b| points[a].0.total_cmp(&points[b].0).then(points[a].1.total_cmp(&points[b].1)));
    let mut least = f64::INFINITY;
    // In this order a point is beaten unless its second value is less than all before.
    order.retain(|&index| {
        let is_less = points[index].1 < least;
        least = least.min(points[index].1);
        is_less
    });
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fronts_of_few_points() {
        assert_eq!(front(&[]), [0; 0]);
        assert_eq!(front(&[(1.0, 5.0), (2.0, 3.0), (2.0, 4.0), (3.0, 3.0), (4.0, 0.0)]), [0, 1, 4]);
        assert_eq!(front(&[(1.0, 1.0), (1.0, 1.0), (f64::NAN, 0.0), (0.0, f64::NAN)]), [0]);
    }

    proptest! {
        #[test]
        fn a_point_is_beaten_or_on_the_front(points in prop::collection::vec((0..9i8, 0..9i8), 0..30)) {
            let points: Vec<(f64, f64)> = points.into_iter().map(|(x, y)| (x.into(), y.into())).collect();
            let front = front(&points);
            let beats = |a: (f64, f64), b: (f64, f64)| a.0 <= b.0 && a.1 <= b.1 && a != b;
            for (index, &point) in points.iter().enumerate() {
                let is_beaten = points.iter().any(|&other| beats(other, point));
                prop_assert!(is_beaten || front.iter().any(|&member| points[member] == point));
                prop_assert!(!is_beaten || !front.contains(&index));
            }
        }
    }
}
