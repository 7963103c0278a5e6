//! One step of the timeline: who did what when.

use std::collections::BTreeMap;

use braidnet_monitor::timeline::{Event, Trace};

/// The columns that time is cut into: more than a picture can show.
const COLUMNS: usize = 2000;

/// One training step of all ranks.
#[derive(Debug, PartialEq)]
pub struct Schedule {
    /// Its number, if the timeline names steps; else this is the whole timeline.
    pub step: Option<u64>,
    pub duration_ns: u64,
    /// The phases, in the order of their first appearance.
    pub phases: Vec<String>,
    /// The time of each phase as a share of the ranks' time, without what their helpers do.
    pub shares: Vec<f64>,
    pub rows: Vec<Row>,
}

/// What one thread did.
#[derive(Debug, PartialEq)]
pub struct Row {
    pub label: String,
    pub blocks: Vec<Block>,
}

/// A phase from one moment to another, as shares of the step's duration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// An index of [`Schedule::phases`].
    pub phase: usize,
    pub start: f64,
    pub end: f64,
}

/// A phase without what runs inside it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Segment {
    phase: usize,
    start_ns: u64,
    end_ns: u64,
}

impl Schedule {
    /// The step of median duration; without spans named `step`, all there is. `None` without spans.
    pub fn of(trace: &Trace) -> Option<Self> {
        let (step, window) = match typical_step(trace) {
            Some((step, window)) => (Some(step), window),
            None => (None, extent(trace.events.iter())?),
        };
        let mut phases = Vec::new();
        let mut threads: BTreeMap<(usize, bool, usize), Vec<Segment>> = BTreeMap::new();
        for (key, events) in by_thread(trace, window) {
            threads.insert(key, flatten(&events, &mut phases));
        }
        let duration_ns = (window.1 - window.0).max(1);
        let n_ranks = threads.keys().filter(|(_, is_helper, _)| !is_helper).count();
        let own = threads.iter().filter(|((_, is_helper, _), _)| !is_helper).flat_map(|(_, segments)| segments);
        let shares = shares(own, phases.len(), n_ranks as f64 * duration_ns as f64);
        let row = |((rank, is_helper, thread), segments): ((usize, bool, usize), Vec<Segment>)| {
            let name = trace.threads.get(&(rank, thread)).filter(|_| is_helper);
            let rank = format!("rank {rank}");
            let helper = |name: &String| format!("{rank}, {}", name.trim_start_matches(&rank).trim());
            let label = name.map_or(rank.clone(), helper);
            Row { label, blocks: blocks(&segments, window) }
        };
        let rows = threads.into_iter().map(row).collect();
        Some(Self { step, duration_ns, phases, shares, rows })
    }
}

/// The time of each phase as a share of the ranks' time; what helpers do comes on top.
fn shares<'a>(segments: impl Iterator<Item = &'a Segment>, n_phases: usize, ranks_ns: f64) -> Vec<f64> {
    let mut shares = vec![0.0; n_phases];
    for segment in segments {
        shares[segment.phase] += (segment.end_ns - segment.start_ns) as f64 / ranks_ns;
    }
    shares
}

fn end_ns(event: &Event) -> u64 {
    event.start_ns + event.duration_ns
}

/// From the first start to the last end.
fn extent<'a>(events: impl Iterator<Item = &'a Event> + Clone) -> Option<(u64, u64)> {
    let start = events.clone().map(|event| event.start_ns).min()?;
    Some((start, events.map(end_ns).max()?))
}

/// The number of the step that took the median time on the first rank, and its extent on all ranks.
fn typical_step(trace: &Trace) -> Option<(u64, (u64, u64))> {
    let steps = || trace.events.iter().filter(|event| event.name == "step");
    let number = |event: &Event| event.args.get("step").and_then(serde_json::Value::as_u64);
    let first_rank = steps().map(|event| event.rank).min()?;
    let mut own: Vec<_> = steps().filter(|event| event.rank == first_rank && number(event).is_some()).collect();
    own.sort_by_key(|event| event.duration_ns);
    let chosen = number(own.get(own.len() / 2)?)?;
    Some((chosen, extent(steps().filter(|event| number(event) == Some(chosen)))?))
}

