//! The way of a sweep over a rank's part of a level: which pieces, in which order.

use braidnet_grid::{Level, Share};

/// Which points count as C-points in a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    /// Those of the level.
    Intervals,
    /// Only point 0: a sequential solve.
    Whole,
    /// Those of the level where ranks meet; in between a rank walks on through them.
    Joined,
}

/// How far a sweep goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To the end of the level, with a tail of F-points behind the last C-point: its values are asked for.
    End,
    /// To the last C-point: nothing depends on a tail.
    LastC,
    /// To this point; a rank without steps before it only takes what the one before sends.
    Point(usize),
}

/// One uninterrupted part of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Point that it starts from.
    pub start: usize,
    /// Last point that it reaches.
    pub stop: usize,
    /// Whether `stop` is a C-point.
    pub closes: bool,
}

impl Piece {
    /// Whether both can be walked in lockstep.
    pub fn is_like(&self, other: &Self) -> bool {
        self.stop - self.start == other.stop - other.start && self.closes == other.closes
    }

    /// What of it lies before the end of a sweep.
    pub fn within(self, reach: Reach) -> Option<Self> {
        match reach {
            Reach::Point(end) if self.stop > end => {
                (self.start < end).then_some(Self { stop: end, closes: false, ..self })
            }
            _ => Some(self),
        }
    }

    pub fn n_f_steps(&self) -> usize {
        self.stop - self.start - usize::from(self.closes)
    }
}

/// The points of a level as a sweep sees them.
pub(crate) struct Walk<'a> {
    pub c_points: &'a [usize],
    pub share: &'a Share,
    pub reach: Reach,
    /// Whether a rank's intervals are walked as one.
    pub is_joined: bool,
}

impl<'a> Walk<'a> {
    pub fn is_c_point(&self, point: usize) -> bool {
        self.c_points.binary_search(&point).is_ok()
    }

    /// Whether `point`, an F-point, lies in a tail that is left out.
    fn skips(&self, point: usize) -> bool {
        self.reach == Reach::LastC && self.c_points.last().is_some_and(|last| point > *last)
    }

    /// Whether the value of a border `point` changes in the sweep, so that the rank behind it must be told.
    pub fn travels(&self, point: usize, replaces_c: bool) -> bool {
        if self.is_c_point(point) { replaces_c } else { !self.skips(point) }
    }

    /// The rank's pieces of intervals, right to left; an interval may continue on other ranks at both ends.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + use<'a> {
        let (a, b) = (self.share.steps.start, self.share.steps.end);
        let low = self.c_points.partition_point(|c| *c < a);
        let high = self.c_points.partition_point(|c| *c <= b);
        let local = &self.c_points[low..high];
        let last = local.last().copied().unwrap_or(a);
        let open = (last < b && !self.skips(b)).then_some(Piece { start: last, stop: b, closes: false });
        let ends_all = |c: usize| self.is_joined && c == b && self.share.to.is_none();
        let entering = local.first().filter(|c| **c > a);
        let entering = entering.map(|c| Piece { start: a, stop: *c, closes: !ends_all(*c) });
        let joined = self.joined(local);
        // What the joined piece has is no piece of its own.
        let open = open.filter(|open| joined.is_none_or(|joined| joined.stop == open.start));
        let local = if joined.is_some() { &[] } else { local };
        let inner = local.windows(2).rev().map(|pair| Piece { start: pair[0], stop: pair[1], closes: true });
        open.into_iter().chain(joined).chain(inner).chain(entering)
    }

    /// All intervals of the rank as one piece: to its last C-point, behind which another rank may wait for the open piece, or to the
    /// very end.
    fn joined(&self, local: &[usize]) -> Option<Piece> {
        let (&start, &last) = local.first().zip(local.last()).filter(|_| self.is_joined)?;
        let closes = self.share.to.is_some();
        let stop = if closes { last } else { self.share.steps.end };
        (start < stop).then_some(Piece { start, stop, closes })
    }
}

pub(crate) fn c_points(level: &Level, split: Split) -> &[usize] {
    match split {
        Split::Intervals | Split::Joined => level.c_points(),
        Split::Whole => &[0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of a rank that has `steps`, as (start, stop, closes).
    fn pieces(c_points: &[usize], steps: std::ops::Range<usize>, reach: Reach) -> Vec<(usize, usize, bool)> {
        let share = Share { steps, from: None, to: None };
        Walk { c_points, share: &share, reach, is_joined: false }
            .pieces()
            .map(|p| (p.start, p.stop, p.closes))
            .collect()
    }

    #[test]
    fn intervals_come_right_to_left_and_continue_on_other_ranks() {
        let c = [0, 4, 8, 10];
        assert_eq!(pieces(&c, 0..10, Reach::LastC), [(8, 10, true), (4, 8, true), (0, 4, true)]);
        assert_eq!(pieces(&c, 0..3, Reach::LastC), [(0, 3, false)]);
        assert_eq!(pieces(&c, 3..6, Reach::LastC), [(4, 6, false), (3, 4, true)]);
        assert_eq!(pieces(&c, 5..7, Reach::LastC), [(5, 7, false)]);
        assert_eq!(pieces(&c, 4..8, Reach::LastC), [(4, 8, true)]);
        assert_eq!(pieces(&[0], 3..6, Reach::End), [(3, 6, false)]);
    }

    #[test]
    fn a_tail_is_walked_only_if_it_is_asked_for() {
        let c = [0, 4, 8];
        assert_eq!(pieces(&c, 4..11, Reach::LastC), [(4, 8, true)]);
        assert_eq!(pieces(&c, 4..11, Reach::End), [(8, 11, false), (4, 8, true)]);
        assert_eq!(pieces(&c, 9..11, Reach::LastC), []);
        assert_eq!(pieces(&c, 9..11, Reach::End), [(9, 11, false)]);
    }

    #[test]
    fn a_border_point_travels_if_the_sweep_changes_it() {
        let share = Share { steps: 0..11, from: None, to: None };
        let walk = |reach| Walk { c_points: &[0, 4, 8], share: &share, reach, is_joined: false };
        let travels = |point, reach| [false, true].map(|replaces_c| walk(reach).travels(point, replaces_c));
        assert_eq!(travels(4, Reach::LastC), [false, true]);
        assert_eq!(travels(5, Reach::LastC), [true, true]);
        assert_eq!(travels(9, Reach::LastC), [false, false]);
        assert_eq!(travels(9, Reach::End), [true, true]);
    }
}
