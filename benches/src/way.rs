//! Ways of a training step by compact names: `seq`, `lp:2/4/1/1`, `mixed:2/4/1+fcf`, `dp`, `pipe:4`.

use std::fmt;
use std::str::FromStr;

use braidnet::prelude::*;
use braidnet::train::MicroBatching;

/// How a training step is done, but for the number of ranks.
///
/// | name | what |
/// |---|---|
/// | `seq` | layer by layer |
/// | `lp:L/C/K/K` | layer-parallel: levels, coarsening factor, iterations forward and backward |
/// | `mixed:L/C/K` | layer by layer forward, layer-parallel backward |
/// | `dp` | data-parallel: every rank has all layers and a part of the batch |
/// | `pipe:M` | pipeline of `M` micro-batches |
/// | `+fcf` | with FCF-relaxation of the finest level too |
/// | `+join` | intervals of a rank joined in the last sweep |
/// | `+recompute` | activations recomputed |
/// | `+dp:D` | on `D` copies of the network with a part of the batch each |
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// Solves and what is kept between them.
    pub schedule: Schedule,
    /// Ranks of either axis.
    pub degrees: MeshConfig,
    /// Micro-batches.
    pub n_micro: usize,
}

/// A text that names no way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} names no variant: {reason}; use seq, lp:LEVELS/CFACTOR/FORWARD/BACKWARD, mixed:LEVELS/CFACTOR/BACKWARD, dp or pipe:MICRO_BATCHES, and behind it +fcf, +join, +recompute or +dp:COPIES"
)]
pub struct WayError {
    text: String,
    reason: &'static str,
}

/// All ranks on the layer axis.
pub(crate) const LAYER_AXIS: MeshConfig = MeshConfig { layer_ranks: Degree::Auto, data_ranks: Degree::Exactly(1) };
/// All ranks on the data axis.
const DATA_AXIS: MeshConfig = MeshConfig { layer_ranks: Degree::Exactly(1), data_ranks: Degree::Auto };

impl Way {
    /// Layer by layer.
    pub fn sequential() -> Self {
        Schedule::sequential().into()
    }

    /// Layer-parallel; no iterations forward: layer by layer there.
    pub fn parallel(levels: usize, cfactor: usize, [forward, backward]: [usize; 2]) -> Self {
        let [forward, backward] = [forward, backward].map(|max_iters| match max_iters {
            0 => SolveConfig::sequential(),
            _ => SolveConfig { max_levels: levels, max_iters, ..SolveConfig::new(cfactor) },
        });
        Schedule { forward, backward, ..Schedule::sequential() }.into()
    }

    /// Data-parallel.
    pub fn data_parallel() -> Self {
        Self { degrees: DATA_AXIS, ..Self::sequential() }
    }

    /// A pipeline of so many micro-batches.
    pub fn pipeline(n_micro: usize) -> Self {
        let solve = SolveConfig::sequential();
        Self { n_micro, ..Schedule::new(ScheduleKind::Pipeline, solve.clone(), solve).into() }
    }

    /// Both solves that are not sequential, changed by `change`.
    pub(crate) fn with_solves(mut self, change: impl Fn(&mut SolveConfig)) -> Self {
        let solves = [&mut self.schedule.forward, &mut self.schedule.backward];
        solves.into_iter().filter(|solve| !solve.is_sequential()).for_each(change);
        self
    }

    /// With FCF-relaxation of the finest level.
    pub fn fcf(self) -> Self {
        self.with_solves(|solve| solve.relaxation = Relaxation::Fcf(1))
    }

    /// With intervals of a rank joined in the last sweep.
    pub fn joined(self) -> Self {
        self.with_solves(|solve| solve.join_intervals = true)
    }

    /// Whether its results depend on how many ranks the layers are on.
    pub fn depends_on_ranks(&self) -> bool {
        self.schedule.forward.join_intervals || self.schedule.backward.join_intervals
    }