/// The events within a window, by rank and thread, a rank's own thread before its helpers: it is the one with the spans
/// named `step`, or else the one with the most spans.
fn by_thread(trace: &Trace, window: (u64, u64)) -> Vec<((usize, bool, usize), Vec<Event>)> {
    let mut threads: BTreeMap<(usize, usize), Vec<Event>> = BTreeMap::new();
    for event in trace.events.iter().filter(|event| event.start_ns < window.1 && end_ns(event) > window.0) {
        let start_ns = event.start_ns.max(window.0);
        let duration_ns = end_ns(event).min(window.1) - start_ns;
        let clipped = Event { start_ns, duration_ns, ..event.clone() };
        threads.entry((event.rank, event.thread)).or_default().push(clipped);
    }
    let weight = |events: &[Event]| (events.iter().any(|event| event.name == "step"), events.len());
    let mut main: BTreeMap<usize, ((bool, usize), usize)> = BTreeMap::new();
    for ((rank, thread), events) in &threads {
        let candidate = (weight(events), *thread);
        main.entry(*rank).and_modify(|best| *best = candidate.max(*best)).or_insert(candidate);
    }
    let with_role = |((rank, thread), events): ((usize, usize), Vec<Event>)| {
        let is_helper = main.get(&rank).is_some_and(|(_, own)| *own != thread);
        ((rank, is_helper, thread), events)
    };
    threads.into_iter().map(with_role).collect()
}

/// The innermost phase at each moment. Events come by start, outer before inner.
fn flatten(events: &[Event], phases: &mut Vec<String>) -> Vec<Segment> {
    let mut segments = Vec::new();
    // The open events, outermost first, and up to when time is accounted for.
    let mut open: Vec<(usize, u64)> = Vec::new();
    let mut now = 0;
    let mut advance = |open: &[(usize, u64)], to: u64| {
        if let Some(&(phase, _)) = open.last()
            && to > now
        {
            segments.push(Segment { phase, start_ns: now, end_ns: to });
        }
        now = now.max(to);
    };
    for event in events {
        while let Some(&(_, end)) = open.last().filter(|(_, end)| *end <= event.start_ns) {
            advance(&open, end);
            open.pop();
        }
        advance(&open, event.start_ns);
        let end = open.last().map_or(end_ns(event), |(_, outer)| end_ns(event).min(*outer));
        open.push((phase_index(phases, &event.name), end));
    }
    while let Some(&(_, end)) = open.last() {
        advance(&open, end);
        open.pop();
    }
    segments
}

fn phase_index(phases: &mut Vec<String>, name: &str) -> usize {
    phases.iter().position(|phase| phase == name).unwrap_or_else(|| {
        phases.push(name.to_owned());
        phases.len() - 1
    })
}

