//! One level of the hierarchy.

use crate::{LastInterval, Step, StepKind, TimeGrid};

/// In which direction a level is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the input to the output.
    Forward,
    /// From the output to the input, for the adjoint; holds the number of fine steps.
    Reversed {
        /// Steps of the finest level.
        n_fine: usize,
    },
}

/// Points, times and the C/F split of one level.
///
/// Points are counted in the direction of the solve. Only what a step cannot be computed from is stored
/// (about ten bytes a point on the finest level), because a grid may have millions of points.
#[derive(Debug, Clone)]
pub struct Level {
    index: usize,
    direction: Direction,
    /// Finest-level index of each point; empty on the finest level, where it is the identity.
    fine_points: Vec<usize>,
    /// Forward time of each point.
    times: Vec<f64>,
    /// Steps that are transitions, ascending.
    transitions: Vec<usize>,
    /// Points that exist on the next coarser level, ascending, point 0 first.
    c_points: Vec<usize>,
}

impl Level {
    pub(crate) fn finest(grid: &TimeGrid) -> Self {
        Self {
            index: 0,
            direction: Direction::Forward,
            fine_points: Vec::new(),
            times: grid.times().to_vec(),
            transitions: grid.transitions().to_vec(),
            c_points: vec![0],
        }
    }

    /// Splits the points into C- and F-points: every ODE block is cut into runs of `cfactor` steps, both ends
    /// of a transition are C-points.
    pub(crate) fn split(&mut self, cfactor: usize, rule: LastInterval) {
        let n = self.n_steps();
        let mut c_points = vec![0];
        let mut start = 0;
        for end in self.transitions.iter().copied().chain([n]) {
            c_points.extend((start..=end).step_by(cfactor).skip(1));
            let complete = c_points.last() == Some(&end);
            if !complete && (end < n || rule == LastInterval::Short) {
                c_points.push(end);
            }
            if end < n {
                c_points.push(end + 1);
                start = end + 1;
            }
        }
        self.c_points = c_points;
    }

    /// The next coarser level: its points are the C-points of this one.
    pub(crate) fn coarser(&self) -> Self {
        let fine_points = self.c_points.iter().map(|k| self.fine_point(*k)).collect();
        let times = self.c_points.iter().map(|k| self.times[*k]).collect();
        let n_coarse = self.c_points.len() - 1;
        let kept = |j: &usize| self.kind(self.c_points[*j]) == StepKind::Transition;
        let transitions = if self.transitions.is_empty() { Vec::new() } else { (0..n_coarse).filter(kept).collect() };
        let index = self.index + 1;
        Self { index, direction: self.direction, fine_points, times, transitions, c_points: vec![0] }
    }

    /// This level walked from the output to the input: point `j` becomes point `N_l - j`.
    pub(crate) fn reversed(&self, n_fine: usize) -> Self {
        let n = self.n_steps();
        let mirror = |all: &[usize], top: usize| all.iter().rev().map(|p| top - p).collect::<Vec<_>>();
        Self {
            index: self.index,
            direction: match self.direction {
                Direction::Forward => Direction::Reversed { n_fine },
                Direction::Reversed { .. } => Direction::Forward,
            },
            fine_points: mirror(&self.fine_points, n_fine),
            times: self.times.iter().rev().copied().collect(),
            transitions: mirror(&self.transitions, n.saturating_sub(1)),
            c_points: mirror(&self.c_points, n),
        }
    }

    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    /// Level number, 0 is the finest.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Number of steps; there is one more point.
    pub fn n_steps(&self) -> usize {
        self.times.len() - 1
    }

    /// Points that exist on the next coarser level, point 0 first. Entry `j` is where coarse point `j` lies.
    pub fn c_points(&self) -> &[usize] {
        &self.c_points
    }

    /// Whether `point` is a C-point of this level.
    pub fn is_c_point(&self, point: usize) -> bool {
        self.c_points.binary_search(&point).is_ok()
    }

    /// Finest-level index of `point`, in the direction of the solve.
    pub fn fine_point(&self, point: usize) -> usize {
        if self.index == 0 { point } else { self.fine_points[point] }
    }

    /// What step `j` is.
    pub fn kind(&self, j: usize) -> StepKind {
        if self.transitions.is_empty() || self.transitions.binary_search(&j).is_err() {
            StepKind::Ode
        } else {
            StepKind::Transition
        }
    }

    /// The layer whose parameters step `j` uses: the first of its run, in forward order.
    pub fn layer(&self, j: usize) -> usize {
        match self.direction {
            Direction::Forward => self.fine_point(j),
            Direction::Reversed { n_fine } => n_fine - self.fine_point(j + 1),
        }
    }

    /// Step `j`, from point `j` to point `j + 1`.
    pub fn step(&self, j: usize) -> Step {
        let (here, next) = (self.fine_point(j), self.fine_point(j + 1));
        let (t, dt, fine) = match self.direction {
            Direction::Forward => (self.times[j], self.times[j + 1] - self.times[j], here..next),
            Direction::Reversed { n_fine } => {
                (self.times[j + 1], self.times[j] - self.times[j + 1], n_fine - next..n_fine - here)
            }
        };
        Step { level: self.index, index: j, layer: fine.start, t, dt, kind: self.kind(j), fine }
    }
}