    /// What a text is without its suffixes.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, numbers) = text.split_once(':').unwrap_or((text, ""));
        let numbers: Vec<usize> = match numbers {
            "" if !text.contains(':') => Vec::new(),
            _ => numbers.split('/').map(str::parse).collect::<Result<_, _>>().map_err(|_| "a number is missing")?,
        };
        if numbers.contains(&0) {
            return Err("a number is 0");
        }
        match (name, &numbers[..]) {
            ("lp" | "mixed", &[levels, cfactor, ..]) if levels < 2 || cfactor < 2 => {
                Err("levels and coarsening factor are at least 2")
            }
            ("seq", []) => Ok(Self::sequential()),
            ("dp", []) => Ok(Self::data_parallel()),
            ("pipe", &[n_micro]) => Ok(Self::pipeline(n_micro)),
            ("lp", &[levels, cfactor, forward, backward]) => Ok(Self::parallel(levels, cfactor, [forward, backward])),
            ("mixed", &[levels, cfactor, backward]) => Ok(Self::parallel(levels, cfactor, [0, backward])),
            _ => Err("it is no known name with its numbers"),
        }
    }

    /// With what a suffix says.
    fn with(self, suffix: &str) -> Result<Self, &'static str> {
        let before = self.clone();
        let way = match suffix.split_once(':') {
            None if suffix == "fcf" => self.fcf(),
            None if suffix == "join" => self.joined(),
            None if suffix == "recompute" => {
                Self { schedule: Schedule { activations: Activations::Recompute, ..self.schedule }, ..self }
            }
            Some(("dp", copies)) if self.degrees == LAYER_AXIS => {
                let copies: usize = copies.parse().map_err(|_| "copies are no number")?;
                Self { degrees: MeshConfig { layer_ranks: Degree::Auto, data_ranks: Degree::Exactly(copies) }, ..self }
            }
            _ => return Err("a suffix is not known here"),
        };
        // One copy is what it is without.
        if way == before || way.degrees.data_ranks == Degree::Exactly(0) {
            return Err("a suffix changes nothing");
        }
        Ok(way)
    }
}

impl From<Schedule> for Way {
    /// A batch as a whole, with all ranks on the layer axis.
    fn from(schedule: Schedule) -> Self {
        Self { schedule, degrees: LAYER_AXIS, n_micro: 1 }
    }
}

impl FromStr for Way {
    type Err = WayError;

    fn from_str(text: &str) -> Result<Self, WayError> {
        let mut parts = text.split('+');
        let base = Self::parse(parts.next().unwrap_or_default());
        let way = base.and_then(|base| parts.try_fold(base, Self::with));
        way.map_err(|reason| WayError { text: text.to_owned(), reason })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Schedule { forward, backward, activations, micro_batching } = &self.schedule;
        let SolveConfig { max_levels, cfactor, max_iters, relaxation, join_intervals, .. } = backward;
        match (micro_batching, forward.is_sequential(), backward.is_sequential()) {
            (MicroBatching::Pipelined, ..) => write!(f, "pipe:{}", self.n_micro),
            (_, true, true) if self.degrees == DATA_AXIS => write!(f, "dp"),
            (_, true, true) => write!(f, "seq"),
            (_, true, false) => write!(f, "mixed:{max_levels}/{cfactor}/{max_iters}"),
            (_, false, _) => write!(f, "lp:{max_levels}/{cfactor}/{}/{max_iters}", forward.max_iters),
        }?;
        let suffixes = [
            (relaxation.fc_sweeps() > 0, "+fcf"),
            (*join_intervals, "+join"),
            (*activations == Activations::Recompute, "+recompute"),
        ];
        suffixes.into_iter().filter(|(is_on, _)| *is_on).try_for_each(|(_, suffix)| write!(f, "{suffix}"))?;
        match self.degrees.data_ranks {
            Degree::Exactly(copies) if copies > 1 => write!(f, "+dp:{copies}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_reads_back_as_it_is_written() {
        for text in [
            "seq",
            "seq+recompute",
            "dp",
            "pipe:4",
            "pipe:2+dp:2",
            "lp:2/4/1/1",
            "lp:3/8/2/1+fcf+join+recompute+dp:2",
            "mixed:2/4/1+join",
        ] {
            let way: Way = text.parse().unwrap();
            assert_eq!(way.to_string(), text);
            assert_eq!(way.depends_on_ranks(), text.contains("join"));
        }
    }

    #[test]
    fn what_is_no_way_is_refused_with_the_forms() {
        for (text, reason) in [
            ("", "no known name"),
            ("lp", "no known name"),
            ("lp:2/4/1", "no known name"),
            ("seq:1", "no known name"),
            ("lp:2/4/1/", "number is missing"),
            ("pipe:", "number is missing"),
            ("pipe:0", "number is 0"),
            ("lp:1/4/1/1", "at least 2"),
            ("mixed:2/1/1", "at least 2"),
            ("seq+fcf", "changes nothing"),
            ("lp:2/4/1/1+join+join", "changes nothing"),
            ("seq+dp:1", "changes nothing"),
            ("seq+dp:0", "changes nothing"),
            ("dp+dp:2", "not known here"),
            ("seq+fast", "not known here"),
        ] {
            let message = text.parse::<Way>().unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains("lp:LEVELS/CFACTOR"), "{text}: {message}");
        }
    }
}
