//! Affine maps of one rank after the other, combined in as many rounds as the number of ranks has binary digits.

use braidnet_comm::Tag;

use crate::setting::{Counters, Setting, Way};
use crate::{MgritError, State};

/// `x -> linear * x + constant`, component by component; without `linear` the map is constant, as that of all ranks up to
/// some rank is: the first rank's input is known.
#[derive(Debug, Clone)]
pub(crate) struct Affine<S> {
    pub linear: Option<S>,
    pub constant: S,
}

impl<S: State> Affine<S> {
    /// `self` applied after `first`.
    pub fn after(&self, first: &Self) -> Self {
        let times = |x: &S| {
            self.linear.as_ref().map(|linear| {
                let mut product = x.clone();
                product.multiply(linear);
                product
            })
        };
        let mut constant = self.constant.clone();
        if let Some(product) = times(&first.constant) {
            constant.axpy(1.0, &product);
        }
        Self { linear: first.linear.as_ref().and_then(times), constant }
    }
}

/// What the maps of all ranks before this one, in the direction of the solve, make of the first rank's input; `None` on the
/// first rank. `own` is this rank's map: constant on the first, not needed on the last.
///
/// # Communication
/// Recursive doubling: in round `k` a rank tells the rank `2^k` behind it what the `2^k` ranks up to itself do, two messages,
/// or one where those are all the ranks there are.
pub(crate) fn result_before<S: State>(
    own: Option<&Affine<S>>,
    setting: &Setting<S>,
    counters: &mut Counters,
) -> Result<Option<S>, MgritError> {
    let n = setting.comm.size();
    // The same rule turns ranks into places and places into ranks.
    let mirrored = |place: usize| match setting.way {
        Way::Forward => place,
        Way::Adjoint => n - 1 - place,
    };
    let here = mirrored(setting.comm.rank());
    let mut before: Option<Affine<S>> = None;
    let mut distance = 1;
    while distance < n {
        if let Some(own) = own.filter(|_| here + distance < n) {
            let Affine { linear, constant } = before.as_ref().map_or_else(|| own.clone(), |before| own.after(before));
            for part in linear.into_iter().chain([constant]) {
                setting.send(mirrored(here + distance), TAG, part, counters)?;
            }
        }
        if here >= distance {
            let mut part = || setting.wait(setting.comm.receive(mirrored(here - distance), TAG)?, counters);
            let linear = (here >= 2 * distance).then(&mut part).transpose()?;
            let earlier = Affine { linear, constant: part()? };
            before = Some(before.map_or_else(|| earlier.clone(), |before| before.after(&earlier)));
        }
        distance *= 2;
    }
    Ok(before.map(|before| before.constant))
}

/// The fourth of the finest level's tags.
const TAG: Tag = 3;

#[cfg(test)]
mod tests {
    use braidnet_comm::{Communicator, Launch, launch};

    use super::*;
    use crate::ResidualForm;

    /// Rank `i` has `x -> (i + 1) x + 10 + i`; what each rank gets, and the messages that it sent.
    fn results(comm: Communicator, way: Way) -> Result<(Option<f64>, u64), MgritError> {
        let (n, rank) = (comm.size(), comm.rank());
        let place = if way == Way::Forward { rank } else { n - 1 - rank };
        let linear = (place > 0).then_some(place as f64 + 1.0);
        let own = (place + 1 < n).then_some(Affine { linear, constant: 10.0 + place as f64 });
        let setting = Setting { comm, context: (), batch: 1, form: ResidualForm::OneStep, way };
        let mut counters = Counters::default();
        Ok((result_before(own.as_ref(), &setting, &mut counters)?, counters.messages))
    }

    #[test]
    fn every_rank_gets_the_maps_before_it() {
        // 10; 2 * 10 + 11; 3 * 31 + 12 ...
        let expected = [None, Some(10.0), Some(31.0), Some(105.0), Some(433.0), Some(2179.0), Some(13089.0)];
        // Per round of distance d: n - d senders of two messages, d of which (or all) send one.
        for (n, messages) in [(1, 0), (2, 1), (3, 4), (4, 7), (5, 12), (6, 17), (7, 22)] {
            for way in [Way::Forward, Way::Adjoint] {
                let mut found = launch(&Launch::ranks(n), move |comm| results(comm, way)).unwrap();
                if way == Way::Adjoint {
                    found.reverse();
                }
                assert!(found.iter().map(|f| f.0).eq(expected[..n].iter().copied()), "{n} ranks: {found:?}");
                assert_eq!(found.iter().map(|f| f.1).sum::<u64>(), messages, "{n} ranks");
            }
        }
    }
}