/// Segments as blocks that can be seen: each column of time belongs to the phase that takes most of it, and neighbours of
/// one phase are one block. However many segments there are, there are no more blocks than columns.
fn blocks(segments: &[Segment], (start, end): (u64, u64)) -> Vec<Block> {
    let width = ((end - start).max(1) as f64) / COLUMNS as f64;
    let mut columns: Vec<Vec<(usize, f64)>> = vec![Vec::new(); COLUMNS];
    for segment in segments {
        let (from, to) = ((segment.start_ns - start) as f64 / width, (segment.end_ns - start) as f64 / width);
        for (column, shares) in columns.iter_mut().enumerate().take(to.ceil() as usize).skip(from as usize) {
            let share = to.min(column as f64 + 1.0) - from.max(column as f64);
            match shares.iter_mut().find(|(phase, _)| *phase == segment.phase) {
                Some((_, sum)) => *sum += share,
                None => shares.push((segment.phase, share)),
            }
        }
    }
    let mut blocks: Vec<Block> = Vec::new();
    for (column, shares) in columns.iter().enumerate() {
        let used: f64 = shares.iter().map(|(_, share)| share).sum();
        let most = shares.iter().copied().max_by(|(_, a), (_, b)| a.total_cmp(b));
        let Some((phase, _)) = most.filter(|_| used >= 0.5) else { continue };
        let place = |column: usize| column as f64 / COLUMNS as f64;
        match blocks.last_mut() {
            Some(last) if last.phase == phase && last.end == place(column) => last.end = place(column + 1),
            _ => blocks.push(Block { phase, start: place(column), end: place(column + 1) }),
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn event(name: &str, rank: usize, thread: usize, start_ns: u64, duration_ns: u64) -> Event {
        Event { name: name.into(), rank, thread, start_ns, duration_ns, args: Map::new() }
    }

    fn step(number: u64, rank: usize, start_ns: u64, duration_ns: u64) -> Event {
        let args = Map::from_iter([("step".to_owned(), json!(number))]);
        Event { args, ..event("step", rank, 0, start_ns, duration_ns) }
    }

    #[test]
    fn inner_phases_hide_outer_ones() {
        let events =
            [event("a", 0, 0, 0, 100), event("b", 0, 0, 10, 30), event("c", 0, 0, 20, 10), event("b", 0, 0, 60, 40)];
        let mut phases = Vec::new();
        let flat: Vec<_> = flatten(&events, &mut phases)
            .iter()
            .map(|segment| (phases[segment.phase].clone(), segment.start_ns, segment.end_ns))
            .collect();
        let expected = [("a", 0, 10), ("b", 10, 20), ("c", 20, 30), ("b", 30, 40), ("a", 40, 60), ("b", 60, 100)];
        assert_eq!(flat, expected.map(|(name, start, end)| (name.to_owned(), start, end)));
    }

    #[test]
    fn the_step_of_median_time_is_cut_out() {
        let mut events = vec![step(1, 0, 0, 900), step(2, 0, 1000, 100), step(3, 0, 2000, 50), step(2, 1, 1050, 150)];
        events.extend([event("relax", 0, 0, 1000, 50), event("wait", 1, 0, 1050, 150), event("relax", 0, 0, 2000, 50)]);
        events.push(event("load", 0, 5, 900, 200));
        let threads = [((0, 0), "rank 0".to_owned()), ((0, 5), "rank 0 loader".to_owned())].into();
        let schedule = Schedule::of(&Trace { events, threads, n_dropped: 0 }).unwrap();
        assert_eq!((schedule.step, schedule.duration_ns), (Some(2), 200));
        let labels: Vec<_> = schedule.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["rank 0", "rank 0, loader", "rank 1"]);
        let spans = |row: usize| -> Vec<(&str, f64, f64)> {
            let blocks = &schedule.rows[row].blocks;
            blocks.iter().map(|block| (schedule.phases[block.phase].as_str(), block.start, block.end)).collect()
        };
        assert_eq!(spans(0), [("relax", 0.0, 0.25), ("step", 0.25, 0.5)]);
        assert_eq!(spans(1), [("load", 0.0, 0.5)]);
        assert_eq!(spans(2), [("wait", 0.25, 1.0)]);
        let shares = schedule.phases.iter().map(String::as_str).zip(&schedule.shares);
        let shares: BTreeMap<_, _> = shares.map(|(name, share)| (name, 1000.0 * share)).collect();
        assert_eq!(shares, [("relax", 125.0), ("step", 125.0), ("wait", 375.0), ("load", 0.0)].into());
    }

    #[test]
    fn without_steps_all_is_shown() {
        let events = vec![event("relax", 0, 0, 50, 50), event("relax", 1, 0, 0, 10)];
        let schedule = Schedule::of(&Trace { events, ..Trace::default() }).unwrap();
        assert_eq!((schedule.step, schedule.duration_ns, schedule.rows.len()), (None, 100, 2));
        assert_eq!(Schedule::of(&Trace::default()), None);
    }

    #[test]
    fn many_short_phases_become_few_blocks() {
        let events: Vec<_> =
            (0..100_000).map(|n| event(if n % 10 < 7 { "relax" } else { "wait" }, 0, 0, n * 10, 10)).collect();
        let schedule = Schedule::of(&Trace { events, ..Trace::default() }).unwrap();
        assert!(schedule.rows[0].blocks.len() <= COLUMNS);
        assert!((schedule.shares[0] - 0.7).abs() < 1e-9, "{:?}", schedule.shares);
    }
}
